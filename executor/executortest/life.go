package executortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planlatch/planlatch/executor"
)

func logOffset(t *testing.T, e executor.Executor) {
	// More than any pipe holds, and a program that would see it if its stdout did not block.
	s := Spec(t, "r1-plan-1", "yes 0123456789abcde | head -c 3000000; echo end")
	r, log := Finish(t, e, s)
	if want := 3000004; !r.OK(1) || len(log) != want || !strings.HasSuffix(log, "end\n") {
		t.Fatalf("log has %d bytes, want %d; result %+v", len(log), want, r)
	}
	var tail bytes.Buffer
	if _, err := e.Attach(t.Context(), s.Name, &tail, 2_999_990); err != nil || tail.String() != log[2_999_990:] {
		t.Errorf("Attach() from an offset = %q, %v, want %q", tail.String(), err, log[2_999_990:])
	}
}

func logLive(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-plan-1", "echo first; while ! [ -e stop ]; do read -r line <fifo && echo $line && touch stop; done")
	s.Steps = slices.Insert(s.Steps, 0, executor.Step{Label: "fifo", Argv: []string{"/usr/bin/mkfifo", "fifo"}})
	Start(t, e, s)
	WaitLog(t, e, s.Name, "first\n")
	if names, err := e.List(t.Context()); err != nil || !slices.Equal(names, []executor.Name{s.Name}) {
		t.Errorf("List() while it runs = %v, %v", names, err)
	}
	if err := e.Remove(t.Context(), s.Name); err == nil {
		t.Error("Remove() of a running execution = nil, want a refusal")
	}
}

func logReopened(t *testing.T, e executor.Executor) {
	_, log := Finish(t, e, Spec(t, "r1-plan-1", "echo one; echo two >/dev/stderr; echo three >/dev/stdout; echo four"))
	if want := "one\ntwo\nthree\nfour\n"; log != want {
		t.Errorf("log = %q, want %q", log, want)
	}
}

func names(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-apply", "echo applied")
	Finish(t, e, s)
	again := func(when string) {
		t.Helper()
		if err := e.Start(t.Context(), s, executor.Secrets{}); !errors.Is(err, executor.ErrExists) {
			t.Errorf("Start() %s = %v, want ErrExists", when, err)
		}
	}
	again("after the end")
	if err := e.Remove(t.Context(), s.Name); err != nil {
		t.Fatalf("Remove() = %v", err)
	}
	again("after Remove")
	if _, err := e.Attach(t.Context(), s.Name, io.Discard, 0); !errors.Is(err, executor.ErrAbsent) {
		t.Errorf("Attach() after Remove = %v, want ErrAbsent", err)
	}
	if left, err := e.List(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("List() after Remove = %v, %v", left, err)
	}
	for _, bad := range []executor.Name{"", "..", "a/b", "../r1-apply", "a.b", "-a", "a b", "ä"} {
		s.Name = bad
		if err := e.Start(t.Context(), s, executor.Secrets{}); err == nil || errors.Is(err, executor.ErrExists) {
			t.Errorf("Start(%q) = %v, want a refusal of the name", bad, err)
		}
	}
}

