package inventory

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/planlatch/planlatch/project"
)

// readers are the functions whose first argument is the path of a file.
var readers = map[string]bool{
	"file": true, "filebase64": true, "fileexists": true, "filemd5": true, "filesha1": true, "filesha256": true, "filesha512": true,
	"filebase64sha256": true, "filebase64sha512": true, "filebase64gunzip": true, "templatefile": true, "fileset": true, "abspath": true, "pathexpand": true,
}

// rendered is the function that takes the text of a template from anywhere.
const rendered = "templatestring"

// functions notes what the calls in an expression use. at is given where the expression does not know its place.
func (m *module) functions(node hclsyntax.Node, at Place) {
	// The visitor never reports anything.
	_ = hclsyntax.VisitAll(node, func(n hclsyntax.Node) hcl.Diagnostics {
		call, ok := n.(*hclsyntax.FunctionCallExpr)
		if !ok {
			return nil
		}
		here := at
		if here.File == "" {
			here = place(call.NameRange)
		}
		names := strings.Split(call.Name, "::")
		last := names[len(names)-1]
		switch {
		case names[0] == "provider" && len(names) > 1:
			m.use(clip(names[1]), here, "function")
		case last == rendered && m.r.item(here):
			m.r.inv.Files = append(m.r.inv.Files, File{Place: here, Function: last})
		case readers[last] && len(call.Args) > 0:
			m.reads(last, call.Args, here)
		}
		return nil
	})
}

// reads notes a path that leaves the repository, or of which only a run can tell where it leads.
func (m *module) reads(function string, args []hclsyntax.Expression, at Place) {
	text, from, whole := m.path(args[0])
	if function == "fileset" && len(args) > 1 { // the pattern goes on from there, also upwards
		pattern, _, written := m.path(args[1])
		text, whole = path.Join(text, pattern), whole && written
	}
	f := File{Place: at, Function: function, Path: clip(text)}
	switch {
	case path.IsAbs(text) && from == "", strings.HasPrefix(text, "~") && from == "":
		f.Outside = true
	case from == "":
		from = m.r.inv.Dir // where the tool runs
	}
	if !f.Outside {
		joined := path.Join(from, text)
		f.Outside = joined == ".." || strings.HasPrefix(joined, "../")
		if whole && !f.Outside {
			if function == "templatefile" {
				m.templateFile(joined)
			}
			return
		}
	}
	if m.r.item(at) {
		m.r.inv.Files = append(m.r.inv.Files, f)
	}
}

// templateFile looks, once, at a file that is a template: it may call what any expression may.
func (m *module) templateFile(name string) {
	if m.r.templates[name] {
		return
	}
	m.r.templates[name] = true
	if src, ok := m.r.source(name); ok {
		m.template(string(src), Place{File: name})
	}
}

// path is a path as far as it is written out, and the directory that it begins at; whole says that it is written out to its end.
func (m *module) path(e hclsyntax.Expression) (text, from string, whole bool) {
	switch e := e.(type) {
	case *hclsyntax.ParenthesesExpr:
		return m.path(e.Expression)
	case *hclsyntax.TemplateWrapExpr:
		return m.path(e.Wrapped)
	case *hclsyntax.LiteralValueExpr:
		if e.Val.Type() == cty.String && !e.Val.IsNull() {
			return e.Val.AsString(), "", true
		}
	case *hclsyntax.ScopeTraversalExpr:
		if from, ok := m.base(e.Traversal); ok {
			return "", from, true
		}
	case *hclsyntax.TemplateExpr:
		whole = true
		for n, part := range e.Parts {
			piece, at, ok := m.path(part)
			if at != "" && n == 0 {
				from = at
			} else if !ok || at != "" {
				return text, from, false
			}
			text += piece
		}
		return text, from, whole
	}
	return "", "", false
}

// base reads path.module, path.root and path.cwd.
func (m *module) base(t hcl.Traversal) (string, bool) {
	if len(t) != 2 || t.RootName() != "path" {
		return "", false
	}
	attr, _ := t[1].(hcl.TraverseAttr)
	switch attr.Name {
	case "module":
		return m.dir, true
	case "root", "cwd":
		return m.r.inv.Dir, true
	}
	return "", false
}

// json does for the JSON form what functions and starts do for the native one: every string may be a template.
func (m *module) json(name string, src []byte, keys ...string) {
	d := &document{Decoder: json.NewDecoder(bytes.NewReader(src)), name: name, src: src, line: 1}
	d.UseNumber()
	if err := m.value(d, keys); err != nil && !errors.Is(err, io.EOF) {
		m.r.unknown(Place{File: name}, "it is not read alike by every reader of JSON")
	}
}

// document is a JSON file being read.
type document struct {
	*json.Decoder

	name string
	src  []byte
	upto int64 // where line was counted
	line int

	object bool // the value at hand is to be an object whose keys can be seen
}

func (d *document) place() Place {
	d.line += bytes.Count(d.src[d.upto:d.InputOffset()], []byte("\n"))
	d.upto = d.InputOffset()
	return Place{File: d.name, Line: d.line}
}

// value walks one value of a document. keys are the first on the way to it: the block's type and name.
func (m *module) value(d *document, keys []string) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	object := d.object
	d.object = false
	switch token {
	case json.Delim('{'):
		for d.More() {
			if err := m.member(d, keys); err != nil {
				return err
			}
		}
		_, err = d.Token()
	case json.Delim('['):
		for d.More() {
			if err := m.value(d, keys); err != nil {
				return err
			}
		}
		_, err = d.Token()
	default:
		if text, ok := token.(string); ok {
			if object {
				m.r.unknown(d.place(), "settings that are not written out")
			}
			m.template(text, d.place())
		}
	}
	return err
}

// member walks one member of an object.
func (m *module) member(d *document, keys []string) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	key, _ := token.(string)
	at := d.place()
	m.template(key, at)
	if what := holder(keys); what != "" {
		if programs[key] {
			m.runs(at, what, key)
		}
		d.object = settles(what, key)
	}
	if len(keys) < 2 {
		keys = append(slices.Clip(keys), key)
	}
	return m.value(d, keys)
}

// template looks at a string that may be a template.
func (m *module) template(text string, at Place) {
	if !strings.Contains(text, "${") && !strings.Contains(text, "%{") {
		return
	}
	e, ok := project.ParseTemplate([]byte(text), at.File)
	if !ok {
		m.r.unknown(at, "a text with a template that cannot be read")
		return
	}
	m.functions(e, at)
}
