package runner

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/redact"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
)

func TestCredentialsOfModulesAreLentToInitAlone(t *testing.T) {
	t.Parallel()
	r := New(Parts{}, Options{Binds: func(selector.Target, string) []executor.Bind { return nil }})
	place := executor.Lend{Name: "acme", Kind: executor.LendGit, URL: "https://git.example.com/acme/", Header: "Authorization"}
	for name, steps := range map[string]run.Steps{
		"Plain":  {},
		"Around": {BeforeInit: [][]string{{"./a"}}, BeforePlan: [][]string{{"./b"}}, AfterPlan: [][]string{{"./c"}}, BeforeApply: [][]string{{"./d"}}},
		"Wrapped": {
			Init: [][]string{{"./prepare"}, {"terragrunt", "init"}}, Plan: [][]string{{"terragrunt", "plan"}}, Apply: [][]string{{"terragrunt", "apply"}},
		},
	} {
		g := ground{run: run.Run{Execution: "one-plan-1", Dir: ".", Work: "default", Settings: run.Settings{Steps: steps}}, grant: Grant{Lends: []executor.Lend{place}}}
		for phase, spec := range map[string]executor.Spec{"plan": r.planSpec(g), "apply": r.applySpec(g, nil)} {
			var lent []string
			for _, s := range spec.Steps {
				if s.Lent {
					lent = append(lent, s.Label)
				}
			}
			if fmt.Sprint(lent) != "[init]" || len(spec.Lends) != 1 {
				t.Errorf("%s, %s: %v get %v, want init alone", name, phase, lent, spec.Lends)
			}
		}
	}
}

func TestLentCredentialsAreWithheld(t *testing.T) {
	t.Parallel()
	basic := base64.StdEncoding.EncodeToString([]byte("planlatch:geheim-5d81"))
	g := Grant{Secrets: executor.Secrets{Lent: []string{"Basic " + basic, "Bearer bearer-77ac", "private-90fe"}}}
	said := redact.String(g.hidden())(strings.Join([]string{"geheim-5d81", basic, "bearer-77ac", "private-90fe", "planlatch"}, " "))
	if want := strings.Repeat(redact.Mark+" ", 4) + "planlatch"; said != want {
		t.Errorf("a log says %q, want %q", said, want)
	}
}
