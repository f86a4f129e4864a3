package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/planlatch/planlatch/run"
)

// The JSON of the API. docs/api.md shows each with an example; a test keeps the two in step. Times are RFC 3339 in UTC and null until they
// have come.

type runJSON struct {
	ID           run.ID     `json:"id"`
	URL          string     `json:"url"`
	State        run.State  `json:"state"`
	Reason       string     `json:"reason"`
	Kind         run.Kind   `json:"kind"`
	Host         string     `json:"host"`
	Repo         string     `json:"repo"`
	Pull         *pullJSON  `json:"pull"`
	Project      string     `json:"project"`
	Dir          string     `json:"dir"`
	Workspace    string     `json:"workspace"`
	Head         string     `json:"head"`
	Base         string     `json:"base"`
	Actor        string     `json:"actor"`
	Tool         string     `json:"tool"`
	Partial      bool       `json:"partial"`
	StateSaved   bool       `json:"state_saved"`
	Counts       countsJSON `json:"counts"`
	Node         string     `json:"node"`
	Attempt      int        `json:"attempt"`
	Created      *time.Time `json:"created"`
	Started      *time.Time `json:"started"`
	Planned      *time.Time `json:"planned"`
	Confirmed    *time.Time `json:"confirmed"`
	ConfirmedBy  string     `json:"confirmed_by"`
	ApplyStarted *time.Time `json:"apply_started"`
	Finished     *time.Time `json:"finished"`
}

type pullJSON struct {
	Number int    `json:"number"`
	Title  string `json:"title"`
	Author string `json:"author"`
	URL    string `json:"url"`
}

type countsJSON struct {
	Add     int `json:"add"`
	Change  int `json:"change"`
	Replace int `json:"replace"`
	Destroy int `json:"destroy"`
	Import  int `json:"import"`
	Forget  int `json:"forget"`
	Move    int `json:"move"`
	Outputs int `json:"outputs"`
}

type queueJSON struct {
	Ahead int     `json:"ahead"`
	Run   runJSON `json:"run"`
}

type ignoredJSON struct {
	At       time.Time `json:"at"`
	Host     string    `json:"host"`
	Delivery string    `json:"delivery"`
	Event    string    `json:"event"`
	Reason   string    `json:"reason"`
}

// GET /api/v1/runs: runs, newest first, narrowed by state, host and repo, pull, project and the beginning of the id; before is the next of the
// page before.
func (h *Handler) apiRuns(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	f, err := h.filter(ctx, r.URL.Query(), "state", "host", "repo", "pull", "project", "id", "before", "limit")
	if err != nil {
		return err
	}
	f.Name, f.Prefix, f.Before = r.URL.Query().Get("project"), strings.ToUpper(r.URL.Query().Get("id")), run.ID(r.URL.Query().Get("before"))
	list := struct {
		Runs []runJSON `json:"runs"`
		Next run.ID    `json:"next"`
	}{Runs: []runJSON{}}
	limit := f.Limit
	f.Limit++ // one more tells whether there is a next page
	runs, err := h.Store.Runs(ctx, f)
	if err != nil {
		return err
	}
	if len(runs) > limit {
		runs = runs[:limit]
		list.Next = runs[limit-1].ID
	}
	n := h.names()
	for _, rn := range runs {
		j, err := h.runJSON(ctx, n, rn)
		if err != nil {
			return err
		}
		list.Runs = append(list.Runs, j)
	}
	return send(w, list)
}

// GET /api/v1/queue: what runs and what waits, next first.
func (h *Handler) apiQueue(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	if _, err := h.filter(ctx, r.URL.Query()); err != nil {
		return err
	}
	list := struct {
		Running []runJSON   `json:"running"`
		Waiting []queueJSON `json:"waiting"`
		More    int         `json:"more"`
	}{Running: []runJSON{}, Waiting: []queueJSON{}}
	running, err := h.Store.Runs(ctx, run.Filter{States: []run.State{run.Planning, run.Applying}})
	if err != nil {
		return err
	}
	n := h.names()
	for _, rn := range running {
		j, err := h.runJSON(ctx, n, rn)
		if err != nil {
			return err
		}
		list.Running = append(list.Running, j)
	}
	waiting, more, err := h.queue(ctx)
	if err != nil {
		return err
	}
	list.More = more
	for _, p := range waiting {
		j, err := h.runJSON(ctx, n, p.run)
		if err != nil {
			return err
		}
		list.Waiting = append(list.Waiting, queueJSON{Ahead: p.ahead, Run: j})
	}
	return send(w, list)
}

// GET /api/v1/deliveries/ignored: webhook deliveries that started nothing, and why, newest first.
func (h *Handler) apiIgnored(w http.ResponseWriter, r *http.Request) error {
	if _, err := h.filter(r.Context(), r.URL.Query()); err != nil {
		return err
	}
	list := struct {
		Ignored []ignoredJSON `json:"ignored"`
	}{Ignored: []ignoredJSON{}}
	for _, d := range h.Ignored() {
		list.Ignored = append(list.Ignored, ignoredJSON{At: d.At.UTC(), Host: d.Host, Delivery: d.ID, Event: d.Event, Reason: d.Reason})
	}
	return send(w, list)
}

