package runner

import (
	"strings"
	"testing"

	"github.com/planlatch/planlatch/run"
)

const marked = `{"format_version":"1.2","variables":{"password":{"value":"canary-of-the-plan"}},
	"configuration":{"root_module":{"variables":{"password":{"sensitive":true}}}},
	"resource_changes":[{"address":"a.b","change":{"actions":["create"],"before":null,"after":{"k":"the-key-of-the-cloud"},"after_sensitive":{}}}]}`

// queued adds a run of the desk's project.
func (d *desk) queued(cause string, blobs map[string]string) run.Run {
	d.t.Helper()
	rev := run.Revision{Repo: d.run.Repo, Pull: d.run.Pull, Branch: "main", Head: "head", Base: "base", Tree: "t", Kind: run.KindChange}
	r := d.run
	r.State, r.Cause, r.Blobs = run.Queued, cause, blobs
	res, err := d.Store.Advance(d.t.Context(), run.Scope{}, func(run.Snapshot) (run.Change, error) {
		return run.Change{Action: run.ActRevise, Revision: &rev, New: []run.Run{r}}, nil
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return res.Runs[0]
}

func (d *desk) log(of run.Run) string {
	d.t.Helper()
	text, err := d.wholeLog(d.t.Context(), of.ID, "plan")
	if err != nil {
		d.t.Fatal(err)
	}
	return text
}

// TestALogIsCleanedOnceItsPlanIsKnown, also of a value that two chunks share; and the next plan's log is clean from the start.
func TestALogIsCleanedOnceItsPlanIsKnown(t *testing.T) {
	t.Parallel()
	d := openDesk(t)
	ctx := t.Context()
	first := d.queued("first", map[string]string{})
	for i, chunk := range []string{"Error: no such user can", "ary-of-the-plan at\n", "the end canary-of-the-plan"} {
		if err := d.Store.AppendLog(ctx, first.ID, "plan", int64(i+1), []byte(chunk)); err != nil {
			t.Fatal(err)
		}
	}
	log := d.log(first)
	for range 2 { // a settle may be repeated
		clean, err := d.hideLate(ctx, phase{name: "plan", run: first}, log, []byte(marked))
		if err != nil {
			t.Fatal(err)
		}
		want := "Error: no such user (redacted) at\nthe end (redacted)"
		if log = d.log(first); clean != want || log != want {
			t.Errorf("the log is %q, returned as %q, want %q", log, clean, want)
		}
	}
	if err := d.Blobs.Put(ctx, "marked", []byte(marked)); err != nil {
		t.Fatal(err)
	}
	d.queued("second", map[string]string{blobPlanJSON: "marked"})
	third := d.queued("third", map[string]string{})
	secrets, err := d.withheld(ctx, phase{name: "plan", run: third})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"canary-of-the-plan", "the-key-of-the-cloud", "the-server's-token"} {
		if !strings.Contains(strings.Join(secrets, "\n"), want) {
			t.Errorf("the next plan's log may show %q; withheld are %q", want, secrets)
		}
	}
}

// TestWhatPolicySaysHoldsNoSecret: rules are given the raw plan, and may quote it.
func TestWhatPolicySaysHoldsNoSecret(t *testing.T) {
	t.Parallel()
	d := openDesk(t)
	d.Policy = d.policy(`package main
import rego.v1
deny contains {"msg": sprintf("bad password %s and key %s", [input.plan.variables.password.value, input.plan.resource_changes[0].change.after.k])} if true
`)
	of := d.queued("first", map[string]string{})
	repo, err := d.Store.Repo(t.Context(), of.Repo)
	if err != nil {
		t.Fatal(err)
	}
	g := ground{run: of, repo: repo}
	if err = d.entitle(t.Context(), &g, "plan"); err != nil {
		t.Fatal(err)
	}
	judge := func(planJSON string) run.Finding {
		t.Helper()
		j, err := d.judge(t.Context(), g, []byte(planJSON))
		if err != nil || len(j.Findings) != 1 {
			t.Fatalf("judge() = %+v, %v, want one finding", j.Findings, err)
		}
		return j.Findings[0]
	}
	f := judge(marked)
	if f.Message != "bad password (redacted) and key (redacted)" || !strings.HasPrefix(f.Value, "hmac:") {
		t.Errorf("the finding is %+v, want both values withheld and a hash in their place", f)
	}
	if again := judge(marked); again.Value != f.Value {
		t.Errorf("the hash of the same value is %s, then %s: an override would not bind", f.Value, again.Value)
	}
	if other := judge(strings.Replace(marked, "canary-of-the-plan", "another-secret-word", 1)); other.Value == f.Value {
		t.Error("the hash of another value is the same: an override would outlive the change")
	}
	if _, err := d.judge(t.Context(), g, []byte("{")); err == nil {
		t.Error("judge() of a plan that cannot be read = nil, want an error: nothing of it may leave")
	}
}

// TestEachRedactionIsNeeded: where one of them is left out, the secret is found.
func TestEachRedactionIsNeeded(t *testing.T) {
	t.Parallel()
	d := openDesk(t)
	ctx := t.Context()
	d.Policy = d.policy(`package main
import rego.v1
deny contains {"msg": sprintf("bad password %s", [input.plan.variables.password.value])} if true
`)
	of := d.queued("first", map[string]string{})
	p := phase{name: "plan", run: of}
	repo, err := d.Store.Repo(ctx, of.Repo)
	if err != nil {
		t.Fatal(err)
	}
	g := ground{run: of, repo: repo}
	if err = d.entitle(ctx, &g, "plan"); err != nil {
		t.Fatal(err)
	}
	known, err := d.withheld(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	const granted, planned = "the-key-of-the-cloud", "canary-of-the-plan"
	live := func(phase string, secrets []string) string {
		s := newSink(d.Store, of.ID, phase, 0, d.liveSet(secrets))
		for _, part := range []string{"using the-key-of", "-the-cloud\nand canary-of-", "the-plan\n"} {
			if _, err := s.Write([]byte(part)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.end(ctx); err != nil {
			t.Fatal(err)
		}
		text, err := d.wholeLog(ctx, of.ID, phase)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	bare, log := live("apply", nil), live("plan", known)
	late, err := d.hideLate(ctx, p, log, []byte(marked))
	if err != nil {
		t.Fatal(err)
	}
	in, err := d.policyInput(ctx, g)
	if err != nil {
		t.Fatal(err)
	}
	in.Plan = []byte(marked)
	raw := d.Policy.Judge(ctx, in)
	judged, err := d.judge(ctx, g, []byte(marked))
	if err != nil || len(raw.Findings) != 1 || len(judged.Findings) != 1 {
		t.Fatalf("findings = %+v, %+v, %v, want one each", raw.Findings, judged.Findings, err)
	}
	e := ending{failed: "it could not be started: " + granted}
	before := why(e, 1)
	d.veilEnding(ctx, p, &e)
	for what, c := range map[string]struct{ without, with, secret string }{
		"the log as it is written":        {bare, log, granted},
		"the log, once the plan is known": {log, late, planned},
		"what policy says":                {raw.Findings[0].Message, judged.Findings[0].Message, planned},
		"the reason of a run":             {before, why(e, 1), granted},
		"why a plan is refused":           {"read plan: " + planned, veilRefusal(g.hidden, []byte(marked), "read plan: "+planned), planned},
	} {
		if !strings.Contains(c.without, c.secret) {
			t.Errorf("%s, left as it is, is %q: it does not show that anything must be taken out", what, c.without)
		}
		if strings.Contains(c.with, c.secret) || !strings.Contains(c.with, "(redacted)") {
			t.Errorf("%s is %q", what, c.with)
		}
	}
}
