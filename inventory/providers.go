package inventory

import (
	"regexp"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/planlatch/planlatch/project"
)

// builtin is the provider that is part of the tools.
const builtin = "terraform.io/builtin/terraform"

// use notes that a module uses a provider by its name there.
func (m *module) use(name string, at Place, from string) {
	for _, r := range m.now {
		if !r.used[name] {
			r.used[name] = true
			r.uses = append(r.uses, Provider{Place: at, Name: name, From: from})
		}
	}
}

// provider notes the provider of a block: the one that it names, else the one of its type.
func (m *module) provider(a *hcl.Attribute, own string, at Place, from string) {
	if a == nil {
		if own != "" {
			m.use(own, at, from)
		}
		return
	}
	name, ok := rootName(a.Expr)
	if !ok {
		m.r.unknown(place(a.Range), "a provider that is not written out")
		return
	}
	m.use(clip(name), at, from)
}

// rootName is the name in front of a reference to a provider: aws.west, aws.by_region[each.key], "aws.west".
func rootName(e hcl.Expression) (string, bool) {
	if i, ok := e.(*hclsyntax.IndexExpr); ok {
		e = i.Collection
	}
	if t, diags := hcl.AbsTraversalForExpr(e); !diags.HasErrors() && len(t) > 0 {
		return t.RootName(), true
	}
	text, ok := project.Literal(e)
	name, _, _ := strings.Cut(text, ".")
	name, _, _ = strings.Cut(name, "[")
	return name, ok && hclsyntax.ValidIdentifier(name)
}

// passes notes the providers that a module call hands down.
func (m *module) passes(a *hcl.Attribute) {
	if a == nil {
		return
	}
	pairs, diags := hcl.ExprMap(a.Expr)
	m.r.faults(a.Range.Filename, diags)
	for _, p := range pairs {
		name, ok := rootName(p.Value)
		if !ok {
			m.r.unknown(place(p.Value.Range()), "a provider that is not written out")
			continue
		}
		m.use(clip(name), place(p.Value.Range()), "module")
	}
}

// requires reads required_providers.
func (m *module) requires(b *hcl.Block) {
	attrs, diags := b.Body.JustAttributes()
	m.r.faults(b.DefRange.Filename, diags)
	for name, a := range attrs {
		at := place(a.Range)
		if !m.r.item(at) {
			return
		}
		p := Provider{Place: at, Name: clip(name), From: "required_providers", Address: "hashicorp/" + strings.ToLower(clip(name))}
		for _, r := range m.now {
			r.required[p.Name] = true
		}
		if name == "terraform" {
			p.Address = builtin // unless it says another source
		}
		if text, ok := project.Literal(a.Expr); ok { // the form of old: a constraint alone
			p.Version = clip(text)
		} else if !m.requirement(&p, a) {
			continue
		}
		m.r.inv.Providers = append(m.r.inv.Providers, p)
	}
}

// requirement reads { source = "acme/cloud", version = "~> 1.0" }.
func (m *module) requirement(p *Provider, a *hcl.Attribute) bool {
	pairs, diags := hcl.ExprMap(a.Expr)
	if diags.HasErrors() {
		m.r.unknown(p.Place, "provider %q in required_providers, which is not written out", p.Name)
		return false
	}
	for _, pair := range pairs {
		key := hcl.ExprAsKeyword(pair.Key)
		if text, ok := project.Literal(pair.Key); ok && key == "" {
			key = text
		}
		switch key {
		case "source":
			text, ok := project.Literal(pair.Value)
			if ok {
				p.Address, ok = address(text)
			}
			if !ok {
				m.r.unknown(place(pair.Value.Range()), "source of provider %q, which is not written out or is no address", p.Name)
				return false
			}
		case "version":
			p.Version, _ = project.Literal(pair.Value)
			p.Version = clip(p.Version)
		case "configuration_aliases":
		default:
			m.r.unknown(place(pair.Key.Range()), "required_providers says of %q what is not known here", p.Name)
			return false
		}
	}
	return true
}

var addressPart = regexp.MustCompile(`^[a-z0-9]+([_-]+[a-z0-9]+)*$`)

var addressHost = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$`)

// address reads the source of a provider.
func address(source string) (string, bool) {
	parts := strings.Split(strings.ToLower(source), "/")
	host := ""
	switch len(parts) {
	case 1:
		parts = append([]string{"hashicorp"}, parts...)
	case 2:
	case 3:
		host, parts = parts[0], parts[1:]
		if !addressHost.MatchString(host) {
			return "", false
		}
	default:
		return "", false
	}
	if len(source) > maxText || !addressPart.MatchString(parts[0]) || !addressPart.MatchString(parts[1]) {
		return "", false
	}
	return withoutPublicHost(host, strings.Join(parts, "/")), true
}

// withoutPublicHost leaves the host of the registries out that the tools use by themselves.
func withoutPublicHost(host, name string) string {
	switch host {
	case "", "registry.opentofu.org", "registry.terraform.io":
		return name
	}
	return host + "/" + name
}

// implied lists the providers that a module uses without requiring them, in any reading of it: those of the registry's own namespace.
func (m *module) implied() {
	listed := map[string]bool{}
	for _, r := range m.readings {
		for _, p := range r.uses {
			if r.required[p.Name] || listed[p.Name] {
				continue
			}
			listed[p.Name] = true
			var ok bool
			switch p.Address, ok = address(p.Name); {
			case p.Name == "terraform":
				p.Address = builtin
			case !ok || strings.Contains(p.Name, "/"):
				m.r.unknown(p.Place, "%q, which is no name of a provider", p.Name)
				continue
			}
			m.r.inv.Providers = append(m.r.inv.Providers, p)
		}
	}
}

// resourceType is the type in the address of a resource: aws_instance.web, module.a["x"].aws_instance.web[each.key].
func resourceType(e hcl.Expression) (string, bool) {
	for {
		i, ok := e.(*hclsyntax.IndexExpr)
		if !ok {
			break
		}
		e = i.Collection
	}
	t, diags := hcl.AbsTraversalForExpr(e)
	if diags.HasErrors() {
		return "", false
	}
	var names []string // without what stands in brackets
	for _, step := range t {
		switch s := step.(type) {
		case hcl.TraverseRoot:
			names = append(names, s.Name)
		case hcl.TraverseAttr:
			names = append(names, s.Name)
		}
	}
	for len(names) > 2 && names[0] == "module" {
		names = names[2:]
	}
	return names[0], len(names) > 1 && names[0] != "module"
}
