package web

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
)

// recentMax is how many ended runs the start page lists, and each of its other lists at most.
const (
	recentMax = 40
	listMax   = 100
)

// homeView is the start page: what runs, what waits and for whom, what ended, who holds what, and what started nothing.
type homeView struct {
	Now      time.Time
	Empty    bool
	Webhooks []string // addresses to give to VCS hosts
	Pauses   []pauseView
	Short    []run.Node // that start no run now
	Lists    []runList
	Locks    []lockRow
	Unsaid   []unsaidRow // what could not be posted
	Ignored  []ignoredRow
}

// unsaidRow is a posting that was given up on. Error is what the other side said; no address or token is in it.
type unsaidRow struct {
	What, Where, Error string
}

type runList struct {
	Title string
	Rows  []runRow
	More  int
}

// runRow is a run in one line.
type runRow struct {
	Href    string
	State   badge
	Project string
	Repo    string
	Pull    int
	PullURL string
	Title   string
	Counts  []chip
	Note    string
	Age     string
	At      time.Time
}

type pauseView struct {
	Match, Actor, Reason, Age string
	At                        time.Time
}

type lockRow struct {
	Project, Repo, Title, Author string
	Pull                         int
	PullURL                      string
}

type ignoredRow struct {
	Ignored
	Age string
}

// badge is a state as people read it. Class is a colour: run, wait, ok, warn, bad or off.
type badge struct{ Text, Class string }

func badgeOf(r run.Run) badge {
	switch {
	case r.Unsaved:
		return badge{"state not saved", "bad"}
	case r.State == run.Failed && !r.ApplyStarted.IsZero():
		return badge{"apply failed", "bad"}
	}
	switch r.State {
	case run.Queued:
		return badge{"queued", "wait"}
	case run.Planning:
		return badge{"planning", "run"}
	case run.Planned:
		return badge{"planned", "warn"}
	case run.Unchanged:
		return badge{"no changes", "ok"}
	case run.Confirmed:
		return badge{"waits to apply", "wait"}
	case run.Applying:
		return badge{"applying", "run"}
	case run.Applied:
		return badge{"applied", "ok"}
	case run.Failed:
		return badge{"plan failed", "bad"}
	case run.Interrupted:
		return badge{"interrupted", "bad"}
	case run.Canceled:
		return badge{"canceled", "off"}
	case run.Superseded:
		return badge{"superseded", "off"}
	}
	return badge{string(r.State), "off"}
}

// nodeAlive is how lately a node that works must have beaten.
const nodeAlive = 30 * time.Second

// GET /: the queue and recent runs.
func (h *Handler) home(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	v := homeView{Now: h.Now()}
	n := h.names()
	if err := h.homeRuns(ctx, &v, n); err != nil {
		return err
	}
	nodes, err := h.Store.Nodes(ctx, nodeAlive)
	if err != nil {
		return err
	}
	v.Short = slices.DeleteFunc(nodes, func(n run.Node) bool { return n.Note == "" })
	pauses, err := h.Store.Pauses(ctx)
	if err != nil {
		return err
	}
	for _, p := range pauses {
		v.Pauses = append(v.Pauses, pauseView{Match: p.Match, Actor: p.Actor, Reason: p.Reason, At: p.At, Age: ago(v.Now, p.At)})
	}
	locks, _, err := h.locks(ctx, n)
	if err != nil {
		return err
	}
	for _, l := range locks {
		v.Locks = append(v.Locks, lockRow{
			Project: l.Project.Label, Repo: l.repo.Name, Pull: l.pull.Number, PullURL: outside(l.pull.URL), Title: l.pull.Title, Author: l.pull.Author,
		})
	}
	if v.Unsaid, err = h.unsaid(ctx); err != nil {
		return err
	}
	for i, d := range h.Ignored() {
		if i == listMax {
			break
		}
		v.Ignored = append(v.Ignored, ignoredRow{Ignored: d, Age: ago(v.Now, d.At)})
	}
	hosts := h.Hosts
	if len(hosts) == 0 {
		hosts = []string{"NAME"}
	}
	for _, name := range hosts {
		v.Webhooks = append(v.Webhooks, strings.TrimRight(h.URL, "/")+"/webhooks/"+name)
	}
	return h.render(w, r, http.StatusOK, "home", "Runs", v)
}

