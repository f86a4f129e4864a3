package redact

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// Sensitive returns the values that a plan in JSON (show -json) marks as sensitive and that are long enough to be redacted by value: those of
// resources before and after, of outputs and of variables. Sorted, without repetition. An error means that the plan cannot be read, so that
// nothing taken from it may leave.
func Sensitive(planJSON []byte) ([]string, error) {
	var p plan
	dec := json.NewDecoder(bytes.NewReader(planJSON))
	dec.UseNumber()
	if err := dec.Decode(&p); err != nil {
		return nil, fmt.Errorf("read plan for sensitive values: %w", err)
	}
	c := collector{}
	for _, r := range slices.Concat(p.ResourceChanges, p.ResourceDrift) {
		c.change(r.Change)
	}
	for _, d := range p.DeferredChanges {
		c.change(d.ResourceChange.Change)
	}
	for _, o := range p.OutputChanges {
		c.change(o)
	}
	c.values(p.PlannedValues)
	c.values(p.PriorState.Values)
	for name, v := range p.Variables {
		if p.Configuration.RootModule.Variables[name].Sensitive {
			c.all(v.Value)
		}
	}
	return slices.Sorted(maps.Keys(c)), nil
}

// plan holds the parts of a plan that can be marked.
type plan struct {
	ResourceChanges []resource `json:"resource_changes"`
	ResourceDrift   []resource `json:"resource_drift"`
	DeferredChanges []struct {
		ResourceChange resource `json:"resource_change"`
	} `json:"deferred_changes"`
	OutputChanges map[string]change `json:"output_changes"`
	PlannedValues values            `json:"planned_values"`
	PriorState    struct {
		Values values `json:"values"`
	} `json:"prior_state"`
	Variables map[string]struct {
		Value any `json:"value"`
	} `json:"variables"`
	Configuration struct {
		RootModule struct {
			Variables map[string]struct {
				Sensitive bool `json:"sensitive"`
			} `json:"variables"`
		} `json:"root_module"`
	} `json:"configuration"`
}

type resource struct {
	Change change `json:"change"`
}

type change struct {
	Before          any `json:"before"`
	After           any `json:"after"`
	BeforeSensitive any `json:"before_sensitive"`
	AfterSensitive  any `json:"after_sensitive"`
}

type values struct {
	Outputs map[string]struct {
		Sensitive bool `json:"sensitive"`
		Value     any  `json:"value"`
	} `json:"outputs"`
	RootModule module `json:"root_module"`
}

type module struct {
	Resources []struct {
		Values          any `json:"values"`
		SensitiveValues any `json:"sensitive_values"`
	} `json:"resources"`
	ChildModules []module `json:"child_modules"`
}

// collector is the set of values found.
type collector map[string]struct{}

func (c collector) change(ch change) {
	// A value that stops or starts being sensitive is a secret on both sides.
	for _, marks := range []any{ch.BeforeSensitive, ch.AfterSensitive} {
		c.marked(ch.Before, marks)
		c.marked(ch.After, marks)
	}
}

func (c collector) values(v values) {
	for _, o := range v.Outputs {
		if o.Sensitive {
			c.all(o.Value)
		}
	}
	c.module(v.RootModule)
}

func (c collector) module(m module) {
	for _, r := range m.Resources {
		c.marked(r.Values, r.SensitiveValues)
	}
	for _, child := range m.ChildModules {
		c.module(child)
	}
}

// marked collects the parts of value that marks, of the same shape, says true of.
func (c collector) marked(value, marks any) {
	switch m := marks.(type) {
	case bool:
		if m {
			c.all(value)
		}
	case map[string]any:
		if v, ok := value.(map[string]any); ok {
			for key, inner := range m {
				c.marked(v[key], inner)
			}
		}
	case []any:
		if v, ok := value.([]any); ok {
			for i := range min(len(v), len(m)) {
				c.marked(v[i], m[i])
			}
		}
	}
}

// all collects every leaf of value.
func (c collector) all(value any) {
	switch v := value.(type) {
	case string:
		c.add(v)
	case json.Number:
		c.add(v.String())
	case map[string]any:
		for _, inner := range v {
			c.all(inner)
		}
	case []any:
		for _, inner := range v {
			c.all(inner)
		}
	}
}

func (c collector) add(text string) {
	if utf8.RuneCountInString(text) >= MinLength {
		c[text] = struct{}{}
	}
}
