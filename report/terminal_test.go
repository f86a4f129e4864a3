package report_test

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/report/reporttest"
	"github.com/planlatch/planlatch/run"
)

func TestTerminal(t *testing.T) {
	t.Parallel()
	all := stories(t)
	for _, name := range []string{
		"single", "three", "everything", "plan_failed", "stopped", "lock_held", "unchanged", "none", "bad_config", "skipped", "conflict", "no_backend", "manual",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := all[name]
			for i := range v.Projects { // as they are before there is a pull request
				v.Projects[i].RunURL, v.Projects[i].LogURL, v.Projects[i].Gates = "", "", nil
			}
			got := report.Terminal(v, false)
			golden(t, "terminal_"+name+".txt", got)
			if painted := sgr.ReplaceAllString(report.Terminal(v, true), ""); painted != got {
				t.Errorf("Terminal() with colours says something else:\n%s", painted)
			}
		})
	}
	golden(t, "terminal_colors.txt", strings.ReplaceAll(report.Terminal(all["three"], true), "\x1b", "^"))
}

func TestExplainTerminal(t *testing.T) {
	t.Parallel()
	v := stories(t)["skipped"]
	v.Asides = []report.Aside{{Dir: "dns", Why: "none of the 3 changed files is its own, or of a module or file that it uses"}}
	golden(t, "terminal_explain.txt", report.ExplainTerminal(v, false))
}

var sgr = regexp.MustCompile("\x1b\\[[0-9]*m")

// Whatever a repository says, a terminal shows it and does nothing else.
func TestNothingHostileReachesTheTerminal(t *testing.T) {
	t.Parallel()
	for seed := range uint64(400) {
		v := reporttest.View(rand.New(rand.NewPCG(seed, 1)))
		v.Asides = []report.Aside{{Dir: reporttest.Hostile[seed%uint64(len(reporttest.Hostile))], Why: reporttest.Hostile[(seed+7)%uint64(len(reporttest.Hostile))]}}
		for _, painted := range []string{report.Terminal(v, true), report.ExplainTerminal(v, true)} {
			for _, r := range sgr.ReplaceAllString(painted, "") {
				if r != '\n' && r != '\t' && r != '\ufe0f' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp) {
					t.Fatalf("seed %d: %U in %.500q", seed, r, painted)
				}
			}
		}
		if plain := report.Terminal(v, false); strings.Contains(plain, "\x1b") {
			t.Fatalf("seed %d: an escape without colours in %.500q", seed, plain)
		}
	}
}

// Escapes are for the hosts: people at a terminal read what was written.
func TestTerminalShowsWhatWasWritten(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"a_b*c", "x | y", "@team #12 ~x $y", "<b>&amp;</b>", "`tick` and ``two``", "https://example.com/x", "1. one", "- dash", "[a](b)", `back\slash`, "ABC-12", "# head", "> quote",
	} {
		p := planned(t, 1, "network", "network")
		p.Findings = []run.Finding{{Rule: "rule", Level: run.Hard, Message: text, Resource: text}}
		got := report.Terminal(view(p), false)
		if want := "on " + text + " in network: "; !strings.Contains(got, want) {
			t.Errorf("Terminal() of a resource %q = %.500q, want %q in it", text, got, want)
		}
		if want := "in network: " + strings.ReplaceAll(text, "`tick`", "tick"); !strings.Contains(got, want) && !strings.Contains(text, "``") {
			t.Errorf("Terminal() of a message %q = %.500q, want %q in it", text, got, want)
		}
	}
}
