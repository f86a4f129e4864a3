package inventory

import (
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/planlatch/planlatch/project"
)

// reading is one way in which a module may be read: with files of OpenTofu in the place of others, or without any of them. What one file
// requires says nothing of what another one uses unless the same tool reads both.
type reading struct {
	files    map[string]bool // names
	required map[string]bool
	used     map[string]bool // by name; the first use is noted
	uses     []Provider      // names that were used, without addresses
	backends []string        // types
}

// readings are all ways in which the files of a directory may be read.
func (r *reader) readings(names []string) []*reading {
	terraform, tofu := newReading(), newReading()
	replaced := map[string]bool{}
	for _, name := range names {
		stem, ext, alone := tofuFile(name)
		replaced[stem+ext] = alone
		terraform.files[name] = !alone
	}
	for _, name := range names {
		tofu.files[name] = !replaced[name]
	}
	return []*reading{terraform, tofu}
}

func newReading() *reading {
	return &reading{files: map[string]bool{}, required: map[string]bool{}, used: map[string]bool{}}
}

// tofuFile says whether only OpenTofu reads a file, and which name it takes the place of.
func tofuFile(name string) (stem, other string, ok bool) {
	for ext, other := range map[string]string{".tofu": ".tf", ".tofu.json": ".tf.json"} {
		if stem, ok := strings.CutSuffix(name, ext); ok {
			return stem, other, true
		}
	}
	return "", "", false
}

// testsDir is where init looks for tests besides the root module.
const testsDir = "tests"

// besideSchema is every block of a file of tests or queries. Init reads them, and installs the providers and modules that they name.
var besideSchema = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
	{Type: "test"}, {Type: "variables"}, {Type: "variable", LabelNames: []string{"name"}}, {Type: "locals"}, {Type: "provider", LabelNames: []string{"name"}},
	{Type: "mock_provider", LabelNames: []string{"name"}}, {Type: "run", LabelNames: []string{"name"}},
	{Type: "list", LabelNames: []string{"type", "name"}},
	{Type: "override_resource"}, {Type: "override_data"}, {Type: "override_module"}, {Type: "override_ephemeral"},
}}

var runSchema = &hcl.BodySchema{
	Attributes: []hcl.AttributeSchema{{Name: "providers"}}, Blocks: []hcl.BlockHeaderSchema{{Type: "module"}},
}

// beside reads the files of a root module that are no configuration: its tests and queries.
func (m *module) beside() {
	names, _ := m.r.list(m.dir, isBeside)
	for _, name := range names {
		m.besideFile(path.Join(m.dir, name))
	}
	dir, err := project.Resolve(path.Join(m.dir, testsDir), m.r.readlink)
	if err != nil {
		m.r.unknown(Place{File: path.Join(m.dir, testsDir)}, "a symlink that %v", unwrapped(err))
		return
	}
	if !m.r.isDir(dir) {
		return
	}
	names, _ = m.r.list(dir, isBeside)
	for _, name := range names {
		m.besideFile(path.Join(dir, name))
	}
}

// isBeside says whether init of some tool reads a file of this name as tests or queries.
func isBeside(name string) bool {
	return slices.ContainsFunc([]string{".tftest.hcl", ".tftest.json", ".tofutest.hcl", ".tofutest.json", ".tfquery.hcl", ".tfquery.json"},
		func(ext string) bool { return strings.HasSuffix(name, ext) })
}

func (m *module) besideFile(name string) {
	file, _ := m.r.parse(name)
	if file == nil {
		return
	}
	content, diags := file.Body.Content(besideSchema)
	m.r.faults(name, diags)
	for _, b := range content.Blocks {
		at := place(b.DefRange)
		if !m.r.item(at) {
			return
		}
		switch b.Type {
		case "provider", "mock_provider":
			m.use(clip(b.Labels[0]), at, "test")
		case "list":
			m.resourceOf(b, at)
		case "run":
			inner := m.partial(b.Body, runSchema, at)
			m.passes(inner.Attributes["providers"])
			for _, call := range inner.Blocks {
				m.calling(b.Labels[0], call)
			}
		}
	}
}

// resourceOf notes the provider of a block with a type of resources.
func (m *module) resourceOf(b *hcl.Block, at Place) {
	own, _, _ := strings.Cut(clip(b.Labels[0]), "_")
	m.provider(m.partial(b.Body, resourceSchema, at).Attributes["provider"], own, at, b.Type)
}
