package project

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/hashicorp/hcl/v2"

	"github.com/planlatch/planlatch/run"
)

var declared = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
	{Type: "resource", LabelNames: []string{"type", "name"}}, {Type: "data", LabelNames: []string{"type", "name"}},
	{Type: "ephemeral", LabelNames: []string{"type", "name"}}, {Type: "output", LabelNames: []string{"name"}},
	{Type: "module", LabelNames: []string{"name"}},
}}

// maxPositions bounds the answer: modules that call each other several times multiply.
const maxPositions = 20_000

// Positions says where everything in a root module is declared, by its address without instance keys: "aws_s3_bucket.logs",
// "data.aws_region.here", "output.url", "module.network" and, where the module's source is local, "module.network.aws_vpc.main". Files that
// cannot be understood add what can. The error says that the tree could not be read.
func Positions(fsys fs.FS, dir string) (map[string]Position, error) {
	p := &positions{t: newTree(fsys, func() error { return nil }), found: map[string]Position{}, seen: map[string]*declarations{}, open: map[string]bool{}}
	target, ok := clean(".", dir)
	if !ok {
		return nil, fmt.Errorf("positions of %q: %w", dir, ErrOutside)
	}
	p.add(target, "")
	if p.t.err != nil {
		return nil, fmt.Errorf("positions of %q: %w", dir, p.t.err)
	}
	return p.found, nil
}

type positions struct {
	t     *tree
	found map[string]Position
	seen  map[string]*declarations // by directory
	open  map[string]bool          // the directories on the way to the present one
}

// declarations are those of one directory.
type declarations struct {
	addresses []string
	at        []Position
	modules   map[string]string // name of a call → directory
}

func (p *positions) add(dir, prefix string) {
	if p.open[dir] || len(p.open) > 20 {
		return
	}
	p.open[dir] = true
	defer delete(p.open, dir)
	d := p.seen[dir]
	if d == nil {
		d = p.t.declarations(dir)
		p.seen[dir] = d
	}
	for i, address := range d.addresses {
		if len(p.found) >= maxPositions {
			return
		}
		if _, twice := p.found[prefix+address]; !twice {
			p.found[prefix+address] = d.at[i]
		}
	}
	for _, name := range sortedKeys(d.modules) {
		p.add(d.modules[name], prefix+"module."+name+".")
	}
}

func (t *tree) declarations(dir string) *declarations {
	d := &declarations{modules: map[string]string{}}
	if _, err := t.list(dir); errors.Is(err, fs.ErrNotExist) {
		return d
	} else if err != nil {
		t.fail(err)
		return d
	}
	tool := terraform
	if t.hasTofuFiles(dir) {
		tool = tofu
	}
	for _, name := range t.configFiles(dir, tool) {
		file := path.Join(dir, name)
		var problems []run.Problem
		parsed, _ := t.parse(file, &problems)
		if parsed == nil {
			continue
		}
		content, _, _ := parsed.Body.PartialContent(declared)
		for _, b := range content.Blocks {
			d.addresses = append(d.addresses, addressOf(b))
			d.at = append(d.at, Position{File: file, Line: b.DefRange.Start.Line})
		}
	}
	for name, call := range t.module(dir, tool).calls {
		if next, problem := t.callee(dir, call); problem == nil {
			d.modules[name] = next
		}
	}
	return d
}

func addressOf(b *hcl.Block) string {
	switch b.Type {
	case "resource":
		return b.Labels[0] + "." + b.Labels[1]
	case "output", "module":
		return b.Type + "." + b.Labels[0]
	}
	return b.Type + "." + b.Labels[0] + "." + b.Labels[1]
}
