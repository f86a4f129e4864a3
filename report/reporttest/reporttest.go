// Package reporttest has the hostile words that every way out is tested with. Its values are read-only.
package reporttest

import (
	"math/rand/v2"
	"strings"
	"time"

	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
)

// Hostile is what people have tried to get through reports, and what nobody has tried yet.
var Hostile = []string{
	"```", "````\n", "```diff\n+ x", "~~~~", "`", "``a`", "` `", "a`b``c```d````e",
	"</details>", "</summary></details>", "<details open><summary>x", "<!--", "-->", "<!-- planlatch:summary -->", "<!-- planlatch:apply:abc -->", "<script>alert(1)</script>",
	"<img src=http://evil.example/x.png>", "![beacon](http://evil.example/x.png)", "[click](http://evil.example)", "<http://evil.example>", "http://evil.example/x",
	"https://github.com/acme/infra/pull/7", "www.evil.example", "mailto:a@evil.example", "a@evil.example", "javascript:alert(1)", "ftp://evil.example", "[ref]: http://evil.example",
	"@everyone", "@acme/security", "\\@acme", "x @alice y", "#12", "acme/infra#12", "GH-12", "JIRA-123", "!45", "~bug", "%milestone", "$12", "&7", "^alert", "[vulnerability:1]",
	"/approve", "\n/approve\n", "\r\n/merge", " /close", "```\n/approve\n", "a\n\n/label ~x",
	"| a | b |", "|", "\\|", "a\n|---|", "---", "***", "===", "# head", "\n# head", "> quote", "- [x] approved by bob", "\n- [x] approved", "1. x", "    indented",
	"**bold**", "__init__", "*a*", "_b_", "~~c~~", "$x$", "$`x`$", "$$\nx\n$$", ":tada:", "&lt;b&gt;", "&#64;everyone", "&commat;everyone", "\\", "\\\\", "a\\",
	"\x1b[31mred\x1b[0m", "\x1b]8;;http://evil.example\x07x\x1b]8;;\x07", "\x1b]0;title\x07", "\x00", "\x07", "\x7f", "\u202eevil\u202c", "\u2066x\u2069", "\u200b", "\ufeff", "\u2028/approve",
	"\u0085/approve", "\u00ad", "\U000e0041", "\xff\xfe", "\xc0\xaf", "ta\tb", "\r", "👨‍👩‍👧", strings.Repeat("a", 3000), strings.Repeat("`", 200), strings.Repeat("<", 300), strings.Repeat("[", 300),
	"", " ", "\n", "\n\n\n", "<a\nhref=x>", "<b", "</", "<?php", "<![CDATA[", "{{< x >}}", "`@everyone", "@everyone`", "`` ` ``", "[x][y]", "![x][y]", "[^1]", "[^1]: x", "%{x} ${y}",
}

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// View puts words of the corpus wherever a pull request, a tool or a policy has a say.
func View(rnd *rand.Rand) report.View {
	w := func() string {
		s := Hostile[rnd.IntN(len(Hostile))]
		for rnd.IntN(3) == 0 {
			s += []string{"", " ", "\n"}[rnd.IntN(3)] + Hostile[rnd.IntN(len(Hostile))]
		}
		return s
	}
	few := func() (out []string) {
		for range rnd.IntN(3) {
			out = append(out, w())
		}
		return out
	}
	attr := func() report.Attr {
		a := report.Attr{Path: w(), Before: w(), After: w(), Unknown: rnd.IntN(5) == 0, Forces: rnd.IntN(3) == 0}
		if rnd.IntN(4) == 0 {
			a.Lines = []string{"+ " + w(), "- " + w(), "  " + w()}
		}
		return a
	}
	kinds := []report.ChangeKind{report.Create, report.Update, report.Replace, report.Delete, report.Import, report.Move, report.Forget}
	states := []run.State{run.Queued, run.Planning, run.Planned, run.Planned, run.Planned, run.Unchanged, run.Confirmed, run.Applying, run.Applied, run.Failed, run.Interrupted, run.Canceled, run.Superseded}
	levels := []run.Level{run.Advisory, run.Soft, run.Hard, run.Level(w())}
	modes := []run.ApplyMode{run.ApplyAfterMerge, run.ApplyBeforeMerge, run.ApplyManual, run.ApplyOff, run.ApplyMode(w())}
	v := report.View{
		Pull: run.Pull{Number: 7, Title: w(), Author: w(), HeadBranch: w(), BaseBranch: w()}, Kind: []run.Kind{run.KindChange, run.KindMerge}[rnd.IntN(2)],
		Head: w(), Base: w(), BaseBranch: w(), Known: rnd.IntN(20), Conflict: rnd.IntN(10) == 0, Notes: few(), Pause: &run.Pause{Match: w(), Actor: w(), Reason: w(), At: noon}, Mention: "@ops " + w(),
	}
	for range rnd.IntN(3) {
		v.Problems = append(v.Problems, run.Problem{File: w(), Line: rnd.IntN(9), Column: rnd.IntN(9), Key: w(), Message: w(), Fix: w()})
		v.Selection = append(v.Selection, run.Selected{Dir: w(), Label: w(), Workspace: w(), Reasons: few(), Deleted: rnd.IntN(2) == 0, Skipped: w()})
	}
	for n := range rnd.IntN(7) {
		p := report.Project{
			Run: run.Run{
				ID: run.ID(w()), Project: run.ProjectID(n), Label: w(), Dir: w(), Kind: v.Kind, State: states[rnd.IntN(len(states))], Reason: w(), Tool: w(), Partial: rnd.IntN(4) == 0,
				Settings: run.Settings{Apply: modes[rnd.IntN(len(modes))], Flags: few(), EffectIgnore: few()}, EffectDigest: "e", PolicyDigest: "p", NoBackend: rnd.IntN(4) == 0,
				Unsaved: rnd.IntN(9) == 0, Started: noon, Planned: noon.Add(1), Counts: run.Counts{Add: rnd.IntN(3), Replace: rnd.IntN(2), Destroy: rnd.IntN(2)},
			},
			HeldBy: w(), Waits: []string{"", w()}[rnd.IntN(2)], Position: rnd.IntN(3), RunURL: []string{"", "https://x.example/runs/1", w()}[rnd.IntN(3)], LogURL: w(), Failure: w(), Left: few(), Beside: few(), After: []string{"", w()}[rnd.IntN(2)], PRs: few(),
			Gates: []run.Gate{{Name: run.GateApproved, Text: w()}, {Name: run.GatePolicy, Holds: true, Text: w()}},
		}
		if rnd.IntN(3) == 0 {
			p.Failure = "Error: " + w() + "\n" + w() + "\nError: Error acquiring the state lock\nError message: " + w() + "\nLock Info:\n  ID: " + w() + "\n  Who: " + w() + "\n"
		}
		if rnd.IntN(3) == 0 {
			p.Run.ApplyStarted = noon
		}
		for range rnd.IntN(4) {
			p.Plan.Changes = append(p.Plan.Changes, report.Change{Address: w(), Type: "aws_db_instance", Kind: kinds[rnd.IntN(len(kinds))], Previous: w(), Import: w(), Reason: w(), File: w(),
				Line: rnd.IntN(3), Attrs: []report.Attr{attr(), attr()}})
			f := run.Finding{Set: w(), Rule: w(), Level: levels[rnd.IntN(len(levels))], Resource: w(), Message: w(), Fix: w(), File: w(), Line: rnd.IntN(2), Owners: run.Owners{Teams: few(), Users: few()}}
			p.Findings = append(p.Findings, f)
			p.Overrides = append(p.Overrides, run.Override{Project: p.Run.Project, Set: f.Set, Rule: f.Rule, Resource: f.Resource, Effect: "e", Policy: "p", Actor: w(), Reason: w()})
		}
		p.Plan.Counts, p.Plan.Warnings, p.Plan.Drift = p.Run.Counts, few(), few()
		p.Plan.Outputs = []report.Output{{Name: w(), Kind: report.Update, Attrs: []report.Attr{attr()}}}
		if rnd.IntN(3) == 0 {
			p.Reviewed = &report.Reviewed{Plan: report.Plan{Changes: []report.Change{{Address: w(), Kind: report.Delete, Attrs: []report.Attr{attr()}}}}}
		}
		v.Projects = append(v.Projects, p)
	}
	return v
}
