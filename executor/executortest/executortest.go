// Package executortest is the conformance suite of the executor port: what every executor must do, whatever runs behind it.
//
// It leaves to each adapter the tests of its own walls, limits and crashes.
package executortest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/executor"
)

// Patience is how long the suite waits, on a starved machine, for what must happen at a process border.
const Patience = 2 * time.Minute

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
		{"Steps/ProgramsAreFoundAlongPath", programAlongPath},
		{"Steps/SignalIsExitMinusOne", signalExit},
		{"Source/WorkIsCurrentAndWritable", sourceLayout},
		{"Source/OriginalIsNeverChanged", sourceUntouched},
		{"Inputs/AreLaidAndChecked", inputs},
		{"Inputs/AreSealed", sealedInputs},
		{"Outputs/AreKeptUntilRemoved", outputs},
		{"Outputs/SymbolicLinksLeadNowhere", outputLink},
		{"Outputs/AreFoundBelow", outputBelow},
		{"Environment/IsTheSpecAndTheSecretsAlone", environment},
		{"Environment/OfAStepLacksWhatItIsWithout", without},
		{"Files/AreReadBySteps", secretFiles},
		{"Files/AreRefusedBeforeAnythingRuns", badSecretFiles},
		{"Log/IsWholeFromAnyOffset", logOffset},
		{"Log/IsSeenWhileItGrows", logLive},
		{"Log/KeepsWhatWasWrittenWhenStderrIsOpenedAgain", logReopened},
		{"Names/AreUsedOnce", names},
		{"Names/AreFreeAfterARefusedStart", refusedStart},
		{"Names/OneOfManyStartsWins", racingStarts},
		{"Cancel/InterruptsTheRunningStepOnce", cancel},
		{"Cancel/RightAfterStartIsHeard", cancelAtOnce},
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

// Start starts s, with secrets for its environment, and has its rest killed when the test ends.
func Start(t testing.TB, e executor.Executor, s executor.Spec, secrets ...string) {
	t.Helper()
	StartWith(t, e, s, executor.Secrets{Env: secrets})
}

// StartWith is Start with secrets of every kind.
func StartWith(t testing.TB, e executor.Executor, s executor.Spec, secrets executor.Secrets) {
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
