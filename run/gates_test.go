package run_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
)

const head, older = "aaaaaaaaaa", "bbbbbbbbbb"

// ready is a moment in which every gate holds.
func ready() run.Moment {
	r := a(run.Planned)
	r.EffectDigest, r.PolicyDigest = "e1", "p1"
	r.Settings.Requirements = []string{"approved", "mergeable", "up_to_date"}
	return run.Moment{
		Now: now, Run: r, Known: true, Head: vcs.Yes, Fresh: vcs.Yes,
		Pull: vcs.Pull{
			State: vcs.PullOpen, Author: vcs.User{Login: "alice"}, Head: vcs.Ref{SHA: head}, Base: vcs.Ref{Branch: "main"}, Mergeable: vcs.Yes,
			Reviews: []vcs.Review{{Author: vcs.User{Login: "bob"}, State: vcs.ReviewApproved, Commit: head, At: now}},
		},
		Shown: []run.Shown{{Head: head, Effect: "e1", At: now.Add(-time.Hour)}},
	}
}

func TestEveryGateHoldsWhenAllIsWell(t *testing.T) {
	t.Parallel()
	if gates := run.Gates(ready()); !run.Hold(gates) {
		t.Errorf("Gates() = %+v, want all to hold", gates)
	}
}

func TestNoGatesIsNo(t *testing.T) {
	t.Parallel()
	if run.Hold(nil) {
		t.Error("Hold(nil) = true, want false")
	}
	if run.Hold(run.Gates(run.Moment{})) {
		t.Error("gates of a moment of which nothing is known hold")
	}
}

