package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// changesMax bounds what is kept of a plan; people read no further, and the whole plan is stored beside.
const changesMax = 2000

// planFile is the part of a plan in JSON that is shown. Decoding no more keeps a plan of a large state cheap: configuration and prior
// state are most of it.
type planFile struct {
	FormatVersion    string                    `json:"format_version"`
	TerraformVersion string                    `json:"terraform_version"`
	ResourceChanges  []*tfjson.ResourceChange  `json:"resource_changes"`
	ResourceDrift    []*tfjson.ResourceChange  `json:"resource_drift"`
	OutputChanges    map[string]*tfjson.Change `json:"output_changes"`
	DeferredChanges  []json.RawMessage         `json:"deferred_changes"`
	Errored          bool                      `json:"errored"`
	Checks           []struct {
		Address struct {
			Display string `json:"to_display"`
		} `json:"address"`
		Status    string `json:"status"`
		Instances []struct {
			Problems []struct {
				Message string `json:"message"`
			} `json:"problems"`
		} `json:"instances"`
	} `json:"checks"`
}

// ReadPlan reads a plan in JSON (show -json) for people. Values the schema marks sensitive are never kept. Errors: no JSON, or a format of
// another major version, whose meaning is not known.
func ReadPlan(planJSON []byte, opts ReadOptions) (Plan, error) {
	var f planFile
	dec := json.NewDecoder(bytes.NewReader(planJSON))
	dec.UseNumber()
	if err := dec.Decode(&f); err != nil {
		return Plan{}, fmt.Errorf("read plan: %w", err)
	}
	if major, _, _ := strings.Cut(f.FormatVersion, "."); major != "0" && major != "1" {
		return Plan{}, fmt.Errorf("read plan: format version %q is not known, want 1.x", f.FormatVersion)
	}
	if opts.Redact == nil {
		opts.Redact = func(s string) string { return s }
	}
	if opts.Locate == nil {
		opts.Locate = func(string) (string, int, bool) { return "", 0, false }
	}
	p := Plan{Tool: f.TerraformVersion}
	for _, rc := range f.ResourceChanges {
		if rc != nil && rc.Change != nil {
			p.add(rc, opts)
		}
	}
	slices.SortStableFunc(p.Changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(danger[a.Kind], danger[b.Kind]), cmp.Compare(a.Address, b.Address))
	})
	if p.More = max(0, len(p.Changes)-changesMax); p.More > 0 {
		p.Changes = p.Changes[:changesMax]
	}
	p.addOutputs(f.OutputChanges, opts)
	for _, rc := range f.ResourceDrift {
		if rc != nil && rc.Change != nil && !rc.Change.Actions.NoOp() && len(p.Drift) < changesMax {
			p.Drift = append(p.Drift, opts.Redact(rc.Address))
		}
	}
	slices.Sort(p.Drift)
	p.warn(f, opts)
	return p, nil
}

// danger orders changes: what is lost first.
var danger = map[ChangeKind]int{Delete: 0, Replace: 1, Forget: 2, Update: 3, Create: 4, Import: 5, Move: 6}

func (p *Plan) add(rc *tfjson.ResourceChange, opts ReadOptions) {
	c := Change{Address: opts.Redact(rc.Address), Type: opts.Redact(rc.Type), Deposed: rc.DeposedKey}
	if rc.PreviousAddress != "" && rc.PreviousAddress != rc.Address {
		c.Previous = opts.Redact(rc.PreviousAddress)
		p.Counts.Move++
	}
	if rc.Change.Importing != nil {
		if c.Import = opts.Redact(rc.Change.Importing.ID); c.Import == "" {
			c.Import = "an identity"
		}
		p.Counts.Import++
	}
	has := func(a tfjson.Action) bool { return slices.Contains(rc.Change.Actions, a) }
	switch {
	case has(tfjson.ActionCreate) && (has(tfjson.ActionDelete) || has(tfjson.ActionForget)):
		c.Kind, c.First, c.Keeps = Replace, rc.Change.Actions[0] == tfjson.ActionCreate, has(tfjson.ActionForget)
		p.Counts.Replace++
	case has(tfjson.ActionCreate):
		c.Kind = Create
		p.Counts.Add++
	case has(tfjson.ActionUpdate):
		c.Kind = Update
		p.Counts.Change++
	case has(tfjson.ActionDelete):
		c.Kind = Delete
		p.Counts.Destroy++
	case has(tfjson.ActionForget):
		c.Kind = Forget
		p.Counts.Forget++
	case has(tfjson.ActionRead):
		p.Reads++
		return
	case c.Import != "":
		c.Kind = Import
	case c.Previous != "":
		c.Kind = Move
	case rc.Change.Actions.NoOp():
		return
	default: // an action of a later tool: show it rather than hide it
		c.Kind = Update
		c.Reason = opts.Redact(fmt.Sprintf("%v", rc.Change.Actions))
		p.Counts.Change++
	}
	d := newDiffer(rc.Change, opts.Redact)
	c.Attrs, c.More, c.Unknown = d.run(c.Kind)
	if c.Reason == "" {
		c.Reason = reason(rc.ActionReason, c, d.forcing())
	}
	if file, row, ok := opts.Locate(withoutKeys(rc.Address)); ok {
		c.File, c.Line = file, row
	}
	p.Changes = append(p.Changes, c)
}

