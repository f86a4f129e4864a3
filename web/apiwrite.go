package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/planlatch/planlatch/operator"
	"github.com/planlatch/planlatch/run"
)

// admin is who the admin token stands for in the audit: it does not tell people apart, and does not pretend to.
const admin = "admin"

// written is a handler that changes something: what it refuses is written down as well as what it does.
func (h *Handler) written(action run.Action, serve func(w http.ResponseWriter, r *http.Request) error) func(w http.ResponseWriter, r *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		err := told(serve(w, r))
		var no *refusal
		if !errors.As(err, &no) {
			return err
		}
		asked := r.URL.Path
		if r.URL.RawQuery != "" {
			asked += "?" + r.URL.RawQuery
		}
		return errors.Join(err, operator.Record(r.Context(), h.Store, run.Audit{
			Actor: admin, Action: string(action), Run: run.ID(r.PathValue("id")), Outcome: "refused", Detail: r.Method + " " + asked + ": " + no.detail,
		}))
	}
}

// told turns the errors of decisions into answers.
func told(err error) error {
	var fault *operator.Fault
	switch {
	case errors.As(err, &fault):
		return &refusal{http.StatusBadRequest, sentence(fault.Error())}
	case errors.Is(err, run.ErrNotFound):
		return &refusal{http.StatusNotFound, sentence(err.Error())}
	case errors.Is(err, run.ErrIllegal):
		return &refusal{http.StatusConflict, sentence(err.Error())}
	case errors.Is(err, run.ErrMoved):
		return &refusal{http.StatusConflict, "It has changed meanwhile. Look again and repeat it."}
	}
	return err
}

func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// body reads a JSON object, strictly.
func body(r *http.Request, into any) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return &refusal{http.StatusUnsupportedMediaType, "Send JSON: Content-Type: application/json."}
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return &refusal{http.StatusBadRequest, "The body is not the JSON that is expected here: " + err.Error() + "."}
	}
	return nil
}

type pauseJSON struct {
	Match   string    `json:"match"`
	Actor   string    `json:"actor"`
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
	Waiting int       `json:"waiting"`
}

// GET /api/v1/pauses: what is paused, and how many confirmed applies wait for it.
func (h *Handler) apiPauses(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	if _, err := h.filter(ctx, r.URL.Query()); err != nil {
		return err
	}
	list := struct {
		Pauses []pauseJSON `json:"pauses"`
	}{Pauses: []pauseJSON{}}
	pauses, waiting, err := operator.Pauses(ctx, h.Store)
	if err != nil {
		return err
	}
	for i, p := range pauses {
		list.Pauses = append(list.Pauses, pauseJSON{Match: p.Match, Actor: p.Actor, Reason: p.Reason, At: p.At.UTC(), Waiting: waiting[i]})
	}
	return send(w, list)
}

// POST /api/v1/pauses: no apply of what match selects starts until it is resumed.
func (h *Handler) apiPause(w http.ResponseWriter, r *http.Request) error {
	var in struct{ Match, Reason string }
	if err := body(r, &in); err != nil {
		return err
	}
	p, err := operator.Pause(r.Context(), h.Store, in.Match, in.Reason, admin)
	if err != nil {
		return err
	}
	return send(w, pauseJSON{Match: p.Match, Actor: p.Actor, Reason: p.Reason, At: p.At.UTC()})
}

