package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/planlatch/planlatch/operator"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/runner"
	"github.com/planlatch/planlatch/web"
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

// erroredState answers with the state that a run's apply could not save. A state holds secrets: only the admin token opens it.
func (s *Server) erroredState(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || !s.admin.is(token) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		web.Problem(w, r, http.StatusUnauthorized, "this needs the admin token")
		return
	}
	found, err := s.store.Run(r.Context(), run.ID(r.PathValue("id")))
	key := found.Blobs[runner.BlobErrored]
	if errors.Is(err, run.ErrNotFound) || err == nil && key == "" {
		web.Problem(w, r, http.StatusNotFound, "no such run, or its state was saved")
		return
	}
	var state []byte
	if err == nil {
		state, err = s.blobs.Get(r.Context(), key)
	}
	if err != nil {
		s.log.Error("read an unsaved state", "run", found.ID, "error", err)
		web.Problem(w, r, http.StatusInternalServerError, "the state could not be read; the server's log says why")
		return
	}
	err = operator.Record(r.Context(), s.store, run.Audit{
		Actor: "admin", Action: "state_pull", Repo: found.Repo, Pull: found.Pull, Run: found.ID, Outcome: "done", Detail: found.Label,
	})
	if err != nil { // a state does not leave without a trace
		s.log.Error("write down that a state is handed out", "run", found.ID, "error", err)
		web.Problem(w, r, http.StatusInternalServerError, "the audit could not be written; the server's log says why")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(state) // best effort: the client may be gone
}
