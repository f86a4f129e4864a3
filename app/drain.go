package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/planlatch/planlatch/run"
)

// flushing is how long the last comments and statuses get to leave at the end of a stop.
const flushing = 15 * time.Second

// tellStop says at the start what a stop will do, since nobody wants to find out by doing it.
func (s *Server) tellStop() {
	if s.handsOver {
		s.log.Info("a stop hands running executions over to the next start", "because", s.because)
		return
	}
	s.log.Info("a stop interrupts plans and waits for applies", "because", s.because, "at_most", s.cfg.Execution.ShutdownWait)
}

// drain brings what runs here to its end, because it ends with this process: plans go back to the queue, applies are waited for. After
// shutdown_wait, or when a stop is asked for again, applies are interrupted and get their grace; when it is asked for once more, they are
// left to their fate. It returns once all is settled and told. worked is closed when the runner has come to its end.
func (s *Server) drain(ctx context.Context, worked <-chan struct{}) {
	wait := s.cfg.Execution.ShutdownWait
	end := time.Now().Add(wait)
	s.log.Info("stopping: nothing starts any more, plans are interrupted, applies are waited for", "at_most", wait)
	s.tellWaiting(ctx, end)
	s.runner.Drain()
	limit := time.NewTimer(wait)
	defer limit.Stop()
	minute := time.NewTicker(time.Minute)
	defer minute.Stop()
	for hurried := false; ; {
		hurry := ""
		select {
		case <-worked:
			s.flush(ctx)
			return
		case <-ctx.Done():
			return
		case <-limit.C:
			hurry = "shutdown_wait is over"
		case <-s.again:
			if hurried {
				s.log.Warn("asked to stop a third time: what runs is left to its fate; an apply that ends with this process waits for a person")
				return
			}
			hurry = "asked to stop again"
		case <-minute.C:
			s.tellWaiting(ctx, end)
		}
		if hurry != "" && !hurried {
			hurried, end = true, time.Now().Add(s.cfg.Execution.CancelGrace.Apply)
			s.log.Warn("interrupting applies, so that the tool saves its state: "+hurry, "grace", s.cfg.Execution.CancelGrace.Apply)
			s.runner.Hurry()
		}
	}
}

// flush lets what is due leave: people shall read how it ended before the next start.
func (s *Server) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, flushing)
	defer cancel()
	s.notifier.Flush(ctx)
}

// tellWaiting says what a stop is waiting for.
func (s *Server) tellWaiting(ctx context.Context, end time.Time) {
	running, err := s.store.Owned(ctx, s.node.ID)
	if err != nil {
		s.log.Error("look what is running", "error", err)
		return
	}
	var plans int
	var applies []string
	for _, r := range running {
		if r.State == run.Applying {
			applies = append(applies, fmt.Sprintf("%s of %s", r.ID, r.Label))
		} else {
			plans++
		}
	}
	if plans > 0 {
		s.log.Info("waiting for interrupted plans to end", "plans", plans)
	}
	if len(applies) > 0 {
		s.log.Info("waiting for applies", "applies", len(applies), "runs", strings.Join(applies, ", "), "at_most", time.Until(end).Round(time.Second))
	}
}
