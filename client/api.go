package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Pull is a pull request.
type Pull struct {
	Number int    `json:"number"`
	Title  string `json:"title"`
	Author string `json:"author"`
	URL    string `json:"url"`
}

// Run is a run as it is listed. docs/api.md says what the fields mean.
type Run struct {
	ID         string `json:"id"`
	URL        string `json:"url"`
	State      string `json:"state"`
	Reason     string `json:"reason"`
	Kind       string `json:"kind"`
	Host       string `json:"host"`
	Repo       string `json:"repo"`
	Pull       *Pull  `json:"pull"`
	Project    string `json:"project"`
	Head       string `json:"head"`
	Actor      string `json:"actor"`
	Tool       string `json:"tool"`
	StateSaved bool   `json:"state_saved"`
	Counts     struct {
		Add     int `json:"add"`
		Change  int `json:"change"`
		Replace int `json:"replace"`
		Destroy int `json:"destroy"`
	} `json:"counts"`
	Created      time.Time  `json:"created"`
	Planned      *time.Time `json:"planned"`
	ConfirmedBy  string     `json:"confirmed_by"`
	ApplyStarted *time.Time `json:"apply_started"`
	Finished     *time.Time `json:"finished"`
}

// Gate is one thing that must hold before an apply.
type Gate struct {
	Name  string `json:"name"`
	Holds bool   `json:"holds"`
	Text  string `json:"text"`
}

// Detail is one run with what stops it.
type Detail struct {
	Run
	Ahead   int      `json:"ahead"`
	HeldBy  string   `json:"held_by"`
	Waits   string   `json:"waits"`   // why nothing of the queue starts
	Removed []string `json:"removed"` // what retention took, in words
	Gates   []Gate   `json:"gates"`
	Failure string   `json:"failure"`
}

// Filter narrows a listing of runs and audit rows; zero fields match all. Repo is written host/owner/name.
type Filter struct {
	Repo    string
	Pull    int
	Project string   // runs
	States  []string // runs
	Prefix  string   // runs
	Run     string   // audit
	Actor   string   // audit
	Action  string   // audit
	Outcome string   // audit
	Since   string   // audit: a day or a time
	Until   string   // audit
	Before  string   // the next of the page before
	Limit   int
}

func (f Filter) query() url.Values {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	place(q, f.Repo, f.Pull)
	for name, value := range map[string]string{
		"project": f.Project, "id": f.Prefix, "run": f.Run, "actor": f.Actor, "action": f.Action, "outcome": f.Outcome, "since": f.Since,
		"until": f.Until, "before": f.Before,
	} {
		set(name, value)
	}
	if f.Limit > 0 {
		set("limit", strconv.Itoa(f.Limit))
	}
	for _, s := range f.States {
		q.Add("state", s)
	}
	return q
}

// place names a repository, and perhaps a pull request of it.
func place(q url.Values, repo string, pull int) {
	if host, name, ok := strings.Cut(repo, "/"); ok {
		q.Set("host", host)
		q.Set("repo", name)
	}
	if pull > 0 {
		q.Set("pull", strconv.Itoa(pull))
	}
}

// Runs lists a page of runs, newest first; next is empty on the last one.
func (c *Client) Runs(ctx context.Context, f Filter) (runs []Run, next string, raw []byte, err error) {
	var page struct {
		Runs []Run  `json:"runs"`
		Next string `json:"next"`
	}
	raw, err = c.ask(ctx, http.MethodGet, "/api/v1/runs", f.query(), nil, &page)
	return page.Runs, page.Next, raw, err
}

// Run returns one run by its whole id.
func (c *Client) Run(ctx context.Context, id string) (d Detail, raw []byte, err error) {
	raw, err = c.ask(ctx, http.MethodGet, "/api/v1/runs/"+url.PathEscape(id), nil, nil, &d)
	return d, raw, err
}

// Find returns the id of the one run that begins like this. Errors: ErrAmbiguous, a [*Problem] with 404.
func (c *Client) Find(ctx context.Context, prefix string) (string, error) {
	prefix = strings.ToUpper(strings.TrimSpace(prefix))
	runs, _, _, err := c.Runs(ctx, Filter{Prefix: prefix, Limit: 4})
	if err != nil {
		return "", err
	}
	switch {
	case prefix == "" || len(runs) == 0:
		return "", &Problem{Status: http.StatusNotFound, Detail: fmt.Sprintf("there is no run %s; `planlatch runs` lists them", prefix)}
	case len(runs) > 1:
		var ids []string
		for _, r := range runs[:min(3, len(runs))] {
			ids = append(ids, r.ID)
		}
		more := ""
		if len(runs) > 3 {
			more = ", …"
		}
		return "", fmt.Errorf("%w: %s: write more of it: %s%s", ErrAmbiguous, prefix, strings.Join(ids, ", "), more)
	}
	return runs[0].ID, nil
}

// Apply confirms the plan of a push without a pull request.
func (c *Client) Apply(ctx context.Context, id string) (r Run, raw []byte, err error) {
	raw, err = c.ask(ctx, http.MethodPost, "/api/v1/runs/"+url.PathEscape(id)+"/apply", nil, nil, &r)
	return r, raw, err
}

