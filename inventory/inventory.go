// Package inventory lists what a root module could run or reach for, before anything of it is run: providers, modules, data sources,
// provisioners, external programs, backends, from its own directory and every local module below it.
//
// It promises that nothing is left out in silence. Whatever cannot be read, parsed or understood (a module source that only a run can tell,
// a kind of block that it does not know, a symlink that leaves the tree, a file that is too large) is an entry of Unknown, which policy takes
// as a no. Files that one tool reads and the other does not, and blocks that an override file replaces, are listed all the same: an entry too
// many costs a look, one too few runs unseen.
//
// It leaves to callers what of it is allowed, and it cannot see into remote modules, whose code is there only after init. It evaluates nothing
// and writes nothing; what it reads was written by whoever opened the pull request, so every read is bounded and no path leaves the tree.
package inventory

import (
	"cmp"
	"encoding/json"
	"io/fs"
	"slices"

	"github.com/planlatch/planlatch/run"
)

// Version is that of the document that policies see. It grows when a field changes its meaning, not when one is added.
const Version = 1

// Place is where something is written. File is relative to the root of the tree.
type Place struct {
	File string `json:"file"`
	Line int    `json:"line"` // 0: about the whole file
}

// Inventory is everything that one project could run or reach for. Lists are never nil.
type Inventory struct {
	Version      int           `json:"version"`
	Dir          string        `json:"dir"`
	Providers    []Provider    `json:"providers"`
	Modules      []Module      `json:"modules"`
	Resources    []Block       `json:"resources"`
	Data         []Block       `json:"data"` // also those inside check blocks
	Ephemeral    []Block       `json:"ephemeral"`
	Actions      []Block       `json:"actions"`
	Provisioners []Provisioner `json:"provisioners"`
	External     []External    `json:"external"`
	Encryption   []Encryption  `json:"encryption"`
	Backends     []Backend     `json:"backends"` // none: state is a file in the run's directory
	Files        []File        `json:"files"`    // what functions read outside the repository, or where only a run can tell
	Steps        []Step        `json:"steps"`
	Unknown      []Unknown     `json:"unknown"`
}

// Provider is a plugin that the tool would install and start.
type Provider struct {
	Place

	Name    string `json:"name"`    // in the module
	Address string `json:"address"` // hashicorp/aws; with the host in front unless it is one of the public registries
	Version string `json:"version"` // the constraint as written
	From    string `json:"from"`    // required_providers, provider, resource, data, ephemeral, action, function, module, lock file …
}

// Module is one call of a module.
type Module struct {
	Place

	Name    string `json:"name"`
	Source  string `json:"source"`  // as written
	Address string `json:"address"` // what allow-lists match: acme/vpc/aws, git::github.com/acme/vpc//sub, https://…, or a directory of the tree
	Package string `json:"package"` // the address without the directory in it
	Kind    string `json:"kind"`    // local, registry, git, http, other
	Version string `json:"version"` // the constraint as written
	Ref     string `json:"ref"`     // of git
	Pinned  bool   `json:"pinned"`  // it names one version, tag, commit or checksum
	Odd     string `json:"odd"`     // why the address may not mean what it looks like; empty: it does
}

// Block is a resource, data source, ephemeral resource or action.
type Block struct {
	Place

	Type    string `json:"type"`
	Name    string `json:"name"`
	Backend string `json:"backend,omitempty"` // of terraform_remote_state: its backend
	Check   bool   `json:"check,omitempty"`   // of data: inside a check block
}

// Provisioner is a program that would run beside an apply.
type Provisioner struct {
	Place

	Type string `json:"type"`
	On   string `json:"on"` // aws_instance.web, or removed
}

// External is a program that would run at init or plan.
type External struct {
	Place

	What string `json:"what"` // data.external.x, key_provider.external.x, provider.kubernetes
}

// Encryption is a key provider or method of OpenTofu's state encryption, which works at init.
type Encryption struct {
	Place

	Kind string `json:"kind"` // key_provider, method
	Type string `json:"type"`
	Name string `json:"name"`
}

// Backend is where state would be kept.
type Backend struct {
	Place

	Type string `json:"type"` // s3, local, cloud …
}

// File is what a function would read.
type File struct {
	Place

	Function string `json:"function"`
	Path     string `json:"path"`    // as far as it is written out
	Outside  bool   `json:"outside"` // it leaves the repository; else only a run can tell where it leads
}

// Step is a command of the project beside the tool's own.
type Step struct {
	Key  string   `json:"key"`
	Argv []string `json:"argv"`
}

// Unknown is something that could not be understood.
type Unknown struct {
	Place

	What string `json:"what"`
}

// Options say how a project is run.
type Options struct {
	Terraform     bool // Terraform alone will read it, which leaves .tofu files alone
	BackendConfig []string
	Steps         run.Steps
}

// Read lists what the root module in dir of a tree could do.
func Read(fsys fs.FS, dir string, o Options) Inventory {
	r := &reader{fsys: fsys, o: o, links: map[string]link{}, templates: map[string]bool{}, inv: Inventory{
		Version: Version, Dir: dir, Providers: []Provider{}, Modules: []Module{}, Resources: []Block{}, Data: []Block{}, Ephemeral: []Block{},
		Actions: []Block{}, Provisioners: []Provisioner{}, External: []External{}, Encryption: []Encryption{}, Backends: []Backend{},
		Files: []File{}, Steps: []Step{}, Unknown: []Unknown{},
	}}
	for _, key := range run.StepKeys {
		for _, argv := range o.Steps.Of(key) {
			r.inv.Steps = append(r.inv.Steps, Step{Key: key, Argv: argv})
		}
	}
	r.root(dir)
	r.settle()
	return r.inv
}

// settle puts the lists into an order that depends on nothing but the code.
func (r *reader) settle() {
	order(r.inv.Providers, func(p Provider) (Place, string) { return p.Place, p.Name })
	order(r.inv.Modules, func(m Module) (Place, string) { return m.Place, m.Name })
	for _, list := range [][]Block{r.inv.Resources, r.inv.Data, r.inv.Ephemeral, r.inv.Actions} {
		order(list, func(b Block) (Place, string) { return b.Place, b.Type + "." + b.Name })
	}
	order(r.inv.Provisioners, func(p Provisioner) (Place, string) { return p.Place, p.Type })
	order(r.inv.External, func(e External) (Place, string) { return e.Place, e.What })
	order(r.inv.Files, func(f File) (Place, string) { return f.Place, f.Function + f.Path })
	r.inv.Files = slices.Compact(r.inv.Files)
	order(r.inv.Unknown, func(u Unknown) (Place, string) { return u.Place, u.What })
	r.inv.Unknown = slices.Compact(r.inv.Unknown)
}

func order[T any](list []T, by func(T) (Place, string)) {
	slices.SortStableFunc(list, func(a, b T) int {
		pa, ka := by(a)
		pb, kb := by(b)
		return cmp.Or(cmp.Compare(pa.File, pb.File), cmp.Compare(pa.Line, pb.Line), cmp.Compare(ka, kb))
	})
}

// Is says whether a JSON document is an inventory, and not a plan.
func Is(document []byte) bool {
	var head struct {
		Version   *int
		Unknown   []Unknown
		Providers []Provider
	}
	return json.Unmarshal(document, &head) == nil && head.Version != nil && head.Unknown != nil && head.Providers != nil
}