// The states that a filter may name.
func states() []run.State {
	return []run.State{
		run.Queued, run.Planning, run.Planned, run.Unchanged, run.Confirmed, run.Applying, run.Applied, run.Failed, run.Interrupted, run.Canceled, run.Superseded,
	}
}

const limitMax = 1000

// filter reads a query. Parameters that the route does not know are refused, so that a typing mistake does not list everything.
func (h *Handler) filter(ctx context.Context, q url.Values, known ...string) (run.Filter, error) {
	f := run.Filter{Limit: 100}
	no := func(format string, args ...any) error {
		return &refusal{http.StatusBadRequest, fmt.Sprintf(format, args...)}
	}
	for key, values := range q {
		if !slices.Contains(known, key) {
			if len(known) == 0 {
				return f, no("This address takes no parameters.")
			}
			return f, no("There is no parameter %q here; there are: %s.", key, strings.Join(known, ", "))
		}
		if len(values) > 1 && key != "state" {
			return f, no("Give %s once.", key)
		}
	}
	for _, s := range q["state"] {
		if !slices.Contains(states(), run.State(s)) {
			return f, no("There is no state %q.", s)
		}
		f.States = append(f.States, run.State(s))
	}
	if s := q.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > limitMax {
			return f, no("limit is a number from 1 to %d.", limitMax)
		}
		f.Limit = n
	}
	host, repo, pull := q.Get("host"), q.Get("repo"), q.Get("pull")
	if (host == "") != (repo == "") || pull != "" && repo == "" {
		return f, no("A repository is named by host and repo together, a pull request by both and pull.")
	}
	if repo == "" {
		return f, nil
	}
	stored, err := h.Store.RepoByName(ctx, host, repo)
	if errors.Is(err, run.ErrNotFound) {
		return f, &refusal{http.StatusNotFound, fmt.Sprintf("No repository %s of %s was ever seen here.", repo, host)}
	}
	if err != nil {
		return f, fmt.Errorf("repository of a filter: %w", err)
	}
	f.Repo = stored.ID
	if pull == "" {
		return f, nil
	}
	number, err := strconv.Atoi(pull)
	if err != nil {
		return f, no("pull is the number of a pull request.")
	}
	p, err := h.Store.PullByNumber(ctx, stored.ID, number)
	if errors.Is(err, run.ErrNotFound) {
		return f, &refusal{http.StatusNotFound, fmt.Sprintf("No pull request #%d of %s was ever seen here.", number, repo)}
	}
	if err != nil {
		return f, fmt.Errorf("pull request of a filter: %w", err)
	}
	f.Pull = p.ID
	return f, nil
}

func (h *Handler) runJSON(ctx context.Context, n *names, r run.Run) (runJSON, error) {
	repo, err := n.repo(ctx, r.Repo)
	if err != nil {
		return runJSON{}, err
	}
	rev, err := n.revision(ctx, r.Revision)
	if err != nil {
		return runJSON{}, err
	}
	j := runJSON{
		ID: r.ID, URL: strings.TrimRight(h.URL, "/") + runPath(r.ID), State: r.State, Reason: r.Reason, Kind: r.Kind, Host: repo.Host, Repo: repo.Name,
		Project: label(r), Dir: r.Dir, Workspace: r.Work, Head: rev.Head, Base: rev.Base, Actor: r.Actor, Tool: r.Tool, Partial: r.Partial,
		StateSaved: !r.Unsaved, Counts: countsJSON(r.Counts), Node: r.Node, Attempt: r.Attempt, Created: when(r.Created), Started: when(r.Started),
		Planned: when(r.Planned), Confirmed: when(r.Confirmed), ConfirmedBy: r.ConfirmedBy, ApplyStarted: when(r.ApplyStarted), Finished: when(r.Finished),
	}
	if r.Pull != 0 {
		pull, err := n.pull(ctx, r.Pull)
		if err != nil {
			return runJSON{}, err
		}
		p := newPullJSON(pull)
		j.Pull = &p
	}
	return j, nil
}

func newPullJSON(p run.Pull) pullJSON {
	return pullJSON{Number: p.Number, Title: p.Title, Author: p.Author, URL: p.URL}
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func send(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(seen(body), '\n')) // whoever asked may be gone
	return nil
}

// seen escapes what a terminal would obey, or would not show, in JSON: programs read the same, and people read it with curl.
func seen(body []byte) []byte {
	if !bytes.ContainsFunc(body, hidden) {
		return body
	}
	out := make([]byte, 0, len(body)+64)
	for _, r := range string(body) {
		switch {
		case !hidden(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}
