package inventory

import (
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/planlatch/planlatch/project"
)

// module is one directory being read.
type module struct {
	r        *reader
	dir      string
	calls    []string   // directories of the local modules it calls
	readings []*reading // how it may be read
	now      []*reading // those that read the file at hand
}

// fileSchema is every block that a file can have. Another one is not understood.
var fileSchema = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
	{Type: "terraform"}, {Type: "language"}, {Type: "provider", LabelNames: []string{"name"}}, {Type: "variable", LabelNames: []string{"name"}},
	{Type: "locals"}, {Type: "output", LabelNames: []string{"name"}}, {Type: "module", LabelNames: []string{"name"}},
	{Type: "resource", LabelNames: []string{"type", "name"}}, {Type: "data", LabelNames: []string{"type", "name"}},
	{Type: "ephemeral", LabelNames: []string{"type", "name"}}, {Type: "action", LabelNames: []string{"type", "name"}},
	{Type: "moved"}, {Type: "import"}, {Type: "removed"}, {Type: "check", LabelNames: []string{"name"}},
}}

var terraformSchema = &hcl.BodySchema{
	Attributes: []hcl.AttributeSchema{{Name: "required_version"}, {Name: "experiments"}, {Name: "language"}},
	Blocks: []hcl.BlockHeaderSchema{
		{Type: "backend", LabelNames: []string{"type"}}, {Type: "cloud"}, {Type: "required_providers"}, {Type: "encryption"},
		{Type: "provider_meta", LabelNames: []string{"provider"}}, {Type: "state_store", LabelNames: []string{"type"}},
	},
}

var resourceSchema = &hcl.BodySchema{
	Attributes: []hcl.AttributeSchema{{Name: "provider"}},
	Blocks: []hcl.BlockHeaderSchema{
		{Type: "provisioner", LabelNames: []string{"type"}}, {Type: "dynamic", LabelNames: []string{"type"}},
	},
}

var importSchema = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "provider"}, {Name: "to"}}}

var checkSchema = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "data", LabelNames: []string{"type", "name"}}, {Type: "assert"}}}

var encryptionSchema = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
	{Type: "key_provider", LabelNames: []string{"type", "name"}}, {Type: "method", LabelNames: []string{"type", "name"}},
}}

var moduleSchema = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "source"}, {Name: "version"}, {Name: "providers"}}}

func place(at hcl.Range) Place { return Place{File: at.Filename, Line: at.Start.Line} }

// file reads one configuration file.
func (m *module) file(name string) {
	m.now = slices.DeleteFunc(slices.Clone(m.readings), func(r *reading) bool { return !r.files[path.Base(name)] })
	file, src := m.r.parse(name)
	if file == nil {
		return
	}
	content, diags := file.Body.Content(fileSchema)
	m.r.faults(name, diags)
	for _, b := range content.Blocks {
		if !m.r.item(place(b.DefRange)) {
			return
		}
		m.block(b)
	}
	if native := body(file.Body); native != nil {
		m.functions(native, Place{})
	} else {
		m.json(name, src)
	}
}

func (m *module) block(b *hcl.Block) {
	at := place(b.DefRange)
	label := func(n int) string { return clip(b.Labels[n]) }
	switch b.Type {
	case "terraform":
		m.terraform(b)
	case "provider":
		m.use(label(0), at, "provider")
		m.starts(b.Body, "provider."+label(0))
	case "module":
		m.call(b)
	case "resource", "data", "ephemeral", "action":
		m.resource(b, false)
	case "check":
		content, _, diags := b.Body.PartialContent(checkSchema)
		m.r.faults(at.File, diags)
		for _, inner := range content.Blocks {
			if inner.Type == "data" && m.r.item(at) {
				m.resource(inner, true)
			}
		}
	case "import":
		content := m.partial(b.Body, importSchema, at)
		m.provider(content.Attributes["provider"], "", at, b.Type)
		m.imports(content.Attributes["to"], at)
	case "removed":
		content := m.partial(b.Body, resourceSchema, at)
		m.provider(content.Attributes["provider"], "", at, b.Type)
		m.provisioners(content, b.Type)
	}
}