func (p *Plan) addOutputs(changes map[string]*tfjson.Change, opts ReadOptions) {
	for name, ch := range changes {
		if ch == nil {
			continue
		}
		o := Output{Name: opts.Redact(name)}
		switch {
		case ch.Actions.NoOp():
			continue
		case ch.Actions.Create():
			o.Kind = Create
		case ch.Actions.Delete():
			o.Kind = Delete
		default:
			o.Kind = Update
		}
		d := newDiffer(ch, opts.Redact)
		d.walk(path{name}, change{ch.Before, ch.After, ch.AfterUnknown, ch.BeforeSensitive, ch.AfterSensitive})
		o.Attrs = d.attrs
		p.Counts.Outputs++
		p.Outputs = append(p.Outputs, o)
	}
	slices.SortFunc(p.Outputs, func(a, b Output) int { return cmp.Compare(a.Name, b.Name) })
}

func (p *Plan) warn(f planFile, opts ReadOptions) {
	if f.Errored {
		p.Warnings = append(p.Warnings, "the tool stopped with an error: this plan is not whole")
	}
	if n := len(f.DeferredChanges); n > 0 {
		p.Warnings = append(p.Warnings, count(n, "change is", "changes are")+" put off to a later plan")
	}
	for _, c := range f.Checks {
		if c.Status != "fail" && c.Status != "error" {
			continue
		}
		text := c.Address.Display + " fails"
		for _, i := range c.Instances {
			for _, problem := range i.Problems {
				text += ": " + problem.Message
			}
		}
		if len(p.Warnings) < 50 {
			p.Warnings = append(p.Warnings, shorten(opts.Redact(text), textMax))
		}
	}
}

// reason says in words why the tool chose a replacement or a destroy.
func reason(why tfjson.ActionReason, c Change, forcing []string) string {
	switch {
	case c.Kind == Replace && len(forcing) == 1:
		return "replaced: " + forcing[0] + " forces it"
	case c.Kind == Replace && len(forcing) > 3:
		return fmt.Sprintf("replaced: %s and %d more force it", strings.Join(forcing[:2], ", "), len(forcing)-2)
	case c.Kind == Replace && len(forcing) > 1:
		return "replaced: " + strings.Join(forcing, ", ") + " force it"
	}
	switch why {
	case tfjson.ActionReasonReplaceBecauseTainted:
		return "replaced: it is tainted, its last apply did not finish"
	case tfjson.ActionReasonReplaceByRequest:
		return "replaced: asked for by a flag"
	case tfjson.ActionReasonReplaceByTriggers:
		return "replaced: replace_triggered_by"
	default: // not why it is replaced
	}
	if c.Kind == Forget {
		return ""
	}
	switch why {
	case tfjson.ActionReasonDeleteBecauseNoResourceConfig:
		return "destroyed: its block is gone"
	case tfjson.ActionReasonDeleteBecauseNoModule:
		return "destroyed: its module is gone"
	case tfjson.ActionReasonDeleteBecauseWrongRepetition:
		return "destroyed: count or for_each was added or removed, which gives it another address"
	case tfjson.ActionReasonDeleteBecauseCountIndex:
		return "destroyed: count is smaller now"
	case tfjson.ActionReasonDeleteBecauseEachKey:
		return "destroyed: its key is gone from for_each"
	case tfjson.ActionReasonDeleteBecauseNoMoveTarget:
		return "destroyed: it was moved to where no block is"
	default: // not why it is destroyed
	}
	if c.Deposed != "" {
		return "destroyed: a deposed object, left over from an earlier replacement"
	}
	return ""
}

// withoutKeys takes instance keys out of an address: module.a["x"].b.c[0] is module.a.b.c.
func withoutKeys(address string) string {
	var b strings.Builder
	quoted, depth := false, 0
	for i := 0; i < len(address); i++ {
		switch ch := address[i]; {
		case quoted:
			switch ch {
			case '\\':
				i++
			case '"':
				quoted = false
			}
		case ch == '"' && depth > 0:
			quoted = true
		case ch == '[':
			depth++
		case ch == ']' && depth > 0:
			depth--
		case depth == 0:
			b.WriteByte(ch)
		}
	}
	return b.String()
}