// DELETE /api/v1/pauses?match=…: ends a pause; what waited goes on.
func (h *Handler) apiResume(w http.ResponseWriter, r *http.Request) error {
	if _, err := h.filter(r.Context(), r.URL.Query(), "match"); err != nil {
		return err
	}
	if err := operator.Resume(r.Context(), h.Store, r.URL.Query().Get("match"), admin); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// POST /api/v1/runs/{id}/apply: confirms the plan of a push, which has no pull request where anybody could.
func (h *Handler) apiApply(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	rn, err := h.Store.Run(ctx, run.ID(r.PathValue("id")))
	if err != nil {
		return err
	}
	if err := operator.Apply(ctx, h.Store, h.Facts, rn, admin); err != nil {
		return err
	}
	if rn, err = h.Store.Run(ctx, rn.ID); err != nil {
		return err
	}
	return h.sendRun(w, r, rn)
}

// POST /api/v1/runs/{id}/cancel
func (h *Handler) apiCancel(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	rn, err := h.Store.Run(ctx, run.ID(r.PathValue("id")))
	if err != nil {
		return err
	}
	stopped, err := operator.Cancel(ctx, h.Store, []run.Run{rn}, admin)
	if err != nil {
		return err
	}
	if len(stopped) == 0 {
		detail := fmt.Sprintf("The run is %s: there is nothing to cancel.", rn.State)
		if rn.Stop != "" {
			detail = "The run is being stopped already: " + rn.StopWhy + "."
		}
		return &refusal{http.StatusConflict, detail}
	}
	return h.sendRun(w, r, stopped[0])
}

// POST /api/v1/runs/{id}/acknowledge: somebody has looked at what an interrupted run, or one with an unsaved state, left behind. The body
// repeats the project's name.
func (h *Handler) apiAcknowledge(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	rn, err := h.Store.Run(ctx, run.ID(r.PathValue("id")))
	if err != nil {
		return err
	}
	if err := confirmed(r, rn); err != nil {
		return err
	}
	if rn, err = operator.Acknowledge(ctx, h.Store, rn, admin); err != nil {
		return err
	}
	return h.sendRun(w, r, rn)
}

// POST /runs/{id}/acknowledge: the same for somebody who is logged in, from the form of the run's page.
func (h *Handler) acknowledge(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return &refusal{http.StatusBadRequest, "The form could not be read."}
	}
	rn, err := h.Store.Run(r.Context(), run.ID(r.PathValue("id")))
	if err != nil {
		return err
	}
	if rn.State != run.Interrupted { // a state that was not saved is pushed back, which no page does
		return &refusal{http.StatusConflict, fmt.Sprintf("The run is %s: there is nothing to acknowledge.", rn.State)}
	}
	if err := repeats(r.PostForm.Get("project"), rn); err != nil {
		return err
	}
	if _, err := operator.Acknowledge(r.Context(), h.Store, rn, admin); err != nil {
		return err
	}
	http.Redirect(w, r, h.base+runPath(rn.ID), http.StatusSeeOther)
	return nil
}

// confirmed says whether the body repeats the name of the run's project.
func confirmed(r *http.Request, rn run.Run) error {
	var in struct{ Project string }
	if err := body(r, &in); err != nil {
		return err
	}
	return repeats(in.Project, rn)
}

func repeats(name string, rn run.Run) error {
	if name != label(rn) {
		return &refusal{http.StatusBadRequest, fmt.Sprintf("Repeat the name of the project to confirm: it is %q, not %q.", label(rn), name)}
	}
	return nil
}

// POST /api/v1/runs/{id}/state: writes the state that the run's apply could not save to its backend, and settles the run. The body repeats the
// project's name. It answers when the tool has ended, and goes on if whoever asked does not wait.
func (h *Handler) apiPushState(w http.ResponseWriter, r *http.Request) error {
	ctx := context.WithoutCancel(r.Context())
	rn, err := h.Store.Run(ctx, run.ID(r.PathValue("id")))
	if err != nil {
		return err
	}
	if h.PushState == nil {
		return &refusal{http.StatusNotImplemented, "This server pushes no states: get it with planlatch state pull, push it with the tool, then acknowledge the run."}
	}
	if err := confirmed(r, rn); err != nil {
		return err
	}
	if !rn.Unsaved {
		return &refusal{http.StatusConflict, "The state of this run was saved: there is nothing to push."}
	}
	failed, err := h.PushState(ctx, rn)
	if err != nil {
		return err
	}
	if failed != "" {
		return &refusal{http.StatusConflict, "The state was not pushed, and is still kept here: " + failed}
	}
	if rn, err = operator.Repaired(ctx, h.Store, rn, admin); err != nil {
		return err
	}
	return h.sendRun(w, r, rn)
}

// GET /api/v1/runs/{id}/errored-state: the state that the run's apply could not save. A state holds secrets: only the admin token opens it, and
// none leaves without a trace.
func (h *Handler) apiUnsaved(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	rn, err := h.Store.Run(ctx, run.ID(r.PathValue("id")))
	var state []byte
	if err == nil {
		state, err = h.unsaved(ctx, rn)
	}
	if errors.Is(err, run.ErrNotFound) {
		return &refusal{http.StatusNotFound, "There is no such run, or its state was saved."}
	}
	if err != nil {
		return err
	}
	if err := operator.Record(ctx, h.Store, run.Audit{
		Actor: admin, Action: "state_pull", Repo: rn.Repo, Pull: rn.Pull, Run: rn.ID, Outcome: "done", Detail: rn.Label,
	}); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(state) //nolint:gosec // JSON; whoever asked may be gone
	return nil
}

func (h *Handler) unsaved(ctx context.Context, rn run.Run) ([]byte, error) {
	if h.Unsaved == nil {
		return nil, run.ErrNotFound
	}
	state, err := h.Unsaved(ctx, rn)
	if err != nil {
		return nil, fmt.Errorf("read the unsaved state of %s: %w", rn.ID, err)
	}
	return state, nil
}

func (h *Handler) sendRun(w http.ResponseWriter, r *http.Request, rn run.Run) error {
	j, err := h.runJSON(r.Context(), h.names(), rn)
	if err != nil {
		return err
	}
	return send(w, j)
}
