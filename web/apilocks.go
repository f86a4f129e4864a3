package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/planlatch/planlatch/operator"
	"github.com/planlatch/planlatch/run"
)

type lockJSON struct {
	Host      string     `json:"host"`
	Repo      string     `json:"repo"`
	Project   string     `json:"project"`
	Dir       string     `json:"dir"`
	Workspace string     `json:"workspace"`
	Pull      pullJSON   `json:"pull"`
	Since     *time.Time `json:"since"`
}

type slotJSON struct {
	Host      string     `json:"host"`
	Repo      string     `json:"repo"`
	Project   string     `json:"project"`
	Dir       string     `json:"dir"`
	Workspace string     `json:"workspace"`
	Pull      *pullJSON  `json:"pull"`
	Run       run.ID     `json:"run"`
	State     run.State  `json:"state"`
	Saved     bool       `json:"state_saved"`
	Since     *time.Time `json:"since"`
	Why       string     `json:"why"`
}

// lock is a project that a pull request holds, or a run works on.
type lock struct {
	run.Lock
	repo run.Repo
	pull run.Pull // of the hold, or of the run
	run  run.Run  // zero for a hold
}

// locks lists every hold, and every slot that a run has.
func (h *Handler) locks(ctx context.Context, n *names) (holds, slots []lock, err error) {
	all, err := h.Store.Locks(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, one := range all {
		l := lock{Lock: one}
		if l.repo, err = n.repo(ctx, one.Project.Repo); err != nil {
			return nil, nil, err
		}
		by := one.Pull
		if one.Run != "" {
			if l.run, err = h.Store.Run(ctx, one.Run); err != nil {
				return nil, nil, err
			}
			by = l.run.Pull
		}
		if l.pull, err = n.pull(ctx, by); err != nil {
			return nil, nil, err
		}
		if one.Run == "" {
			holds = append(holds, l)
		} else {
			slots = append(slots, l)
		}
	}
	return holds, slots, nil
}

// why says in a few words what a run does with its slot, and what it needs to let go of it.
func (l lock) why() string {
	switch {
	case l.run.Unsaved:
		return "its apply could not save the state: push it back, then acknowledge the run"
	case l.run.State == run.Interrupted:
		return "interrupted: look at the real objects, then acknowledge the run"
	case l.run.Stop != "":
		return "is stopping: " + l.run.StopWhy
	}
	return string(l.run.State)
}

// GET /api/v1/locks: projects that a pull request holds, and those that a run works on or has left in doubt.
func (h *Handler) apiLocks(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	if _, err := h.filter(ctx, r.URL.Query()); err != nil {
		return err
	}
	list := struct {
		Locks []lockJSON `json:"locks"`
		Slots []slotJSON `json:"slots"`
	}{Locks: []lockJSON{}, Slots: []slotJSON{}}
	holds, slots, err := h.locks(ctx, h.names())
	if err != nil {
		return err
	}
	for _, l := range holds {
		list.Locks = append(list.Locks, lockJSON{
			Host: l.repo.Host, Repo: l.repo.Name, Project: l.Project.Label, Dir: l.Project.Dir, Workspace: l.Project.Workspace, Pull: newPullJSON(l.pull),
			Since: when(l.Since),
		})
	}
	for _, l := range slots {
		j := slotJSON{
			Host: l.repo.Host, Repo: l.repo.Name, Project: l.Project.Label, Dir: l.Project.Dir, Workspace: l.Project.Workspace, Run: l.run.ID,
			State: l.run.State, Saved: !l.run.Unsaved, Since: when(slotSince(l.run)), Why: l.why(),
		}
		if l.pull.ID != 0 {
			p := newPullJSON(l.pull)
			j.Pull = &p
		}
		list.Slots = append(list.Slots, j)
	}
	return send(w, list)
}

// slotSince is when a run took its slot.
func slotSince(r run.Run) time.Time {
	if !r.ApplyStarted.IsZero() {
		return r.ApplyStarted
	}
	return r.Started
}

// DELETE /api/v1/locks?host=…&repo=…&pull=…: frees what a pull request holds, or the named project of it.
func (h *Handler) apiUnlock(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	q := r.URL.Query()
	f, err := h.filter(ctx, q, "host", "repo", "pull", "project")
	if err != nil {
		return err
	}
	if f.Pull == 0 {
		return &refusal{http.StatusBadRequest, "Name the pull request whose locks are to go: host, repo and pull."}
	}
	holds, _, err := h.locks(ctx, h.names())
	if err != nil {
		return err
	}
	var chosen []run.ProjectID
	labels := map[run.ProjectID]string{}
	for _, l := range holds {
		if l.Pull == f.Pull && (!q.Has("project") || l.Project.Label == q.Get("project") || l.Project.Dir == q.Get("project")) {
			chosen, labels[l.Project.ID] = append(chosen, l.Project.ID), l.Project.Label
		}
	}
	if len(chosen) == 0 {
		if q.Has("project") {
			return &refusal{http.StatusNotFound, fmt.Sprintf("That pull request does not hold %q. GET /api/v1/locks lists what is held.", q.Get("project"))}
		}
		return &refusal{http.StatusNotFound, "That pull request holds nothing."}
	}
	freed, err := operator.Unlock(ctx, h.Store, f.Pull, admin, chosen...)
	if err != nil {
		return err
	}
	out := struct {
		Freed []string `json:"freed"`
		Kept  []string `json:"kept"`
	}{[]string{}, []string{}}
	for _, p := range chosen {
		if slices.Contains(freed, p) {
			out.Freed = append(out.Freed, labels[p])
		} else {
			out.Kept = append(out.Kept, labels[p])
		}
	}
	if len(out.Freed) == 0 {
		return &refusal{http.StatusConflict, "A run is still using " + strings.Join(out.Kept, ", ") + ", or has left it in doubt. Cancel the run, or acknowledge it."}
	}
	return send(w, out)
}
