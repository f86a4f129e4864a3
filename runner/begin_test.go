package runner

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/run"
)

// starts answers one call of Start after the other.
type starts struct {
	executor.Executor
	errs []error
}

func (s *starts) Start(context.Context, executor.Spec, executor.Secrets) error {
	err := s.errs[0]
	s.errs = s.errs[1:]
	return err
}

func TestAStartThatFailsIsTriedAgainAndAUsedNameIsNot(t *testing.T) {
	t.Parallel()
	killed := errors.New("a helper was killed")
	for name, test := range map[string]struct {
		answers []error
		want    error
		left    int // answers that nobody asked for
	}{
		"AtOnce":       {[]error{nil, killed}, nil, 1},
		"TheThirdTime": {[]error{killed, killed, nil}, nil, 0},
		"Never":        {[]error{killed, killed, killed, nil}, killed, 1},
		"AUsedName":    {[]error{executor.ErrExists, nil}, executor.ErrExists, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				exec := &starts{errs: test.answers}
				r := New(Parts{Exec: exec}, Options{})
				if err := r.begin(t.Context(), executor.Spec{}, executor.Secrets{}, time.Now()); !errors.Is(err, test.want) || len(exec.errs) != test.left {
					t.Errorf("begin() = %v with %d answers left, want %v and %d", err, len(exec.errs), test.want, test.left)
				}
			})
		})
	}
}

// TestANodeThatStoodStillStartsNothing plays a process that was stopped while it prepared: it wakes up with everything ready to start.
func TestANodeThatStoodStillStartsNothing(t *testing.T) {
	t.Parallel()
	for name, meanwhile := range map[string]func(n *node){
		"GivenUpByAnother": func(n *node) { n.givenUp() },
		"SettledByAPerson": func(n *node) {
			n.givenUp()
			ok(t, n.advance(t.Context(), n.now(), func(s run.Snapshot) (run.Change, error) { return run.Acknowledge(s, n.run.ID, "alice", false) }))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := underApply(t, "here")
			exec := &starts{Executor: n.Exec, errs: []error{nil}}
			n.Exec = exec
			p := n.applyPhase(n.run, time.Now())
			p.prepare = func(context.Context) (prepared, error) {
				meanwhile(n)
				return prepared{done: func() {}}, nil
			}
			if _, err := n.start(t.Context(), p, executor.Name(n.run.Execution)); !errors.Is(err, run.ErrMoved) {
				t.Errorf("start() = %v, want ErrMoved", err)
			}
			if len(exec.errs) != 1 {
				t.Error("an execution was started that nobody waits for any more")
			}
		})
	}
}

func TestWhatWasLookedAtLongAgoIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	exec := &starts{errs: []error{nil}}
	r := New(Parts{Exec: exec}, Options{})
	if err := r.begin(t.Context(), executor.Spec{}, executor.Secrets{}, time.Now().Add(-time.Minute)); !errors.Is(err, errStoodStill) || len(exec.errs) != 1 {
		t.Errorf("begin() = %v with %d answers left, want errStoodStill and 1", err, len(exec.errs))
	}
}