// imports notes the provider of what is imported: init installs it, whether or not the resource is written down.
func (m *module) imports(to *hcl.Attribute, at Place) {
	if to == nil {
		return // the tools want one
	}
	kind, ok := resourceType(to.Expr)
	if !ok {
		m.r.unknown(place(to.Range), "an import of what is not written out")
		return
	}
	own, _, _ := strings.Cut(kind, "_")
	m.use(clip(own), at, "import")
}

// partial takes what a schema asks for out of a body.
func (m *module) partial(b hcl.Body, schema *hcl.BodySchema, at Place) *hcl.BodyContent {
	content, _, diags := b.PartialContent(schema)
	m.r.faults(at.File, diags)
	return content
}

func (m *module) resource(b *hcl.Block, check bool) {
	at, kind, name := place(b.DefRange), clip(b.Labels[0]), clip(b.Labels[1])
	content := m.partial(b.Body, resourceSchema, at)
	own, _, _ := strings.Cut(kind, "_")
	m.provider(content.Attributes["provider"], own, at, b.Type)
	item := Block{Place: at, Type: kind, Name: name, Check: check}
	switch b.Type {
	case "resource":
		m.r.inv.Resources = append(m.r.inv.Resources, item)
		m.provisioners(content, kind+"."+name)
	case "ephemeral":
		m.r.inv.Ephemeral = append(m.r.inv.Ephemeral, item)
	case "action":
		m.r.inv.Actions = append(m.r.inv.Actions, item)
	default:
		if kind == "terraform_remote_state" {
			item.Backend = m.remoteState(b, at)
			m.starts(b.Body, "data."+kind+"."+name)
		}
		if own == "external" {
			m.r.inv.External = append(m.r.inv.External, External{Place: at, What: "data." + kind + "." + name})
		}
		m.r.inv.Data = append(m.r.inv.Data, item)
	}
}

// remoteState is the backend that a state of somebody else is read from.
func (m *module) remoteState(b *hcl.Block, at Place) string {
	content := m.partial(b.Body, &hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "backend"}}}, at)
	if a := content.Attributes["backend"]; a != nil {
		if kind, ok := project.Literal(a.Expr); ok {
			return clip(kind)
		}
	}
	m.r.unknown(at, "terraform_remote_state with a backend that is not written out")
	return ""
}

func (m *module) provisioners(content *hcl.BodyContent, on string) {
	for _, p := range content.Blocks {
		at := place(p.DefRange)
		switch {
		case p.Type == "dynamic" && p.Labels[0] == "provisioner":
			m.r.unknown(at, "a provisioner that only a run can tell")
		case p.Type == "provisioner" && m.r.item(at):
			m.r.inv.Provisioners = append(m.r.inv.Provisioners, Provisioner{Place: at, Type: clip(p.Labels[0]), On: on})
		}
	}
}

// terraform reads the block of that name.
func (m *module) terraform(b *hcl.Block) {
	at := place(b.DefRange)
	content, diags := b.Body.Content(terraformSchema)
	m.r.faults(at.File, diags)
	for _, inner := range content.Blocks {
		at := place(inner.DefRange)
		switch inner.Type {
		case "backend":
			m.backend(inner, at)
		case "cloud", "state_store":
			kind := inner.Type
			if kind == "state_store" { // kept by a provider
				kind += ":" + clip(inner.Labels[0])
				own, _, _ := strings.Cut(inner.Labels[0], "_")
				m.use(clip(own), at, "state_store")
			}
			m.keeps(Backend{Place: at, Type: kind})
			m.starts(inner.Body, kind)
		case "required_providers":
			m.requires(inner)
		case "provider_meta":
			m.use(clip(inner.Labels[0]), at, "provider_meta")
		case "encryption":
			m.encryption(inner, at)
		}
	}
}