// TestGateStaysShut changes one fact of a moment in which all gates hold and names the gate that must close for it.
func TestGateStaysShut(t *testing.T) {
	t.Parallel()
	review := func(m *run.Moment) *vcs.Review { return &m.Pull.Reviews[0] }
	soft := run.Finding{Set: "baseline", Rule: "stateful", Level: run.Soft, Resource: "x.y", Value: "v"}
	for name, c := range map[string]struct {
		gate   run.GateName
		change func(m *run.Moment)
	}{
		"planned/WhilePlanning":      {run.GatePlanned, func(m *run.Moment) { m.Run.State = run.Planning }},
		"planned/AfterItFailed":      {run.GatePlanned, func(m *run.Moment) { m.Run.State = run.Failed }},
		"planned/AfterItWasApplied":  {run.GatePlanned, func(m *run.Moment) { m.Run.State = run.Applied }},
		"mode/AfterMergeBeforeMerge": {run.GateMode, func(m *run.Moment) { m.Run.Settings.Apply = run.ApplyAfterMerge }},
		"head/Moved":                 {run.GateHead, func(m *run.Moment) { m.Head, m.Run.Settings.Requirements = vcs.No, nil }},
		"head/Unknown":               {run.GateHead, func(m *run.Moment) { m.Head, m.Run.Settings.Requirements = vcs.Unknown, nil }},
		"mode/Off":                   {run.GateMode, func(m *run.Moment) { m.Run.Settings.Apply = run.ApplyOff }},
		"mode/Unknown":               {run.GateMode, func(m *run.Moment) { m.Run.Settings.Apply = "sometimes" }},
		"backend/None":               {run.GateBackend, func(m *run.Moment) { m.Run.NoBackend = true }},
		"policy/NotJudged":           {run.GatePolicy, func(m *run.Moment) { m.Run.PolicyDigest = "" }},
		"policy/Hard":                {run.GatePolicy, func(m *run.Moment) { m.Findings = []run.Finding{{Level: run.Hard}} }},
		"policy/Soft":                {run.GatePolicy, func(m *run.Moment) { m.Findings = []run.Finding{soft} }},
		"policy/UnknownLevel":        {run.GatePolicy, func(m *run.Moment) { m.Findings = []run.Finding{{Level: "?"}} }},
		"approved/Unknown":           {run.GateApproved, func(m *run.Moment) { m.Known = false }},
		"approved/Nobody":            {run.GateApproved, func(m *run.Moment) { m.Pull.Reviews = nil }},
		"approved/OnlyCommented":     {run.GateApproved, func(m *run.Moment) { review(m).State = vcs.ReviewCommented }},
		"approved/Dismissed":         {run.GateApproved, func(m *run.Moment) { review(m).State = vcs.ReviewDismissed }},
		"approved/ChangesRequested":  {run.GateApproved, func(m *run.Moment) { review(m).State = vcs.ReviewChanges }},
		"approved/ByTheAuthor":       {run.GateApproved, func(m *run.Moment) { review(m).Author.Login = "Alice" }},
		"approved/ByABot":            {run.GateApproved, func(m *run.Moment) { review(m).Author.Bot = true }},
		"approved/ByNobody":          {run.GateApproved, func(m *run.Moment) { review(m).Author.Login = "" }},
		"approved/ByAContributor":    {run.GateApproved, func(m *run.Moment) { m.Pull.Contributors = []string{"bob"} }},
		"approved/OnAnOlderCommit":   {run.GateApproved, func(m *run.Moment) { review(m).Commit = older }},
		"approved/OnAnotherEffect":   {run.GateApproved, func(m *run.Moment) { m.Shown[0].Effect = "e0" }},
		"approved/BeforeADestroy":    {run.GateApproved, func(m *run.Moment) { m.Shown = nil; m.Run.Counts.Destroy = 1 }},
		"approved/NoCommitTooEarly":  {run.GateApproved, func(m *run.Moment) { review(m).Commit = ""; review(m).At = now.Add(-2 * time.Hour) }},
		"approved/SomeoneElseObjects": {run.GateApproved, func(m *run.Moment) {
			m.Pull.Reviews = append(m.Pull.Reviews, vcs.Review{Author: vcs.User{Login: "carol"}, State: vcs.ReviewChanges, Commit: head})
		}},
		"mergeable/Unknown":     {run.GateMergeable, func(m *run.Moment) { m.Pull.Mergeable = vcs.Unknown }},
		"mergeable/Conflict":    {run.GateMergeable, func(m *run.Moment) { m.Pull.Mergeable = vcs.No }},
		"mergeable/Draft":       {run.GateMergeable, func(m *run.Moment) { m.Pull.Draft = true }},
		"mergeable/Closed":      {run.GateMergeable, func(m *run.Moment) { m.Pull.State = vcs.PullClosed }},
		"mergeable/NotReadable": {run.GateMergeable, func(m *run.Moment) { m.Known = false }},
		"mergeable/CheckIsPending": {run.GateMergeable, func(m *run.Moment) {
			m.Pull.Checks = []vcs.Check{{Context: "ci", State: vcs.StatusPending, Required: true}}
		}},
		"up_to_date/BaseMoved":   {run.GateUpToDate, func(m *run.Moment) { m.Fresh = vcs.No }},
		"up_to_date/Unknown":     {run.GateUpToDate, func(m *run.Moment) { m.Fresh = vcs.Unknown }},
		"hold/HeldBySomeoneElse": {run.GateHold, func(m *run.Moment) { m.HeldBy = "#9" }},
		"state_saved/NotSaved":   {run.GateSaved, func(m *run.Moment) { m.Unsaved = true }},
		"owner/OfAnother":        {run.GateOwner, func(m *run.Moment) { m.Owner = "prod" }},
		"paused/Paused":          {run.GatePaused, func(m *run.Moment) { m.Pause = &run.Pause{Actor: "op", Reason: "freeze"} }},
		"requirement/Unknown":    {"signed_off", func(m *run.Moment) { m.Run.Settings.Requirements = []string{"signed_off"} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := ready()
			c.change(&m)
			gates := run.Gates(m)
			at := slices.IndexFunc(gates, func(g run.Gate) bool { return g.Name == c.gate })
			if at < 0 || gates[at].Holds || gates[at].Text == "" {
				t.Errorf("Gates() = %+v, want %s shut with a reason", gates, c.gate)
			}
			if run.Hold(gates) {
				t.Error("Hold() = true, want false")
			}
		})
	}
}

