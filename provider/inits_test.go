package provider_test

import (
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/executortest"
	"github.com/planlatch/planlatch/executor/local"
)

// TestColdInitsAtOnce begins with an empty store, asks it for the same locked provider from many runs at once, and inits them all at once,
// as a server with as many workers does. PLANLATCH_INITS=20x50, or make inits, is twenty rounds of fifty.
func TestColdInitsAtOnce(t *testing.T) {
	rounds, runs := 1, 12
	if text := os.Getenv("PLANLATCH_INITS"); text != "" { //nolint:forbidigo // a test's own switch
		if n, err := fmt.Sscanf(text, "%dx%d", &rounds, &runs); n != 2 || err != nil {
			t.Fatalf("PLANLATCH_INITS=%q, want rounds x runs, as in 20x50", text)
		}
	}
	for tool := range hosts {
		t.Run(tool, func(t *testing.T) {
			began := time.Now()
			for range rounds {
				coldInits(t, tool, runs)
			}
			t.Logf("%d rounds of %d inits took %s, %s each", rounds, runs, time.Since(began).Round(time.Second),
				(time.Since(began) / time.Duration(rounds*runs)).Round(time.Millisecond))
		})
	}
}

func coldInits(t *testing.T, tool string, runs int) {
	t.Helper()
	b := setup(t, local.Options{}, nil)
	lock := locked(tool, kit.sum)
	begin := make(chan struct{})
	var all sync.WaitGroup
	for range runs {
		all.Go(func() {
			<-begin
			v, err := b.View(t.Context(), tool, kit.tools[tool], lock, nil)
			if err != nil {
				t.Errorf("View() = %v", err)
				return
			}
			s := b.spec(t, tool, nil, lock, v)
			if err := b.exec.Start(t.Context(), s, executor.Secrets{}); err != nil {
				t.Errorf("Start() = %v", err)
				return
			}
			var log lines
			r, err := b.exec.Attach(t.Context(), s.Name, &log, 0)
			if err != nil || !r.OK(1) {
				t.Errorf("init = %+v, %v; log:\n%s", r, err, log)
			}
		})
	}
	close(begin)
	all.Wait()
	if n := b.log.count("stored a provider"); n != 1 {
		t.Errorf("%d runs fetched the provider %d times, want once", runs, n)
	}
	s := b.spec(t, tool, nil, lock, b.view(t, tool, lock))
	s.Steps = append(s.Steps, planStep(kit.tools[tool]))
	if r, log := executortest.Finish(t, b.exec, s); !r.OK(2) {
		t.Errorf("plan after them: %+v; log:\n%s", r, log)
	}
}

// lines is a log.
type lines []byte

func (l *lines) Write(p []byte) (int, error) {
	*l = append(*l, p...)
	return len(p), nil
}
