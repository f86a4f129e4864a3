// Package executortest is the conformance suite of the executor port: what every executor must do, whatever runs behind it.
//
// It leaves to each adapter the tests of its own walls, limits and crashes.
package executortest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/planlatch/planlatch/executor"
)

// Patience is how long the suite waits for what must happen at a process border.
const Patience = 20 * time.Second

// Run checks the executor that setup opens. Its executions have /bin/sh and the common tools of a system. setup may be called with the same
// t once; the executor of one test is not shared with another.
func Run(t *testing.T, setup func(t *testing.T) executor.Executor) {
	t.Helper()
	for _, c := range []struct {
		name string
		run  func(*testing.T, executor.Executor)
	}{
		{"Steps/RunInOrderAndTheFirstBadExitEnds", stepsRunInOrder},
		{"Steps/ExitCodesOfTheirOwnAreNoFailure", exitCodes},
		{"Steps/StdoutGoesToAFileWhenAsked", stdoutToFile},
		{"Steps/MissingProgramEndsWithItsReason", missingProgram},
		{"Steps/SignalIsExitMinusOne", signalExit},
		{"Source/WorkIsCurrentAndWritable", sourceLayout},
		{"Source/OriginalIsNeverChanged", sourceUntouched},
		{"Inputs/AreLaidAndChecked", inputs},
		{"Outputs/AreKeptUntilRemoved", outputs},
		{"Outputs/SymbolicLinksLeadNowhere", outputLink},
		{"Environment/IsTheSpecAndTheSecretsAlone", environment},
		{"Log/IsWholeFromAnyOffset", logOffset},
		{"Log/IsSeenWhileItGrows", logLive},
		{"Log/KeepsWhatWasWrittenWhenStderrIsOpenedAgain", logReopened},
		{"Names/AreUsedOnce", names},
		{"Names/AreFreeAfterARefusedStart", refusedStart},
		{"Names/OneOfManyStartsWins", racingStarts},
		{"Cancel/InterruptsTheRunningStepOnce", cancel},
		{"Cancel/KillEndsEverything", kill},
		{"Cancel/AfterTheEndIsNoError", cancelEnded},
		{"Limits/WallInterruptsThenKills", wall},
		{"Lease/RunsOutWithoutRenewal", lease},
		{"Lease/RenewalKeepsItAlive", renewal},
		{"Attach/ContextEndsTheFollowerOnly", attachContext},
		{"Absent/EveryMethodSaysSo", absent},
		{"List/NamesWhatWasStartedAndNotRemoved", list},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, setup(t))
		})
	}
}

// Spec is a Spec of shell commands in a fresh source with the file in/work/file. Tests change what they need.
func Spec(t testing.TB, name executor.Name, scripts ...string) executor.Spec {
	t.Helper()
	dir := t.TempDir()
	Write(t, filepath.Join(dir, "in/work/file"), "content\n")
	Write(t, filepath.Join(dir, "in/beside/file"), "beside\n")
	s := executor.Spec{
		Name:    name,
		Source:  executor.Source{Dir: dir, Work: "in/work"},
		Network: executor.Network{Mode: executor.NetworkNone},
		Env:     []string{"PATH=/usr/bin:/bin", "HOME=/tmp"},
		Grace:   Patience,
	}
	for _, script := range scripts {
		s.Steps = append(s.Steps, executor.Step{Label: "sh", Argv: []string{"/bin/sh", "-c", script}})
	}
	return s
}

// Write makes a file and the directories above it.
func Write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Start starts s and has its rest killed when the test ends.
func Start(t testing.TB, e executor.Executor, s executor.Spec, secrets ...string) {
	t.Helper()
	if err := e.Start(t.Context(), s, secrets); err != nil {
		t.Fatalf("Start(%s) = %v", s.Name, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		if err := e.Cancel(ctx, s.Name, true); err != nil {
			return // removed by the test
		}
		if _, err := e.Attach(ctx, s.Name, io.Discard, 0); err != nil && !errors.Is(err, executor.ErrLost) {
			t.Errorf("Attach(%s) after the test = %v", s.Name, err)
		}
	})
}