func TestApprovalCounts(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(m *run.Moment){
		"OnACommitWithTheSameDiff":         func(m *run.Moment) { m.Pull.Reviews[0].Commit = older; m.SameDiff = map[string]bool{older: true} },
		"GivenBeforeTheFirstPlan":          func(m *run.Moment) { m.Shown[0].At = now.Add(time.Hour) },
		"WithoutCommitAfterTheHeadWasSeen": func(m *run.Moment) { m.Pull.Reviews[0].Commit = "" },
		"AfterMergeByAnotherPersonsCommand": func(m *run.Moment) {
			m.Merged, m.Pull.Reviews, m.Run.ConfirmedBy = true, nil, "carol"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := ready()
			change(&m)
			if gates := run.Gates(m); !run.Hold(gates) {
				t.Errorf("Gates() = %+v, want all to hold", gates)
			}
		})
	}
	t.Run("NotAfterMergeByTheAuthorsOwnCommand", func(t *testing.T) {
		t.Parallel()
		m := ready()
		m.Merged, m.Pull.Reviews, m.Run.ConfirmedBy = true, nil, "alice"
		if run.Hold(run.Gates(m)) {
			t.Error("the author confirmed their own unapproved merge")
		}
	})
}

func TestOverrideIsBoundToTheVeryFinding(t *testing.T) {
	t.Parallel()
	r := ready().Run
	f := run.Finding{Set: "baseline", Rule: "stateful", Level: run.Soft, Resource: "x.y", Value: "v", Owners: run.Owners{Approvals: 2}}
	o := run.Override{Project: 3, Set: "baseline", Rule: "stateful", Resource: "x.y", Value: "v", Effect: "e1", Policy: "p1", Actor: "bob"}
	second := o
	second.Actor = "carol"
	if !run.Overridden(r, f, []run.Override{o, second}) {
		t.Error("two owners' overrides do not count")
	}
	if run.Overridden(r, f, []run.Override{o, o}) {
		t.Error("one owner counts twice")
	}
	hard := f
	hard.Level = run.Hard
	if run.Overridden(r, hard, []run.Override{o, second}) {
		t.Error("a hard finding was overridden")
	}
	for name, change := range map[string]func(o *run.Override){
		"project": func(o *run.Override) { o.Project = 4 }, "set": func(o *run.Override) { o.Set = "x" }, "rule": func(o *run.Override) { o.Rule = "x" },
		"resource": func(o *run.Override) { o.Resource = "x" }, "value": func(o *run.Override) { o.Value = "x" },
		"effect": func(o *run.Override) { o.Effect = "x" }, "policy": func(o *run.Override) { o.Policy = "x" },
	} {
		other := second
		change(&other)
		if run.Overridden(r, f, []run.Override{o, other}) {
			t.Errorf("an override of another %s counts", name)
		}
	}
}

