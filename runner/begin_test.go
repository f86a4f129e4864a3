package runner

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/planlatch/planlatch/executor"
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
				if err := r.begin(t.Context(), executor.Spec{}, executor.Secrets{}); !errors.Is(err, test.want) || len(exec.errs) != test.left {
					t.Errorf("begin() = %v with %d answers left, want %v and %d", err, len(exec.errs), test.want, test.left)
				}
			})
		})
	}
}
