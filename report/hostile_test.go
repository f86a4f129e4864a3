package report_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

// hostile is what people have tried to get through reports, and what nobody has tried yet.
var hostile = []string{
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

// hostileView puts words of the corpus wherever a pull request, a tool or a policy has a say.
func hostileView(rnd *rand.Rand) report.View {
	w := func() string {
		s := hostile[rnd.IntN(len(hostile))]
		for rnd.IntN(3) == 0 {
			s += []string{"", " ", "\n"}[rnd.IntN(3)] + hostile[rnd.IntN(len(hostile))]
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
			HeldBy: w(), Position: rnd.IntN(3), RunURL: []string{"", "https://x.example/runs/1", w()}[rnd.IntN(3)], LogURL: w(), Failure: w(), Left: few(), After: []string{"", w()}[rnd.IntN(2)], PRs: few(),
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

var (
	allowedHTML = regexp.MustCompile(`^(?:</?(?:details|summary|b|code)>|<!-- planlatch:[a-z:0-9A-F]+ -->|&[a-z0-9#]+;|[^<&])*$`)
	reference   = regexp.MustCompile(`[#!~%$&^][\pL\pN_]|(?i:\bgh-\d)|[A-Z][A-Z0-9_]+-\d|://|(?i:www\.[a-z])|\[[a-z]`)
	mentioned   = regexp.MustCompile(`@[\pL\pN_]`)
)

// checkInert parses a comment as the hosts do and asserts that nothing in it but our own links, folds and marker does anything.
func checkInert(t *testing.T, body string, mayMention bool) {
	t.Helper()
	src := []byte(body)
	md := goldmark.New(goldmark.WithExtensions(extension.GFM, extension.Footnote))
	fail := func(what, got string) { t.Errorf("%s: %q in\n%s", what, got, body) }
	for _, r := range body {
		if r != '\n' && r != '\t' && r != '\u200b' && r != '\ufe0f' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			fail("an invisible character", fmt.Sprintf("%U", r))
		}
	}
	err := ast.Walk(md.Parser().Parse(text.NewReader(src)), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Link:
			if !strings.HasPrefix(string(n.Destination), "https://x.example/") && !strings.HasPrefix(string(n.Destination), "http") {
				fail("a link", string(n.Destination))
			}
			if label := string(n.Text(src)); label != "full output" && label != "log" && label != "run" { //nolint:staticcheck // all we need
				fail("a link with another's text", label)
			}
		case *ast.AutoLink:
			fail("an automatic link", string(n.URL(src)))
		case *ast.Image:
			fail("an image", string(n.Destination))
		case *ast.RawHTML:
			fail("HTML", string(n.Segments.Value(src)))
		case *ast.HTMLBlock:
			if html := string(n.Lines().Value(src)); !allowedHTML.MatchString(html) {
				fail("a block of HTML", html)
			}
		case *ast.Heading:
			if n.Level != 3 {
				fail("a heading", string(n.Lines().Value(src)))
			}
		case *ast.Text:
			if _, inCode := n.Parent().(*ast.CodeSpan); inCode {
				return ast.WalkContinue, nil
			}
			// As rendered: escapes and entities are gone, and hosts look for references now.
			got := unescape(string(n.Segment.Value(src)))
			if m := reference.FindString(strings.NewReplacer("[x]", "", "!CAUTION", "").Replace(got)); m != "" {
				fail("a reference", m+" of "+got)
			}
			if m := mentioned.FindString(got); m != "" && !mayMention {
				fail("a mention", m+" of "+got)
			}
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

var entities = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&", "&#124;", "|", "&#36;", "$")

func unescape(s string) string {
	s = regexp.MustCompile(`\\([!-/:-@\[-`+"`"+`{-~])`).ReplaceAllString(s, "$1")
	return entities.Replace(s)
}

func TestNothingHostileHasAnEffect(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(7, 11))
	for i := range 400 {
		v := hostileView(rnd)
		limit := []int{1500, 4000, 20000, 65000}[rnd.IntN(4)]
		v.Style = []report.Style{report.StyleFull, report.StyleSummary}[rnd.IntN(2)]
		bodies := map[string]string{"Summary": report.Summary(v, limit)}
		checkPage(t, bodies["Summary"], limit, report.SummaryMarker)
		for name, render := range map[string]func(report.View, int) string{"Result": report.Result, "MergeWaits": report.MergeWaits, "Interrupted": report.Interrupted} {
			bodies[name] = render(v, limit)
			marker := report.CallMarker(v.Head)
			if name == "Result" {
				marker = report.ApplyMarker(v.Head)
			}
			checkPage(t, bodies[name], limit, marker)
		}
		bodies["Explain"] = report.Explain(v, limit)
		for name, body := range bodies {
			checkInert(t, body, name != "Explain") // owners and the people to call are called
			if t.Failed() {
				t.Fatalf("%s of view %d", name, i)
			}
		}
		for _, s := range report.Statuses(v, 10) {
			if strings.ContainsFunc(s.Context+s.Description, unicode.IsControl) {
				t.Errorf("status %q %q has control characters", s.Context, s.Description)
			}
		}
	}
}

func TestOnlyTheConfiguredAreCalled(t *testing.T) {
	t.Parallel()
	v := view(database(t))
	v.Projects[0].Findings[0].Message = "@everyone look, @mallory too"
	v.Projects[0].Findings[0].Owners.Users = []string{"x @everyone", "carol"}
	v.Mention = "@bob </details> @everyone! javascript:@x"
	for name, body := range map[string]string{"Summary": report.Summary(v, githubLimit), "MergeWaits": report.MergeWaits(v, githubLimit)} {
		for _, m := range mentioned.FindAllString(regexp.MustCompile("`[^`]*`").ReplaceAllString(body, ""), -1) {
			if m != "@b" && m != "@a" && m != "@c" { // @bob, @acme/security, @carol
				t.Errorf("%s calls %s…:\n%s", name, m, body)
			}
		}
	}
}

func TestRepliesAreInert(t *testing.T) {
	t.Parallel()
	codes := []report.Code{report.NotReady, report.UnknownCommand, report.BadArguments, report.UnknownProject, report.RefusedFlag, report.Stale, report.NotSeen, report.Denied, report.Nothing,
		report.Busy, report.Held, report.Paused, report.Unsaved, report.ShadowMode, report.Untrusted, report.Away, report.Confirm, report.Broken, "another"}
	rnd := rand.New(rand.NewPCG(5, 6))
	w := func() string { return hostile[rnd.IntN(len(hostile))] }
	for range 300 {
		for _, c := range codes {
			body := report.Reply{Code: c, Command: w(), Projects: []string{w(), w()}, Gates: []run.Gate{{Text: w()}}, Given: w(), Suggestion: w(), Base: w(), SHA: w(), HeldBy: w(), Detail: w()}.Text()
			checkInert(t, body, false)
			for l := range strings.SplitSeq(body, "\n") {
				if strings.HasPrefix(strings.TrimSpace(l), "/") {
					t.Errorf("a line begins with a slash: %q", l)
				}
			}
			if t.Failed() {
				t.Fatalf("reply %s", c)
			}
		}
	}
}