// Finish starts s and follows it to its end.
func Finish(t testing.TB, e executor.Executor, s executor.Spec, secrets ...string) (executor.Result, string) {
	t.Helper()
	Start(t, e, s, secrets...)
	return Follow(t, e, s.Name)
}

// Follow attaches and returns the result and the whole log.
func Follow(t testing.TB, e executor.Executor, n executor.Name) (executor.Result, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	var log bytes.Buffer
	r, err := e.Attach(ctx, n, &log, 0)
	if err != nil {
		t.Fatalf("Attach(%s) = %v; log:\n%s", n, err, log.String())
	}
	return r, log.String()
}

// WaitLog follows n until its log contains text.
func WaitLog(t testing.TB, e executor.Executor, n executor.Name, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	w := &waiter{text: text, seen: cancel}
	if _, err := e.Attach(ctx, n, w, 0); !w.found() {
		t.Fatalf("log of %s never contained %q: %v; log:\n%s", n, text, err, w.log.String())
	}
}

// waiter ends a context when the log contains a text.
type waiter struct {
	text string
	seen func()
	log  bytes.Buffer
}

func (w *waiter) Write(p []byte) (int, error) {
	w.log.Write(p)
	if w.found() {
		w.seen()
	}
	return len(p), nil
}

func (w *waiter) found() bool { return strings.Contains(w.log.String(), w.text) }

func checkEnd(t testing.TB, r executor.Result, want executor.End) {
	t.Helper()
	if r.Ended != want {
		t.Errorf("Ended = %q (%s), want %q", r.Ended, r.Reason, want)
	}
	if (r.Reason == "") != (want == executor.EndExit) {
		t.Errorf("Reason = %q with Ended %q", r.Reason, r.Ended)
	}
}

func stepsRunInOrder(t *testing.T, e executor.Executor) {
	r, log := Finish(t, e, Spec(t, "r1-plan-1", "echo one", "echo two >&2; exit 3", "echo three"))
	if log != "one\ntwo\n" {
		t.Errorf("log = %q, want the output of the first two steps", log)
	}
	checkEnd(t, r, executor.EndExit)
	want := []executor.StepResult{{Label: "sh", OK: true}, {Label: "sh", Exit: 3}}
	if diff := cmp.Diff(want, r.Steps, cmpopts.IgnoreFields(executor.StepResult{}, "Started", "Took")); diff != "" {
		t.Errorf("Steps (-want +got):\n%s", diff)
	}
	if r.OK(3) {
		t.Error("OK(3) = true after a failed step")
	}
	for _, step := range r.Steps {
		if step.Took <= 0 || time.Since(step.Started) > Patience {
			t.Errorf("step started %v and took %v", step.Started, step.Took)
		}
	}
}

func exitCodes(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-plan-1", "exit 2", "exit 0")
	s.Steps[0].OK = []int{0, 2}
	s.Steps[1].OK = []int{1}
	r, _ := Finish(t, e, s)
	want := []executor.StepResult{{Label: "sh", Exit: 2, OK: true}, {Label: "sh"}}
	if diff := cmp.Diff(want, r.Steps, cmpopts.IgnoreFields(executor.StepResult{}, "Started", "Took")); diff != "" {
		t.Errorf("Steps (-want +got):\n%s", diff)
	}
}

func stdoutToFile(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-plan-1", "mkfifo plan.json", "echo data; echo noise >&2", "cat plan.json; exec 2>/dev/null; cat plan.json >/dev/stderr")
	s.Steps[1].Stdout = "plan.json"
	r, log := Finish(t, e, s)
	if !r.OK(3) || log != "noise\ndata\n" {
		t.Errorf("result %+v, log %q", r, log)
	}
}

func missingProgram(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-plan-1", "echo one", "", "echo three")
	s.Steps[1].Argv = []string{"/usr/bin/there-is-no-such-program"}
	r, log := Finish(t, e, s)
	checkEnd(t, r, executor.EndStart)
	if !strings.Contains(r.Reason, "there-is-no-such-program") || log != "one\n" {
		t.Errorf("Reason = %q, log = %q", r.Reason, log)
	}
}