func TestEffect(t *testing.T) {
	t.Parallel()
	plan := func(changes string) string {
		return `{"resource_changes":[` + changes + `],"timestamp":"` + time.Now().String() + `"}`
	}
	of := func(t *testing.T, text string, ignore ...string) run.Effect {
		t.Helper()
		e, err := run.EffectOf(strings.NewReader(text), []byte("key"), ignore)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	const update = `{"address":"a.b","mode":"managed","type":"a","change":{"actions":["update"],"before":{"n":1,"same":"s","tags":{"at":"1"}},"after":{"n":2,"same":"s","tags":{"at":"2"}},"after_unknown":{}}}`
	base := of(t, plan(update))
	for name, c := range map[string]struct {
		text   string
		equal  bool
		ignore []string
	}{
		"SamePlanAtAnotherTime":     {plan(update), true, nil},
		"UnchangedAttributeDiffers": {plan(strings.ReplaceAll(update, `"same":"s"`, `"same":"other"`)), true, nil},
		"ValueDiffers":              {plan(strings.Replace(update, `"n":2`, `"n":3`, 1)), false, nil},
		"BeforeDiffers":             {plan(strings.Replace(update, `"n":1`, `"n":0`, 1)), false, nil},
		"ActionDiffers":             {plan(strings.Replace(update, `["update"]`, `["delete","create"]`, 1)), false, nil},
		"AddressDiffers":            {plan(strings.Replace(update, `a.b`, `a.c`, 1)), false, nil},
		"UnknownInOne":              {plan(strings.Replace(update, `"after_unknown":{}`, `"after_unknown":{"n":true}`, 1)), false, nil},
		"OneMoreResource":           {plan(update + "," + strings.Replace(update, "a.b", "a.d", 1)), false, nil},
		"ReadAndNoOpDoNotCount":     {plan(update + `,{"address":"data.x.y","mode":"data","change":{"actions":["read"]}},{"address":"q.r","mode":"managed","change":{"actions":["no-op"]}}`), true, nil},
		"OutputChanges":             {`{"resource_changes":[` + update + `],"output_changes":{"o":{"actions":["create"],"after":1}}}`, false, nil},
		"DriftDoesNotCount":         {`{"resource_changes":[` + update + `],"resource_drift":[{"address":"z"}]}`, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := of(t, c.text, c.ignore...).Digest == base.Digest; got != c.equal {
				t.Errorf("equal = %t, want %t", got, c.equal)
			}
		})
	}
	t.Run("IgnoredAttributeDoesNotCount", func(t *testing.T) {
		t.Parallel()
		one := of(t, plan(update), "*.tags.at")
		two := of(t, plan(strings.Replace(update, `"at":"2"`, `"at":"3"`, 1)), "*.tags.at")
		if one.Digest != two.Digest || len(one.Ignored) != 1 {
			t.Errorf("digests %s and %s, ignored %v; want equal and the pattern named", one.Digest, two.Digest, one.Ignored)
		}
	})
	t.Run("OrderDoesNotCount", func(t *testing.T) {
		t.Parallel()
		other := strings.Replace(update, "a.b", "a.c", 1)
		if of(t, plan(update+","+other)).Digest != of(t, plan(other+","+update)).Digest {
			t.Error("the order of resource_changes changes the digest")
		}
	})
	t.Run("SensitiveValuesTellNothing", func(t *testing.T) {
		t.Parallel()
		secret := strings.Replace(update, `"after_unknown":{}`, `"after_unknown":{},"after_sensitive":{"n":true}`, 1)
		one := of(t, plan(secret))
		two, err := run.EffectOf(strings.NewReader(plan(secret)), []byte("another key"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if one.Digest == two.Digest {
			t.Error("the digest of a sensitive value does not depend on the key")
		}
		if changed := of(t, plan(strings.Replace(secret, `"n":2`, `"n":3`, 1))); changed.Digest == one.Digest {
			t.Error("another sensitive value has the same effect")
		}
	})
	t.Run("EmptyWhenNothingChanges", func(t *testing.T) {
		t.Parallel()
		if e := of(t, `{"resource_changes":[{"address":"q.r","mode":"managed","change":{"actions":["no-op"]}}]}`); !e.Empty {
			t.Error("Empty = false, want true")
		}
		if e := of(t, `{"resource_changes":[{"address":"q.r","previous_address":"q.s","mode":"managed","change":{"actions":["no-op"]}}]}`); e.Empty {
			t.Error("a move is an empty effect")
		}
	})
	t.Run("WhatIsLeftAfterAFailure", func(t *testing.T) {
		t.Parallel()
		both := of(t, plan(update+","+strings.Replace(update, "a.b", "a.c", 1)))
		if !base.Minus(both) {
			t.Error("the rest of a reviewed effect is not recognised")
		}
		if both.Minus(base) {
			t.Error("an effect with something new passes as the rest of a smaller one")
		}
	})
}

func FuzzEffectOf(f *testing.F) {
	f.Add(`{"resource_changes":[{"address":"a.b","mode":"managed","type":"a","change":{"actions":["update"],"before":{"n":1},"after":{"n":[1,{"x":null}]},"after_unknown":{"n":[false]},"after_sensitive":true}}]}`)
	f.Add(`{"output_changes":{"o":{"actions":[],"after":1e400}}}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, text string) {
		one, err := run.EffectOf(strings.NewReader(text), []byte("k"), []string{"*.x"})
		if err != nil {
			return
		}
		two, err := run.EffectOf(strings.NewReader(text), []byte("k"), []string{"*.x"})
		if err != nil || one.Digest != two.Digest {
			t.Errorf("two readings differ: %s, %s, %v", one.Digest, two.Digest, err)
		}
	})
}