// Cancel stops a run.
func (c *Client) Cancel(ctx context.Context, id string) (r Run, raw []byte, err error) {
	raw, err = c.ask(ctx, http.MethodPost, "/api/v1/runs/"+url.PathEscape(id)+"/cancel", nil, nil, &r)
	return r, raw, err
}

// Acknowledge settles a run that waits for a person. project repeats its project's name.
func (c *Client) Acknowledge(ctx context.Context, id, project string) (r Run, raw []byte, err error) {
	raw, err = c.ask(ctx, http.MethodPost, "/api/v1/runs/"+url.PathEscape(id)+"/acknowledge", nil, map[string]string{"project": project}, &r)
	return r, raw, err
}

// PushState writes the state that a run's apply could not save to its backend and settles the run. project repeats its project's name.
func (c *Client) PushState(ctx context.Context, id, project string) (r Run, raw []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, forTheTools)
	defer cancel()
	raw, err = c.ask(ctx, http.MethodPost, "/api/v1/runs/"+url.PathEscape(id)+"/state", nil, map[string]string{"project": project}, &r)
	return r, raw, err
}

// Lock is a project that a pull request holds, or a run works on.
type Lock struct {
	Host       string     `json:"host"`
	Repo       string     `json:"repo"`
	Project    string     `json:"project"`
	Pull       *Pull      `json:"pull"`
	Since      *time.Time `json:"since"`
	Run        string     `json:"run"`         // of a slot
	State      string     `json:"state"`       // of a slot
	StateSaved bool       `json:"state_saved"` // of a slot
	Why        string     `json:"why"`         // of a slot
}

// Locks lists what is held, and what runs work on or have left in doubt.
func (c *Client) Locks(ctx context.Context) (holds, slots []Lock, raw []byte, err error) {
	var list struct {
		Locks []Lock `json:"locks"`
		Slots []Lock `json:"slots"`
	}
	raw, err = c.ask(ctx, http.MethodGet, "/api/v1/locks", nil, nil, &list)
	return list.Locks, list.Slots, raw, err
}

// Unlock frees what a pull request holds, or the named project of it.
func (c *Client) Unlock(ctx context.Context, repo string, pull int, project string) (freed, kept []string, raw []byte, err error) {
	q := url.Values{}
	place(q, repo, pull)
	if project != "" {
		q.Set("project", project)
	}
	var out struct{ Freed, Kept []string }
	raw, err = c.ask(ctx, http.MethodDelete, "/api/v1/locks", q, nil, &out)
	return out.Freed, out.Kept, raw, err
}

// Pause is a freeze.
type Pause struct {
	Match   string    `json:"match"`
	Actor   string    `json:"actor"`
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
	Waiting int       `json:"waiting"`
}

// Pauses lists what is frozen.
func (c *Client) Pauses(ctx context.Context) (all []Pause, raw []byte, err error) {
	var list struct {
		Pauses []Pause `json:"pauses"`
	}
	raw, err = c.ask(ctx, http.MethodGet, "/api/v1/pauses", nil, nil, &list)
	return list.Pauses, raw, err
}

// Pause freezes applies of what match selects; empty is everything.
func (c *Client) Pause(ctx context.Context, match, reason string) (p Pause, raw []byte, err error) {
	raw, err = c.ask(ctx, http.MethodPost, "/api/v1/pauses", nil, map[string]string{"match": match, "reason": reason}, &p)
	return p, raw, err
}

// Resume ends the pause with exactly this selector; empty is everything.
func (c *Client) Resume(ctx context.Context, match string) error {
	q := url.Values{}
	if match != "" {
		q.Set("match", match)
	}
	_, err := c.ask(ctx, http.MethodDelete, "/api/v1/pauses", q, nil, nil)
	return err
}

// Audit is one row: who did what, and what came of it.
type Audit struct {
	ID      int64     `json:"id"`
	At      time.Time `json:"at"`
	Actor   string    `json:"actor"`
	Action  string    `json:"action"`
	Host    string    `json:"host"`
	Repo    string    `json:"repo"`
	Pull    int       `json:"pull"`
	Run     string    `json:"run"`
	Outcome string    `json:"outcome"`
	Detail  string    `json:"detail"`
}

// Audit lists a page of rows, newest first; next is 0 on the last one.
func (c *Client) Audit(ctx context.Context, f Filter) (rows []Audit, next int64, err error) {
	var page struct {
		Audit []Audit `json:"audit"`
		Next  int64   `json:"next"`
	}
	_, err = c.ask(ctx, http.MethodGet, "/api/v1/audit", f.query(), nil, &page)
	return page.Audit, page.Next, err
}

// Export writes all rows that the filter lets through, one JSON object a line, however long it takes.
func (c *Client) Export(ctx context.Context, f Filter, to io.Writer) error {
	q := f.query()
	q.Set("format", "jsonl")
	return c.copy(ctx, "/api/v1/audit", q, to)
}

// ErroredState writes the state that a run's apply could not save.
func (c *Client) ErroredState(ctx context.Context, id string, to io.Writer) error {
	return c.copy(ctx, "/api/v1/runs/"+url.PathEscape(id)+"/errored-state", nil, to)
}

func (c *Client) copy(ctx context.Context, path string, q url.Values, to io.Writer) error {
	res, err := c.send(ctx, http.MethodGet, path, q, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(to, res.Body); err != nil {
		return fmt.Errorf("the answer of %s was cut off: %w", c.base, err)
	}
	return nil
}
