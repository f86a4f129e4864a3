package report_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/report/reporttest"
	"github.com/planlatch/planlatch/run"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

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
		v := reporttest.View(rnd)
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
	w := func() string { return reporttest.Hostile[rnd.IntN(len(reporttest.Hostile))] }
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