// unsaid lists what was given up on: nobody was told of it.
func (h *Handler) unsaid(ctx context.Context) ([]unsaidRow, error) {
	dead, err := h.Store.Postings(ctx, run.PostingFilter{Dead: true, Limit: recentMax})
	if err != nil {
		return nil, err
	}
	var rows []unsaidRow
	for _, p := range dead {
		row := unsaidRow{What: strings.ReplaceAll(string(p.Kind), "_", " "), Error: p.Error}
		if p.Kind == run.PostChat || p.Kind == run.PostEvent {
			channel, _, _ := strings.Cut(p.Key, "/")
			row.What = "notify " + channel
		}
		repo, err := h.Store.Repo(ctx, p.Repo)
		if err != nil {
			return nil, err
		}
		row.Where = repo.Name
		if p.Pull != 0 {
			pull, err := h.Store.Pull(ctx, p.Pull)
			if err != nil {
				return nil, err
			}
			row.Where += " #" + strconv.Itoa(pull.Number)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// homeRuns fills the lists of runs, what runs now first.
func (h *Handler) homeRuns(ctx context.Context, v *homeView, n *names) error {
	list := func(title string, limit int, states ...run.State) error {
		runs, err := h.Store.Runs(ctx, run.Filter{States: states, Limit: limit + 1})
		if err != nil {
			return err
		}
		l := runList{Title: title}
		for _, r := range runs[:min(limit, len(runs))] {
			row, err := h.row(ctx, n, r, v.Now)
			if err != nil {
				return err
			}
			l.Rows = append(l.Rows, row)
		}
		v.add(l, len(runs)-limit)
		return nil
	}
	if err := list("Running now", listMax, run.Applying, run.Planning); err != nil {
		return err
	}
	waiting, more, err := h.queue(ctx)
	if err != nil {
		return err
	}
	l := runList{Title: "In the queue"}
	for _, p := range waiting {
		row, err := h.row(ctx, n, p.run, v.Now)
		if err != nil {
			return err
		}
		row.Note = "next"
		if p.ahead > 0 {
			row.Note = count(p.ahead, "run ahead", "runs ahead")
		}
		l.Rows = append(l.Rows, row)
	}
	v.add(l, more)
	if err := list("Need a person", listMax, run.Interrupted); err != nil {
		return err
	}
	if err := list("Planned, not applied yet", listMax, run.Planned); err != nil {
		return err
	}
	if err := list("Ended", recentMax, run.Applied, run.Failed, run.Unchanged, run.Canceled, run.Superseded); err != nil {
		return err
	}
	v.Empty = len(v.Lists) == 0
	return nil
}

func (v *homeView) add(l runList, more int) {
	if len(l.Rows) == 0 {
		return
	}
	l.More = max(0, more)
	v.Lists = append(v.Lists, l)
}

func (h *Handler) row(ctx context.Context, n *names, r run.Run, now time.Time) (runRow, error) {
	repo, err := n.repo(ctx, r.Repo)
	if err != nil {
		return runRow{}, err
	}
	pull, err := n.pull(ctx, r.Pull)
	if err != nil {
		return runRow{}, err
	}
	row := runRow{
		Href: h.base + runPath(r.ID), State: badgeOf(r), Project: label(r), Repo: repo.Name, Pull: pull.Number, PullURL: outside(pull.URL),
		Title: pull.Title, Note: r.Reason, At: since(r), Age: ago(now, since(r)),
	}
	if !r.Planned.IsZero() {
		row.Counts = chips(r.Counts)
	}
	if r.State.Running() && row.Note == "" {
		row.Note = "for " + report.Took(max(0, now.Sub(since(r))))
	}
	return row, nil
}

// since is when a run got where it is.
func since(r run.Run) time.Time {
	switch r.State { //nolint:exhaustive // the others have ended, or wait
	case run.Queued:
		return r.Created
	case run.Planning:
		return r.Started
	case run.Planned:
		return r.Planned
	case run.Confirmed:
		return r.Confirmed
	case run.Applying, run.Interrupted:
		return r.ApplyStarted
	}
	return slices.MaxFunc([]time.Time{r.Finished, r.Planned, r.Created}, time.Time.Compare)
}

func label(r run.Run) string {
	if r.Label == "" {
		return r.Dir
	}
	return r.Label
}

// outside is an address on another site, or nothing: it comes from a host's answer, and only web addresses are linked.
func outside(address string) string {
	if strings.HasPrefix(address, "https://") || strings.HasPrefix(address, "http://") {
		return address
	}
	return ""
}

// chip is one number of a plan.
type chip struct {
	N           int
	Text, Class string
}

func chips(c run.Counts) []chip {
	var out []chip
	for _, ch := range []chip{
		{c.Replace, "replace", "bad"}, {c.Destroy, "destroy", "bad"}, {c.Add, "add", "ok"}, {c.Change, "change", "warn"}, {c.Import, "import", "off"},
		{c.Forget, "forget", "warn"}, {c.Move, "move", "off"}, {c.Outputs, "outputs", "off"},
	} {
		if ch.N > 0 {
			out = append(out, ch)
		}
	}
	return out
}