func refusedStart(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-plan-1", "echo ran")
	for what, spoil := range map[string]func(*executor.Spec){
		"a work directory that is missing": func(s *executor.Spec) { s.Source.Work = "nowhere" },
		"a work directory outside":         func(s *executor.Spec) { s.Source.Work = "../x" },
		"an input that is missing":         func(s *executor.Spec) { s.Inputs = []executor.File{{Name: "x", Path: "/nonexistent"}} },
		"an input outside":                 func(s *executor.Spec) { s.Inputs = []executor.File{{Name: "../x", Path: "/etc/passwd"}} },
		"a bind that is missing":           func(s *executor.Spec) { s.Binds = []executor.Bind{{Path: "/nonexistent"}} },
		"a relative program":               func(s *executor.Spec) { s.Steps[0].Argv = []string{"bin/sh"} },
		"an environment without a name":    func(s *executor.Spec) { s.Env = []string{"=x"} },
		"an allowed target that is none":   func(s *executor.Spec) { s.Network.Allow = []string{"local host:80"} },
		"a wildcard in network none":       func(s *executor.Spec) { s.Network.Allow = []string{"*.example.com:443"} },
		"a denied network that is none":    func(s *executor.Spec) { s.Network.Deny = []string{"inside"} },
		"an unknown network":               func(s *executor.Spec) { s.Network.Mode = "some" },
	} {
		spoiled := s
		spoiled.Steps = slices.Clone(s.Steps)
		spoil(&spoiled)
		if err := e.Start(t.Context(), spoiled, executor.Secrets{}); err == nil || errors.Is(err, executor.ErrExists) {
			t.Errorf("Start() with %s = %v, want a refusal", what, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Start(ctx, s, executor.Secrets{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Start() with an ended context = %v, want its error", err)
	}
	if _, err := e.Attach(t.Context(), s.Name, io.Discard, 0); !errors.Is(err, executor.ErrAbsent) {
		t.Errorf("Attach() after refused starts = %v, want ErrAbsent", err)
	}
	if r, log := Finish(t, e, s); !r.OK(1) || log != "ran\n" {
		t.Errorf("Start() after refused ones: result %+v, log %q", r, log)
	}
}

func racingStarts(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-apply", "echo applied")
	const starters = 6
	errs := make([]error, starters)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() { errs[i] = e.Start(t.Context(), s, executor.Secrets{}) })
	}
	group.Wait()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, executor.ErrExists):
			t.Errorf("Start() = %v, want nil or ErrExists", err)
		}
	}
	if won != 1 {
		t.Fatalf("%d of %d starts won, want 1", won, starters)
	}
	if r, log := Follow(t, e, s.Name); !r.OK(1) || log != "applied\n" {
		t.Errorf("result %+v, log %q", r, log)
	}
}

func cancel(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-apply", `n=0; trap 'n=$((n+1)); echo interrupt $n; sleep 0.2; echo saved; exit 1' INT; echo ready; while :; do sleep 0.05; done`, "echo next")
	Start(t, e, s)
	WaitLog(t, e, s.Name, "ready\n")
	for range 3 { // the second interrupt makes tools stop without saving state
		if err := e.Cancel(t.Context(), s.Name, false); err != nil {
			t.Fatalf("Cancel() = %v", err)
		}
	}
	r, log := Follow(t, e, s.Name)
	checkEnd(t, r, executor.EndCanceled)
	if log != "ready\ninterrupt 1\nsaved\n" || len(r.Steps) != 1 || r.Steps[0].Exit != 1 {
		t.Errorf("log = %q, steps %+v", log, r.Steps)
	}
}

func cancelAtOnce(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-plan-1", "sleep 60", "echo next")
	// No shell: one that is interrupted before it has forked waits for its child all the same, and the child never heard of it.
	s.Steps[0].Argv = []string{"/bin/sleep", "60"}
	Start(t, e, s)
	if err := e.Cancel(t.Context(), s.Name, false); err != nil {
		t.Fatalf("Cancel() = %v", err)
	}
	r, log := Follow(t, e, s.Name)
	checkEnd(t, r, executor.EndCanceled)
	if log != "" {
		t.Errorf("log = %q, want nothing", log)
	}
}

func kill(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-apply", `trap '' INT TERM; (setsid sh -c 'while :; do sleep 0.05; echo alive >>log; done' &) ; echo ready; while :; do sleep 0.05; done`)
	s.Outputs = []string{"file"}
	Start(t, e, s)
	WaitLog(t, e, s.Name, "ready\n")
	if err := e.Cancel(t.Context(), s.Name, false); err != nil {
		t.Fatalf("Cancel() = %v", err)
	}
	if err := e.Cancel(t.Context(), s.Name, true); err != nil {
		t.Fatalf("Cancel(kill) = %v", err)
	}
	r, _ := Follow(t, e, s.Name)
	checkEnd(t, r, executor.EndKilled)
	if len(r.Steps) != 1 || r.Steps[0].Exit != -1 || len(r.Outputs) != 1 {
		t.Errorf("steps %+v, outputs %+v, want a killed step and the output that it left", r.Steps, r.Outputs)
	}
}

func cancelEnded(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-plan-1", "true")
	Finish(t, e, s)
	for _, hard := range []bool{false, true} {
		if err := e.Cancel(t.Context(), s.Name, hard); err != nil {
			t.Errorf("Cancel(kill %v) of an ended execution = %v", hard, err)
		}
	}
}

