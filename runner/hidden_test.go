package runner

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/executor"
)

func TestWhatIsKeptOfExecutionsIsSealedAnewBesideTheirStarts(t *testing.T) {
	t.Parallel()
	old, fresh := keyOf(t), keyOf(t)
	r := New(Parts{Sealer: old}, Options{Dir: t.TempDir()})
	ok(t, r.remember(t.Context(), "r1-apply", []string{"first-secret"}))
	ok(t, r.remember(t.Context(), "r2-apply", []string{"another-secret"}))
	ok(t, os.WriteFile(filepath.Join(r.o.Dir, dirHidden, "r3-apply.1.new"), []byte("half"), 0o600))
	again := func(name executor.Name, sealed []byte) ([]byte, error) {
		plain, err := old.Open(t.Context(), sealed)
		if err != nil {
			return nil, err
		}
		if name == "r1-apply" { // it is started again at this very moment
			ok(t, r.remember(t.Context(), name, []string{"second-secret"}))
		}
		return fresh.Seal(t.Context(), plain)
	}
	ok(t, Hidden(t.Context(), r.o.Dir, again))
	if got, err := r.recalled(t.Context(), "r1-apply"); err != nil || strings.Join(got, " ") != "first-secret second-secret" {
		t.Errorf("what a start added meanwhile = %q, %v", got, err)
	}
	if _, err := r.recalled(t.Context(), "r2-apply"); !errors.Is(err, ErrUnsealed) {
		t.Errorf("recalled() with the old key = %v, want ErrUnsealed", err)
	}
	r.Sealer = fresh
	if got, err := r.recalled(t.Context(), "r2-apply"); err != nil || strings.Join(got, " ") != "another-secret" {
		t.Errorf("recalled() with the fresh key = %q, %v", got, err)
	}
	if info, err := os.Stat(HiddenFile(r.o.Dir, "r2-apply")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v, want a private one", info.Mode(), err)
	}
}

func TestWhatCannotBeSealedAnewStaysAsItWas(t *testing.T) {
	t.Parallel()
	r := New(Parts{Sealer: keyOf(t)}, Options{Dir: t.TempDir()})
	ok(t, Hidden(t.Context(), r.o.Dir, nil)) // nothing was ever kept
	ok(t, r.remember(t.Context(), "r1-apply", []string{"secret"}))
	broken := errors.New("no key")
	if err := Hidden(t.Context(), r.o.Dir, func(executor.Name, []byte) ([]byte, error) { return []byte("x"), broken }); !errors.Is(err, broken) {
		t.Errorf("Hidden() = %v, want what f says", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ok(t, Hidden(ctx, r.o.Dir, func(executor.Name, []byte) ([]byte, error) { return nil, nil }))
	if got, err := r.recalled(t.Context(), "r1-apply"); err != nil || strings.Join(got, " ") != "secret" {
		t.Errorf("recalled() = %q, %v", got, err)
	}
}