func signalExit(t *testing.T, e executor.Executor) {
	r, _ := Finish(t, e, Spec(t, "r1-plan-1", "kill -9 $$"))
	checkEnd(t, r, executor.EndExit)
	if len(r.Steps) != 1 || r.Steps[0].Exit != -1 || r.Steps[0].OK {
		t.Errorf("Steps = %+v, want one with exit -1", r.Steps)
	}
}

func sourceLayout(t *testing.T, e executor.Executor) {
	r, log := Finish(t, e, Spec(t, "r1-plan-1", `
		cat file ../beside/file && echo new >file && echo more >made && cat file made
		umask`))
	want := "content\nbeside\nnew\nmore\n0022\n"
	if !r.OK(1) || log != want {
		t.Errorf("log = %q, want %q", log, want)
	}
}

func sourceUntouched(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-plan-1", "echo changed >file; echo changed >../beside/file; touch ../beside/made; rm -rf ../beside; true")
	if err := os.Symlink("../beside/file", filepath.Join(s.Source.Dir, "in/work/link")); err != nil {
		t.Fatal(err)
	}
	s.Steps[0].Argv[2] += "; echo through >link; true"
	Finish(t, e, s)
	for path, want := range map[string]string{"in/work/file": "content\n", "in/beside/file": "beside\n"} {
		if got, err := os.ReadFile(filepath.Join(s.Source.Dir, path)); err != nil || string(got) != want {
			t.Errorf("%s = %q, %v, want %q", path, got, err, want)
		}
	}
}

func inputs(t *testing.T, e executor.Executor) {
	dir := t.TempDir()
	Write(t, filepath.Join(dir, "plan"), "reviewed")
	s := Spec(t, "r1-apply", "cat deep/tfplan && stat -c %a deep/tfplan && cat file")
	s.Inputs = []executor.File{
		{Name: "deep/tfplan", Path: filepath.Join(dir, "plan"), SHA256: digest("reviewed")},
		{Name: "file", Path: filepath.Join(dir, "plan"), SHA256: digest("reviewed")},
	}
	altered := s
	altered.Inputs = slices.Clone(s.Inputs)
	altered.Inputs[1].SHA256 = digest("altered")
	if err := e.Start(t.Context(), altered, nil); err == nil || !strings.Contains(err.Error(), "file") {
		t.Errorf("Start() with an altered input = %v, want a refusal that names it", err)
	}
	if r, log := Finish(t, e, s); !r.OK(1) || log != "reviewed600\nreviewed" {
		t.Errorf("result %+v, log %q", r, log)
	}
}

