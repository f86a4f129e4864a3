package inventory

import (
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/planlatch/planlatch/project"
)

// programs are the settings of providers and backends that start a program for their credentials, or that name a file of the repository which
// may say so: a kubeconfig, or a configuration of the AWS tools.
var programs = map[string]bool{
	"exec": true, "credential_process": true,
	"config_path": true, "config_paths": true, "shared_config_file": true, "shared_config_files": true,
	"shared_credentials_file": true, "shared_credentials_files": true,
}

// runs notes a setting that starts a program. what has it: provider.kubernetes, backend.s3.
func (m *module) runs(at Place, what, setting string) {
	if setting != "exec" {
		what += " (" + setting + ")"
	}
	m.r.inv.External = append(m.r.inv.External, External{Place: at, What: what})
}

// starts looks in the native form of a body for settings that start a program; json looks in the other form.
func (m *module) starts(b hcl.Body, what string) {
	native := body(b)
	if native == nil {
		return
	}
	// The visitor never reports anything.
	_ = hclsyntax.VisitAll(native, func(n hclsyntax.Node) hcl.Diagnostics {
		switch e := n.(type) {
		case *hclsyntax.Block:
			name := e.Type
			if name == "dynamic" && len(e.Labels) > 0 {
				name = e.Labels[0]
			}
			if programs[name] {
				m.runs(place(e.DefRange()), what, name)
			}
		case *hclsyntax.Attribute:
			if programs[e.Name] {
				m.runs(place(e.SrcRange), what, e.Name)
			}
			if settles(what, e.Name) && !writtenOut(e.Expr) {
				m.r.unknown(place(e.SrcRange), "%s of %s, which is not written out", e.Name, what)
			}
		case *hclsyntax.ObjectConsExpr:
			for _, item := range e.Items {
				if key, ok := keyOf(item.KeyExpr); ok && programs[key] {
					m.runs(place(item.KeyExpr.Range()), what, key)
				}
			}
		}
		return nil
	})
}

// settles says whether a setting holds others in one value, of which some start programs.
func settles(what, setting string) bool {
	return setting == "config" && strings.HasPrefix(what, "data.") || setting == "kubernetes" && strings.HasPrefix(what, "provider.")
}

// writtenOut says whether all keys of an object can be seen.
func writtenOut(e hclsyntax.Expression) bool {
	if p, ok := e.(*hclsyntax.ParenthesesExpr); ok {
		return writtenOut(p.Expression)
	}
	object, ok := e.(*hclsyntax.ObjectConsExpr)
	return ok && !slices.ContainsFunc(object.Items, func(i hclsyntax.ObjectConsItem) bool {
		_, ok := keyOf(i.KeyExpr)
		return !ok
	})
}

// keyOf is the key of an object as far as it is written out.
func keyOf(e hclsyntax.Expression) (string, bool) {
	if k, ok := e.(*hclsyntax.ObjectConsKeyExpr); ok {
		if name := hcl.ExprAsKeyword(k.Wrapped); name != "" && !k.ForceNonLiteral {
			return name, true
		}
		e = k.Wrapped
	}
	return project.Literal(e)
}

// holder says what a member of a JSON document belongs to if it is a setting of a provider or backend; empty if it is not. keys lead to it.
func holder(keys []string) string {
	if len(keys) < 2 {
		return ""
	}
	switch keys[0] {
	case "provider", "data", "check":
		return keys[0] + "." + clip(keys[1])
	case "terraform":
		return clip(keys[1])
	}
	return ""
}

// backendConfig looks at what init is told of the backend besides the code.
func (m *module) backendConfig(dir string, list []string) {
	const what = "backend_config"
	for _, c := range list {
		key, _, pair := strings.Cut(c, "=")
		switch key = strings.TrimSpace(key); {
		case pair && programs[key]:
			m.runs(Place{File: dir}, what, key)
		case pair || path.IsAbs(c): // the latter is of the server
		default:
			name := path.Join(dir, c)
			file, src := m.r.parse(name)
			if file == nil {
				continue
			}
			if m.starts(file.Body, what); body(file.Body) == nil {
				m.json(name, src, "terraform", what)
			}
		}
	}
}
