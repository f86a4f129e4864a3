package app

import (
	"context"
	"fmt"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/runner"
)

type stateCmd struct {
	Pull statePullCmd `cmd:"" help:"Print the state that an apply could not save."`
	Push statePushCmd `cmd:"" help:"Write the state that an apply could not save to its backend, as that apply would have."`
}

type statePushCmd struct {
	remote
	printed
	ID      string `arg:"" name:"run" help:"The run whose apply could not save its state, or how its id begins."`
	Project string `short:"p" help:"Its project's name, to confirm." placeholder:"PROJECT"`
}

// Run has the server push the state it kept.
func (c *statePushCmd) Run(ctx context.Context, t *terminal) error {
	s, err := c.dial()
	if err != nil {
		return err
	}
	id, err := s.Find(ctx, c.ID)
	if err != nil {
		return answered(err)
	}
	if c.Project == "" {
		d, _, err := s.Run(ctx, id)
		if err != nil {
			return answered(err)
		}
		if d.StateSaved {
			return &coded{exitNo, fmt.Errorf("the state of run %s was saved: there is nothing to push", id)}
		}
		return usage(fmt.Errorf("the backend of %s will be written; confirm with: planlatch state push %s -p %s", visible(d.Project), id, visible(d.Project)))
	}
	r, raw, err := s.PushState(ctx, id, c.Project)
	if err != nil {
		return answered(err)
	}
	return c.print(t, raw, func() {
		fmt.Fprintf(t.out, "Pushed: the state of %s is in its backend, and the project is free. Plan it again.\n", visible(r.Project))
	})
}

type statePullCmd struct {
	remote
	ID string `arg:"" name:"run" help:"The run whose apply could not save its state, or how its id begins."`
}

// Run prints the state. It is the only copy there is: nothing is changed on the server.
func (c *statePullCmd) Run(ctx context.Context, t *terminal) error {
	s, err := c.dial()
	if err != nil {
		return err
	}
	id, err := s.Find(ctx, c.ID)
	if err != nil {
		return answered(err)
	}
	return answered(s.ErroredState(ctx, id, t.out))
}

// unsaved reads the state that a run's apply could not save. Error: run.ErrNotFound.
func (s *Server) unsaved(ctx context.Context, of run.Run) ([]byte, error) {
	key := of.Blobs[runner.BlobErrored]
	if key == "" {
		return nil, run.ErrNotFound
	}
	return s.blobs.Get(ctx, key)
}
