package project

import (
	"errors"
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

// ImportBlock writes the block that makes a plan import an object of the provider to a resource address. An error is for the person who
// gave the address.
func ImportBlock(address, id string) (string, error) {
	to, err := parseAddress(address)
	switch {
	case err != nil:
		return "", err
	case to.module:
		return "", fmt.Errorf("%s is a module: name a resource of it", quote(address))
	case id == "":
		return "", errors.New("the id of what is to be imported is empty")
	}
	f := hclwrite.NewEmptyFile()
	body := f.Body().AppendNewBlock("import", nil).Body()
	body.SetAttributeTraversal("to", to.traversal)
	body.SetAttributeValue("id", cty.StringVal(id))
	return string(f.Bytes()), nil
}

// RemovedBlock writes the block that makes a plan forget a resource or a module without destroying it. An error is for the person who gave
// the address.
func RemovedBlock(address string) (string, error) {
	from, err := parseAddress(address)
	switch {
	case err != nil:
		return "", err
	case from.keyed:
		return "", fmt.Errorf("%s names one instance, and removed {} takes whole resources and modules: leave the part in brackets out", quote(address))
	}
	f := hclwrite.NewEmptyFile()
	body := f.Body().AppendNewBlock("removed", nil).Body()
	body.SetAttributeTraversal("from", from.traversal)
	body.AppendNewline()
	body.AppendNewBlock("lifecycle", nil).Body().SetAttributeValue("destroy", cty.False)
	return string(f.Bytes()), nil
}

// address is a resource or module, as the tools write it.
type address struct {
	traversal hcl.Traversal
	module    bool // a whole module, not a resource
	keyed     bool // some part of it names one instance
}

// parseAddress reads module.a["x"].aws_instance.web[0].
func parseAddress(text string) (address, error) {
	bad := func(why string) (address, error) {
		return address{}, fmt.Errorf("%s is no address: %s", quote(text), why)
	}
	if len(text) > maxText {
		return bad("it is too long")
	}
	t, diags := hclsyntax.ParseTraversalAbs([]byte(text), "address", hcl.InitialPos)
	if diags.HasErrors() {
		return bad(`write it as the tool does, as in aws_instance.web or 'module.a["x"].aws_instance.web[0]', in single quotes where it has double ones`)
	}
	a := address{traversal: t}
	var names []string // of the part that is being read: module, NAME or TYPE, NAME
	for _, step := range t {
		switch s := step.(type) {
		case hcl.TraverseRoot:
			names = append(names, s.Name)
		case hcl.TraverseAttr:
			if len(names) == 2 && names[0] == "module" {
				names = nil
			}
			names = append(names, s.Name)
		case hcl.TraverseIndex:
			if len(names) != 2 {
				return bad("brackets follow a name")
			}
			if n := s.Key; n.Type() == cty.Number && (n.LessThan(cty.Zero).True() || !n.AsBigFloat().IsInt()) {
				return bad("what stands in brackets is a key in quotes or a whole number")
			}
			a.keyed = true
		default:
			return bad("it has parts that no address has")
		}
	}
	a.module = names[0] == "module"
	switch {
	case names[0] == "data":
		return bad("a data source is read at each plan, and nothing of it is managed")
	case len(names) != 2 && a.module:
		return bad("after module comes its name")
	case len(names) != 2:
		return bad("a resource has a type and a name, as in aws_instance.web")
	}
	return a, nil
}