// keeps notes where state is kept.
func (m *module) keeps(b Backend) {
	m.r.inv.Backends = append(m.r.inv.Backends, b)
	for _, r := range m.now {
		r.backends = append(r.backends, b.Type)
	}
}

func (m *module) backend(b *hcl.Block, at Place) {
	kind := clip(b.Labels[0])
	m.keeps(Backend{Place: at, Type: kind})
	m.starts(b.Body, "backend."+kind)
	if kind != "local" {
		return
	}
	attrs, diags := b.Body.JustAttributes()
	m.r.faults(at.File, diags)
	for _, name := range localPaths {
		a := attrs[name]
		if a == nil {
			continue
		}
		if text, ok := project.Literal(a.Expr); !ok || !elsewhere(text) {
			m.r.unknown(place(a.Range), "%s of a local backend, which may lead to a state in the repository that names any provider", name)
		}
	}
}

// localPaths are the settings of a local backend that say where state is.
var localPaths = []string{"path", "workspace_dir"}

// elsewhere says whether a path is certain to lie outside of what a pull request brings.
func elsewhere(name string) bool {
	return path.IsAbs(name) && !slices.ContainsFunc([]string{"/src", "/proc", "/dev", "/sys", "/tmp"}, func(dir string) bool {
		clean := path.Clean(name)
		return clean == dir || strings.HasPrefix(clean, dir+"/")
	})
}

func (m *module) encryption(b *hcl.Block, at Place) {
	for _, inner := range m.partial(b.Body, encryptionSchema, at).Blocks {
		at, kind, name := place(inner.DefRange), clip(inner.Labels[0]), clip(inner.Labels[1])
		m.r.inv.Encryption = append(m.r.inv.Encryption, Encryption{Place: at, Kind: inner.Type, Type: kind, Name: name})
		if kind == "external" {
			m.r.inv.External = append(m.r.inv.External, External{Place: at, What: inner.Type + "." + kind + "." + name})
		}
	}
}

// call reads a module block.
func (m *module) call(b *hcl.Block) { m.calling(b.Labels[0], b) }

// calling reads a block that names a module.
func (m *module) calling(name string, b *hcl.Block) {
	at := place(b.DefRange)
	content := m.partial(b.Body, moduleSchema, at)
	m.passes(content.Attributes["providers"])
	version, ok := m.text(content.Attributes["version"], "version of a module")
	if !ok {
		return
	}
	attr := content.Attributes["source"]
	if attr == nil {
		m.r.unknown(at, "module %q without a source", clip(name))
		return
	}
	source, ok := m.text(attr, "source of a module")
	if !ok {
		return
	}
	if len(source) > maxText {
		m.r.unknown(place(attr.Range), "a module source of more than %d bytes", maxText)
		return
	}
	c := originOf(source, version)
	c.Place, c.Name = place(attr.Range), clip(name)
	if c.Kind == kindLocal {
		m.descend(&c, source)
	}
	m.r.inv.Modules = append(m.r.inv.Modules, c)
}

// text is the value of an attribute that must be written out; empty if there is none.
func (m *module) text(a *hcl.Attribute, what string) (string, bool) {
	if a == nil {
		return "", true
	}
	text, ok := project.Literal(a.Expr)
	if !ok {
		m.r.unknown(place(a.Range), "%s that is not written out, so only a run can tell what it is", what)
	}
	return text, ok
}

// descend finds the directory of a local module.
func (m *module) descend(c *Module, source string) {
	source = strings.ReplaceAll(source, `\`, "/") // as the tools read it
	next := path.Join(m.dir, source)
	target, err := project.Resolve(next, m.r.readlink)
	switch {
	case err != nil:
		m.r.unknown(c.Place, "module source %q %v", clip(source), unwrapped(err))
		return
	case slices.Contains(strings.Split(target, "/"), ownDir):
		m.r.unknown(c.Place, "module source %q lies in %s, where init puts what it downloads", clip(source), ownDir)
		return
	}
	c.Address, c.Package = clip(target), clip(target)
	m.calls = append(m.calls, target)
}
