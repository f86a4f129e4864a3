package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"
)

// newDocument builds what rules see as input: the plan's own fields at the top, as conftest gives them, the whole plan once more under
// plan, and the context under planlatch.
func newDocument(in Input, on Stage) (ast.Value, error) {
	if on == OnSource {
		return newSourceDocument(in)
	}
	if len(in.Plan) == 0 {
		return nil, errors.New("the plan has no JSON")
	}
	var plan map[string]any
	if err := util.UnmarshalJSON(in.Plan, &plan); err != nil {
		return nil, fmt.Errorf("read plan JSON: %w", err)
	}
	if _, ok := plan["format_version"].(string); !ok { // every plan has it; what else is read here holds nothing that rules could find
		return nil, errors.New("read plan JSON: it has no format_version, so it is not what `show -json` prints for a plan")
	}
	if _, isState := plan["values"]; isState {
		return nil, errors.New("read plan JSON: it is a state, not a plan")
	}
	value, err := ast.InterfaceToValue(plan)
	if err != nil {
		return nil, fmt.Errorf("read plan JSON: %w", err)
	}
	object, ok := value.(ast.Object)
	if !ok {
		return nil, errors.New("read plan JSON: it is not an object")
	}
	document := ast.NewObject()
	object.Foreach(document.Insert)
	// Last, so that no plan can bring its own.
	document.Insert(ast.StringTerm("plan"), ast.NewTerm(value))
	return document, addContext(document, in)
}

// newSourceDocument builds what rules on the source see as input: the inventory under source, and the context under planlatch.
func newSourceDocument(in Input) (ast.Value, error) {
	var source map[string]any
	if len(in.Source) == 0 {
		return nil, errors.New("the source has no inventory")
	}
	if err := util.UnmarshalJSON(in.Source, &source); err != nil {
		return nil, fmt.Errorf("read the inventory of the source: %w", err)
	}
	if _, ok := source["version"].(json.Number); !ok {
		return nil, errors.New("read the inventory of the source: it has no version")
	}
	value, err := ast.InterfaceToValue(source)
	if err != nil {
		return nil, fmt.Errorf("read the inventory of the source: %w", err)
	}
	document := ast.NewObject()
	document.Insert(ast.StringTerm("source"), ast.NewTerm(value))
	return document, addContext(document, in)
}

func addContext(document ast.Object, in Input) error {
	context, err := ast.InterfaceToValue(contextFields(in))
	if err != nil {
		return fmt.Errorf("read context: %w", err)
	}
	document.Insert(ast.StringTerm("planlatch"), ast.NewTerm(context))
	return nil
}

func contextFields(in Input) map[string]any {
	c := in.Context
	fields := map[string]any{
		"project":   withoutEmpty(map[string]string{"dir": in.Target.Dir, "workspace": in.Target.Workspace, "name": c.Project}),
		"approvers": list(c.Approvers),
	}
	for key, text := range map[string]string{
		"host": in.Target.Host, "repository": in.Target.Repo, "environment": c.Environment, "run_kind": string(c.Kind),
	} {
		if text != "" {
			fields[key] = text
		}
	}
	if !c.Now.IsZero() {
		fields["time"] = c.Now.UTC().Format(time.RFC3339)
	}
	if c.Pull != nil {
		fields["pull_request"] = map[string]any{
			"number": c.Pull.Number, "author": c.Pull.Author, "title": c.Pull.Title, "draft": c.Pull.Draft, "labels": list(c.Pull.Labels),
		}
	}
	previous := []any{}
	for _, f := range c.Previous {
		previous = append(previous, withoutEmpty(map[string]string{
			"set": f.Set, "rule": f.Rule, "level": string(f.Level), "resource": f.Resource, "message": f.Message, "value": f.Value,
		}))
	}
	fields["previous"] = previous
	return fields
}

func withoutEmpty(texts map[string]string) map[string]any {
	kept := map[string]any{}
	for key, text := range texts {
		if text != "" {
			kept[key] = text
		}
	}
	return kept
}

// list is never nil, so that rules can count what is not there.
func list(texts []string) []any {
	values := make([]any, len(texts))
	for i, text := range texts {
		values[i] = text
	}
	return values
}