func digest(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

func outputs(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-plan-1", "echo plan >tfplan; mkdir -p sub; echo lock >sub/lock; mkdir dir; mkfifo fifo; exit 1")
	s.Outputs = []string{"tfplan", "missing", "sub/lock", "dir", "fifo"}
	r, _ := Finish(t, e, s)
	want := []executor.Artifact{
		{Name: "tfplan", Size: 5, SHA256: digest("plan\n")}, {Name: "sub/lock", Size: 5, SHA256: digest("lock\n")},
	}
	if diff := cmp.Diff(want, r.Outputs); diff != "" {
		t.Errorf("Outputs (-want +got):\n%s", diff)
	}
	for name, want := range map[string]string{"tfplan": "plan\n", "sub/lock": "lock\n"} {
		if got, err := readOutput(t, e, s.Name, name); err != nil || got != want {
			t.Errorf("Open(%s) = %q, %v, want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"missing", "dir", "fifo", "file", "../launch.json"} {
		if _, err := readOutput(t, e, s.Name, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open(%s) = %v, want ErrNotExist", name, err)
		}
	}
	if err := e.Remove(t.Context(), s.Name); err != nil {
		t.Fatalf("Remove() = %v", err)
	}
	if _, err := readOutput(t, e, s.Name, "tfplan"); !errors.Is(err, executor.ErrAbsent) {
		t.Errorf("Open() after Remove = %v, want ErrAbsent", err)
	}
}

func readOutput(t *testing.T, e executor.Executor, n executor.Name, output string) (string, error) {
	t.Helper()
	r, err := e.Open(t.Context(), n, output)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(r)
	return string(body), errors.Join(err, r.Close())
}

func outputLink(t *testing.T, e executor.Executor) {
	secret := filepath.Join(t.TempDir(), "secret")
	Write(t, secret, "server")
	s := Spec(t, "r1-plan-1", "ln -s "+secret+" tfplan; ln -s /etc/passwd other; mkdir sub; rmdir sub; ln -s / sub")
	s.Outputs = []string{"tfplan", "other", "sub/etc/passwd"}
	r, _ := Finish(t, e, s)
	if len(r.Outputs) != 0 {
		t.Errorf("Outputs = %+v, want none through links", r.Outputs)
	}
	for _, name := range s.Outputs {
		if got, err := readOutput(t, e, s.Name, name); err == nil {
			t.Errorf("Open(%s) = %q, want an error", name, got)
		}
	}
}

func environment(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-plan-1", "env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= -e ^OLDPWD= -e ^TMPDIR= -e ^HOME= | sort; tr '\\0' '\\n' </proc/self/cmdline | grep geheim; true")
	s.Env = append(s.Env, "PUBLIC=yes")
	r, log := Finish(t, e, s, "TOKEN=geheim=1", "EMPTY=")
	want := "EMPTY=\nPATH=/usr/bin:/bin\nPUBLIC=yes\nTOKEN=geheim=1\n"
	if !r.OK(1) || log != want {
		t.Errorf("environment = %q, want %q", log, want)
	}
}

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
		if err := e.Start(t.Context(), s, nil); !errors.Is(err, executor.ErrExists) {
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
		if err := e.Start(t.Context(), s, nil); err == nil || errors.Is(err, executor.ErrExists) {
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
		"a relative program":               func(s *executor.Spec) { s.Steps[0].Argv = []string{"sh"} },
		"an environment without a name":    func(s *executor.Spec) { s.Env = []string{"=x"} },
		"an allowed target without a port": func(s *executor.Spec) { s.Network.Allow = []string{"localhost"} },
		"an unknown network":               func(s *executor.Spec) { s.Network.Mode = "some" },
	} {
		spoiled := s
		spoiled.Steps = slices.Clone(s.Steps)
		spoil(&spoiled)
		if err := e.Start(t.Context(), spoiled, nil); err == nil || errors.Is(err, executor.ErrExists) {
			t.Errorf("Start() with %s = %v, want a refusal", what, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Start(ctx, s, nil); !errors.Is(err, context.Canceled) {
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
		group.Go(func() { errs[i] = e.Start(t.Context(), s, nil) })
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
	polite := Spec(t, "r1-plan-1", `trap 'echo stopping; exit 1' INT; while :; do sleep 0.05; done`)
	stubborn := Spec(t, "r2-plan-1", `trap '' INT; while :; do sleep 0.05; done`)
	polite.Limits.Wall, stubborn.Limits.Wall = 200*time.Millisecond, 200*time.Millisecond
	stubborn.Grace = 100 * time.Millisecond
	r, log := Finish(t, e, polite)
	checkEnd(t, r, executor.EndTimeout)
	if log != "stopping\n" {
		t.Errorf("log = %q, want the tool's own end", log)
	}
	r, _ = Finish(t, e, stubborn)
	checkEnd(t, r, executor.EndKilled)
	if !strings.Contains(r.Reason, "time limit") {
		t.Errorf("Reason = %q, want the limit named", r.Reason)
	}
}

func lease(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-plan-1", "while :; do sleep 0.05; done")
	s.Unattended = 300 * time.Millisecond
	r, _ := Finish(t, e, s)
	checkEnd(t, r, executor.EndLost)
}

func renewal(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-plan-1", "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do sleep 0.1; done; echo done")
	s.Unattended = 700 * time.Millisecond
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
