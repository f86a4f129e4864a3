package runner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/blob"
	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/executortest"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
)

// keyOf opens a sealer with a key of its own.
func keyOf(t *testing.T) unsealer {
	t.Helper()
	key, _, _, err := blob.GeneratedKey(filepath.Join(t.TempDir(), "key"))
	ok(t, err)
	s, err := blob.OpenSealer(t.Context(), key)
	ok(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return unsealer{s}
}

// unsealer is what app makes of a sealer.
type unsealer struct{ *blob.Sealer }

func (u unsealer) Open(ctx context.Context, sealed []byte) ([]byte, error) {
	plain, err := u.Sealer.Open(ctx, sealed)
	if errors.Is(err, blob.ErrKey) || errors.Is(err, blob.ErrDamaged) {
		return nil, fmt.Errorf("%w: %w", ErrUnsealed, err)
	}
	return plain, err
}

// commanded is a configuration that has a command for every project.
func commanded(selector.Target, string) (Grant, bool, error) {
	return Grant{Secrets: executor.Secrets{Env: []string{"FIXED=fixed-secret"}}}, false, nil
}

// printed is what a command once printed for an execution.
var printed = Grant{Secrets: executor.Secrets{
	Env: []string{"TOKEN=printed-token"}, Files: []executor.SecretFile{{Variable: "KEY", Content: []byte(`{"private_key": "printed-key"}`)}},
}}

func TestAnExecutionIsFollowedAgainWithWhatItWasGiven(t *testing.T) {
	t.Parallel()
	n := underApply(t, "here")
	n.Sealer, n.o.Fixed = keyOf(t), commanded
	n.o.Grants = func(context.Context, selector.Target, string, run.ID) (Grant, error) {
		t.Error("credentials were asked for again")
		return Grant{}, nil
	}
	name := executor.Name(n.run.Execution)
	ok(t, n.remember(t.Context(), name, printed.hidden()))
	for path, body := range filesBelow(t, n.o.Dir) {
		if strings.Contains(body, "printed") {
			t.Errorf("%s shows a secret", path)
		}
	}
	// The process that started it is gone: all that this one has is the directory and the key.
	n.starts(`echo "with printed-token and printed-key"; while ! [ -e go ]; do sleep 0.02; done`, "with")
	r := New(n.Parts, n.o)
	ok(t, os.WriteFile(filepath.Join(n.dir, "runs", n.run.Execution, "work/go"), nil, 0o600))
	r.follow(t.Context(), n.run, time.Time{})
	log, err := r.wholeLog(t.Context(), n.run.ID, "apply")
	ok(t, err)
	if want := "with (redacted) and (redacted)\n"; log != want {
		t.Errorf("log = %q, want %q", log, want)
	}
	if got := n.now(); got.State != run.Applied {
		t.Errorf("the run is %s: %s", got.State, got.Reason)
	}
	if left := filesBelow(t, filepath.Join(n.o.Dir, dirHidden)); len(left) != 0 {
		t.Errorf("%d files are kept of an execution that is removed", len(left))
	}
}

func TestNothingIsShownOfAnExecutionWhoseSecretsAreForgotten(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]func(*testing.T, *node){
		"NeverKept": func(*testing.T, *node) {},
		"AnotherKey": func(t *testing.T, n *node) {
			ok(t, n.remember(t.Context(), executor.Name(n.run.Execution), printed.hidden()))
			n.Sealer = keyOf(t)
		},
		"Damaged": func(t *testing.T, n *node) {
			ok(t, n.remember(t.Context(), executor.Name(n.run.Execution), printed.hidden()))
			ok(t, os.WriteFile(filepath.Join(n.o.Dir, dirHidden, n.run.Execution), []byte("x"), 0o600))
		},
		"OfAnother": func(t *testing.T, n *node) {
			ok(t, n.remember(t.Context(), "other", printed.hidden()))
			ok(t, os.Rename(filepath.Join(n.o.Dir, dirHidden, "other"), filepath.Join(n.o.Dir, dirHidden, n.run.Execution)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := underApply(t, "here")
			n.Sealer, n.o.Fixed = keyOf(t), commanded
			forget(t, n)
			n.starts(`echo "with printed-token"`, "with")
			n.follow(t.Context(), n.run, time.Time{})
			log, err := n.wholeLog(t.Context(), n.run.ID, "apply")
			ok(t, err)
			if want := "(" + errForgotten.Error() + ")\n"; log != want {
				t.Errorf("log = %q, want %q", log, want)
			}
			if got := n.now(); got.State != run.Applied {
				t.Errorf("the run is %s: %s; want the end that its exit codes tell", got.State, got.Reason)
			}
		})
	}
}

func TestWhatTheConfigurationSaysIsKnownWithoutARecord(t *testing.T) {
	t.Parallel()
	n := underApply(t, "here")
	n.o.Fixed = func(t selector.Target, phase string) (Grant, bool, error) {
		g, _, err := commanded(t, phase)
		return g, true, err
	}
	n.starts(`echo "with fixed-secret"`, "with")
	n.follow(t.Context(), n.run, time.Time{})
	if log, err := n.wholeLog(t.Context(), n.run.ID, "apply"); err != nil || log != "with (redacted)\n" {
		t.Errorf("log = %q, %v", log, err)
	}
}

func TestARestartedStartKeepsWhatBothAttemptsWereGiven(t *testing.T) {
	t.Parallel()
	r := New(Parts{Sealer: keyOf(t)}, Options{Dir: t.TempDir(), Secrets: []string{"server-secret"}})
	ok(t, r.remember(t.Context(), "r1-apply", []string{"first-secret"}))
	ok(t, r.remember(t.Context(), "r1-apply", []string{"second-secret"}))
	got, err := r.hiddenFrom(t.Context(), phase{name: "apply", run: run.Run{Execution: "r1-apply"}})
	if want := "server-secret first-secret second-secret"; err != nil || strings.Join(got, " ") != want {
		t.Errorf("hiddenFrom() = %q, %v, want %q", got, err, want)
	}
	r.forget(t.Context(), "r1-apply")
	if _, err := r.recalled(t.Context(), "r1-apply"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("recalled() after forget = %v", err)
	}
}

func TestSecretsWithoutAKeyToKeepThemStartNothing(t *testing.T) {
	t.Parallel()
	r := New(Parts{}, Options{Dir: t.TempDir()})
	if err := r.remember(t.Context(), "r1-apply", []string{"secret"}); err == nil {
		t.Error("remember() = nil without a key")
	}
	if err := r.remember(t.Context(), "r1-apply", nil); err != nil {
		t.Errorf("remember() of nothing = %v", err)
	}
}

func TestSweepForgetsWhatIsKeptOfExecutionsThatAreGone(t *testing.T) {
	t.Parallel()
	n := underApply(t, "here")
	n.Sealer = keyOf(t)
	n.starts("true", "")
	ok(t, n.remember(t.Context(), executor.Name(n.run.Execution), []string{"secret"}))
	ok(t, n.remember(t.Context(), "gone", []string{"secret"}))
	ok(t, n.sweepHidden(t.Context(), false))
	if left := filesBelow(t, filepath.Join(n.o.Dir, dirHidden)); len(left) != 2 {
		t.Errorf("%d records are left, want also that of an execution that may begin in a moment", len(left))
	}
	ok(t, n.sweepHidden(t.Context(), true))
	if left := filesBelow(t, filepath.Join(n.o.Dir, dirHidden)); len(left) != 1 {
		t.Errorf("%d records are left at the start, want that of the execution which is there", len(left))
	}
	executortest.Follow(t, n.Exec, executor.Name(n.run.Execution))
}

func TestFailedCredentialsAreAReasonAndAnInterruptionIsNot(t *testing.T) {
	t.Parallel()
	r := New(Parts{}, Options{Grants: func(ctx context.Context, _ selector.Target, _ string, _ run.ID) (Grant, error) {
		if ctx.Err() != nil {
			return Grant{}, ctx.Err()
		}
		return Grant{}, errors.New("the credential command of aws-prod failed (exit 3)")
	}})
	var no *refusal
	if err := r.entitle(t.Context(), &ground{}, "apply"); !errors.As(err, &no) || no.text != "the credential command of aws-prod failed (exit 3)" {
		t.Errorf("entitle() = %v, want a refusal with the words", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.entitle(ctx, &ground{}, "apply"); errors.As(err, &no) || !errors.Is(err, context.Canceled) {
		t.Errorf("entitle() = %v, want the context's error", err)
	}
}

func filesBelow(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		body, err := os.ReadFile(path)
		out[path] = string(body)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return out
}