func wall(t *testing.T, e executor.Executor) {
	r, log := interrupted(t, e, "r1", Patience, `trap 'echo stopping; exit 1' INT; echo ready; while :; do sleep 0.05; done`)
	checkEnd(t, r, executor.EndTimeout)
	if log != "ready\nstopping\n" {
		t.Errorf("log = %q, want the tool's own end", log)
	}
	r, _ = interrupted(t, e, "r2", 100*time.Millisecond, `trap '' INT; echo ready; while :; do sleep 0.05; done`)
	checkEnd(t, r, executor.EndKilled)
	if !strings.Contains(r.Reason, "time limit") {
		t.Errorf("Reason = %q, want the limit named", r.Reason)
	}
}

// interrupted runs a script that says ready into its time limit. One that comes before the script is ready, on a starved machine, shows nothing:
// then the limit is longer.
func interrupted(t *testing.T, e executor.Executor, run string, grace time.Duration, script string) (executor.Result, string) {
	t.Helper()
	for limit := 200 * time.Millisecond; ; limit *= 5 {
		s := Spec(t, executor.Name(fmt.Sprintf("%s-plan-%d", run, limit.Milliseconds())), script)
		s.Limits.Wall, s.Grace = limit, grace
		r, log := Finish(t, e, s)
		if strings.HasPrefix(log, "ready\n") || limit > Patience {
			return r, log
		}
	}
}

func lease(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-plan-1", "while :; do sleep 0.05; done")
	s.Unattended = 300 * time.Millisecond
	r, _ := Finish(t, e, s)
	checkEnd(t, r, executor.EndLost)
}

func renewal(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-plan-1", "sleep 6; echo done")
	s.Unattended = 5 * time.Second // longer than a starved machine lets the renewals below wait
	Start(t, e, s)
	stop := make(chan struct{})
	var renewer sync.WaitGroup
	renewer.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				if err := e.Renew(t.Context(), s.Name); err != nil {
					t.Errorf("Renew() = %v", err)
					return
				}
			}
		}
	})
	r, log := Follow(t, e, s.Name)
	close(stop)
	renewer.Wait()
	if !r.OK(1) || log != "done\n" {
		t.Errorf("result %+v, log %q", r, log)
	}
}

func attachContext(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-plan-1", "echo ready; while ! [ -e go ]; do sleep 0.02; done; echo on")
	Start(t, e, s)
	WaitLog(t, e, s.Name, "ready\n") // ends by its context
	if err := e.Cancel(t.Context(), s.Name, false); err != nil {
		t.Fatal(err)
	}
	if r, _ := Follow(t, e, s.Name); r.Ended != executor.EndCanceled {
		t.Errorf("Ended = %q, want it to have gone on until the cancel", r.Ended)
	}
}

func absent(t *testing.T, e executor.Executor) {
	ctx := t.Context()
	_, attach := e.Attach(ctx, "r9-plan-1", io.Discard, 0)
	_, open := e.Open(ctx, "r9-plan-1", "tfplan")
	for what, err := range map[string]error{
		"Attach": attach, "Open": open, "Cancel": e.Cancel(ctx, "r9-plan-1", false), "Renew": e.Renew(ctx, "r9-plan-1"),
		"Cancel of no name": e.Cancel(ctx, "../x", true),
	} {
		if !errors.Is(err, executor.ErrAbsent) {
			t.Errorf("%s() = %v, want ErrAbsent", what, err)
		}
	}
	if err := e.Remove(ctx, "r9-plan-1"); err != nil {
		t.Errorf("Remove() of an absent execution = %v", err)
	}
}

func list(t *testing.T, e executor.Executor) {
	for _, n := range []executor.Name{"r1-plan-1", "r2-plan-1", "r3-apply"} {
		Finish(t, e, Spec(t, n, "true"))
	}
	if err := e.Remove(t.Context(), "r2-plan-1"); err != nil {
		t.Fatal(err)
	}
	got, err := e.List(t.Context())
	slices.Sort(got)
	if want := []executor.Name{"r1-plan-1", "r3-apply"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("List() = %v, %v, want %v", got, err, want)
	}
}
