package local_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/executortest"
	"github.com/planlatch/planlatch/executor/local"
)

// What a plan ran may still be at work while the plan is shown: on the files that it sees, and on stdout of the processes of its execution.
func TestWhatIsKeptOfAPlanIsWhatWasShownOfIt(t *testing.T) {
	t.Parallel()
	for name, o := range walled() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t, o)
			s := executortest.Spec(t, "r1-plan-1", `
				here=$(pwd -P)
				(while :; do
					(echo forged >new; mv new tfplan; echo forged >plan.json; echo forged >"$1"; echo forged >"${1%/*}/plan.json"; rm -f "$1") 2>/dev/null
					for p in /proc/[0-9]*; do
						[ "$(readlink "$p/cwd")" != "$here" ] || (echo forged >"$p/fd/1") 2>/dev/null
					done
				done) </dev/null >/dev/null 2>&1 3>&- &
				until [ -s tfplan ]; do sleep 0.01; done
				echo honest >honest; mv honest tfplan`, `for i in 1 2 3 4 5 6 7 8 9 10; do cat "$1"; sleep 0.05; done`)
			sealed := executor.Sealed("tfplan")
			s.Steps[0].Argv = append([]string{"/usr/bin/setsid", "-w"}, append(s.Steps[0].Argv, "sh", sealed)...)
			s.Steps[1].Argv = append(s.Steps[1].Argv, "sh", sealed)
			s.Steps[1].Seals, s.Steps[1].Stdout, s.Outputs = "tfplan", "plan.json", []string{"tfplan", "plan.json"}
			r, log := executortest.Finish(t, e, s)
			if !r.OK(2) || len(r.Outputs) != 2 {
				t.Fatalf("result %+v, log %q", r, log)
			}
			// What was sealed is a race. What is kept is what was shown, the whole time.
			plan, shown := output(t, e, s.Name, "tfplan"), output(t, e, s.Name, "plan.json")
			if plan == "" || shown != strings.Repeat(plan, 10) {
				t.Errorf("kept %q and showed %q", plan, shown)
			}
		})
	}
}

// What init of an apply runs may try to put another plan in the place of the reviewed one.
func TestAReviewedPlanCannotBeExchangedWhileItIsApplied(t *testing.T) {
	t.Parallel()
	for name, o := range walled() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t, o)
			plan := filepath.Join(t.TempDir(), "plan")
			executortest.Write(t, plan, "reviewed")
			s := executortest.Spec(t, "r1-apply", `(echo forged >"$0"; rm -f "$0"; echo forged >forged; mv -f forged "$0"; chmod 777 "${0%/*}"; mv "${0%/*}" gone) 2>/dev/null; true`,
				`cat "$0"`)
			s.Inputs = []executor.File{{Name: "tfplan", Path: plan, SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte("reviewed"))), Sealed: true}}
			for i := range s.Steps {
				s.Steps[i].Argv = append(s.Steps[i].Argv, executor.Sealed("tfplan"))
			}
			if r, log := executortest.Finish(t, e, s); !r.OK(2) || log != "reviewed" {
				t.Errorf("result %+v, log %q", r, log)
			}
		})
	}
}

func TestAnOutputWhoseStepNeverCameIsNotKept(t *testing.T) {
	t.Parallel()
	e := open(t, local.Options{})
	s := executortest.Spec(t, "r1-plan-1", "echo forged >plan.json; echo forged >tfplan; exit 1", "cat")
	s.Steps[1].Seals, s.Steps[1].Stdout, s.Outputs = "tfplan", "plan.json", []string{"tfplan", "plan.json"}
	if r, _ := executortest.Finish(t, e, s); len(r.Outputs) > 0 {
		t.Errorf("Outputs = %+v, want none", r.Outputs)
	}
}

func output(t *testing.T, e executor.Executor, n executor.Name, name string) string {
	t.Helper()
	f, err := e.Open(t.Context(), n, name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // read only
	text, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What a step left running may write to its stdout for ever; half of an output is none.
func TestAnOutputThatGoesOnBehindItsStepIsNotKept(t *testing.T) {
	t.Parallel()
	e := open(t, local.Options{})
	s := executortest.Spec(t, "r1-plan-1", `setsid sh -c 'while :; do head -c 65536 /dev/zero; done' & sleep 0.2`)
	s.Steps[0].Stdout, s.Outputs = "plan.json", []string{"plan.json"}
	if r, log := executortest.Finish(t, e, s); r.OK(1) || !strings.Contains(log, "plan.json is not whole") {
		t.Errorf("result %+v, log %q, want a step that failed and why", r, log)
	}
}
