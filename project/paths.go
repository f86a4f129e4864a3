package project

import (
	"encoding/json"
	"path"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// readers are the functions whose first argument is a path. fileset is the one that reads a directory.
var readers = map[string]bool{
	"file": true, "filebase64": true, "fileexists": true, "filemd5": true, "filesha1": true, "filesha256": true, "filesha512": true,
	"filebase64sha256": true, "filebase64sha512": true, "templatefile": true, "fileset": true,
}

// findPaths collects what the expressions of a body read: arguments of functions that read files, and every other text that begins with
// path.module or path.root, since a path often passes through a local value or a resource argument on its way to being read.
func (m *module) findPaths(node hclsyntax.Node) {
	args := map[hclsyntax.Expression]bool{} // seen as the argument of a function
	// The visitor never reports anything.
	_ = hclsyntax.VisitAll(node, func(n hclsyntax.Node) hcl.Diagnostics {
		switch e := n.(type) {
		case *hclsyntax.FunctionCallExpr:
			name := e.Name[strings.LastIndexByte(e.Name, ':')+1:]
			if readers[name] && len(e.Args) > 0 {
				m.reads(name, e.Args)
				args[e.Args[0]] = true
			}
		case *hclsyntax.TemplateExpr:
			if args[e] {
				return nil
			}
			if p, ok := pathOf(e); ok && p.based && p.rest == "" {
				m.add(ref{root: p.root, path: p.path})
			}
		}
		return nil
	})
}

func (m *module) reads(name string, args []hclsyntax.Expression) {
	p, ok := pathOf(args[0])
	if !ok {
		m.unsure = true
		return
	}
	if p.outside {
		return
	}
	r := ref{root: p.root, path: p.path, sure: true}
	if name == "fileset" && len(args) > 1 && p.rest == "" {
		if pattern, ok := literal(args[1]); ok {
			r.pattern = pattern
		}
	}
	m.add(r)
}

// maxRefs bounds what is kept of one module.
const maxRefs = 5000

func (m *module) add(r ref) {
	if len(m.refs) >= maxRefs {
		m.unsure = true
		return
	}
	m.refs = append(m.refs, r)
}

// found is what is known of a path expression.
type found struct {
	root    bool   // relative to the root module
	based   bool   // it begins with path.module, path.root or path.cwd
	outside bool   // absolute: nothing of this repository
	path    string // its fixed part; where more follows, the directory of it
	rest    string // what follows is only known to a run
}

// pathOf reads a path as far as it is fixed. ok is false when not even its beginning is.
func pathOf(e hclsyntax.Expression) (found, bool) {
	switch e := e.(type) {
	case *hclsyntax.ParenthesesExpr:
		return pathOf(e.Expression)
	case *hclsyntax.TemplateWrapExpr:
		return pathOf(e.Wrapped)
	case *hclsyntax.FunctionCallExpr:
		if e.Name == "abspath" && len(e.Args) == 1 {
			return pathOf(e.Args[0])
		}
	case *hclsyntax.ScopeTraversalExpr:
		root, ok := base(e.Traversal)
		return found{root: root, based: true, path: "."}, ok
	case *hclsyntax.LiteralValueExpr:
		return plain(e)
	case *hclsyntax.TemplateExpr:
		return template(e.Parts)
	}
	return found{}, false
}

// base reads path.module, path.root or path.cwd. A run's working directory is its root module.
func base(t hcl.Traversal) (root, ok bool) {
	if len(t) != 2 || t.RootName() != "path" {
		return false, false
	}
	attr, isAttr := t[1].(hcl.TraverseAttr)
	if !isAttr {
		return false, false
	}
	switch attr.Name {
	case "module":
		return false, true
	case "root", "cwd":
		return true, true
	}
	return false, false
}

func plain(e *hclsyntax.LiteralValueExpr) (found, bool) {
	if e.Val.IsNull() || e.Val.Type() != cty.String {
		return found{}, false
	}
	return fixed(found{root: true}, e.Val.AsString(), false)
}

// template reads a text with interpolations: an optional base, then as much fixed text as there is.
func template(parts []hclsyntax.Expression) (found, bool) {
	f := found{root: true}
	if len(parts) > 0 {
		if t, ok := parts[0].(*hclsyntax.ScopeTraversalExpr); ok {
			root, ok := base(t.Traversal)
			if !ok {
				return found{}, false
			}
			f, parts = found{root: root, based: true}, parts[1:]
		}
	}
	var text strings.Builder
	for i, part := range parts {
		l, ok := part.(*hclsyntax.LiteralValueExpr)
		if !ok || l.Val.IsNull() || l.Val.Type() != cty.String {
			if i == 0 && !f.based {
				return found{}, false
			}
			return fixed(f, text.String(), true)
		}
		text.WriteString(l.Val.AsString())
	}
	return fixed(f, text.String(), false)
}

// fixed completes a path from its fixed text. open says that something unknown follows.
func fixed(f found, text string, open bool) (found, bool) {
	if f.based {
		text = strings.TrimPrefix(text, "/")
	}
	f.outside = !f.based && (path.IsAbs(text) || strings.HasPrefix(text, "~"))
	if open {
		f.rest = text[strings.LastIndexByte(text, '/')+1:] + "…"
		text = text[:strings.LastIndexByte(text, '/')+1]
		if text == "" && !f.based {
			return found{}, false // "${…}": it may be anything
		}
	}
	f.path = path.Clean(text)
	return f, true
}

// findJSONPaths does what findPaths does for the JSON form, where every string may be a template.
func (m *module) findJSONPaths(src []byte) {
	var document any
	if json.Unmarshal(src, &document) != nil {
		return // reported by the parser
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, inner := range v {
				walk(inner)
			}
		case []any:
			for _, inner := range v {
				walk(inner)
			}
		case string:
			if !strings.Contains(v, "${") {
				return
			}
			if e, ok := parseTemplate([]byte(v), ""); ok {
				m.findPaths(e)
			}
		}
	}
	walk(document)
}
