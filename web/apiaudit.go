package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/planlatch/planlatch/run"
)

type auditJSON struct {
	ID      int64     `json:"id"`
	At      time.Time `json:"at"`
	Actor   string    `json:"actor"`
	Action  string    `json:"action"`
	Host    string    `json:"host"`
	Repo    string    `json:"repo"`
	Pull    int       `json:"pull"`
	Run     run.ID    `json:"run"`
	Outcome string    `json:"outcome"`
	Detail  string    `json:"detail"`
}

// GET /api/v1/audit: who did what, newest first, narrowed by who, what, when and where; as pages, or all of it with format=jsonl.
func (h *Handler) apiAudit(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	q := r.URL.Query()
	f, err := h.auditFilter(ctx, q, "format")
	if err != nil {
		return err
	}
	n := h.names()
	switch q.Get("format") {
	case "jsonl":
		return h.auditLines(ctx, w, n, f, q.Has("limit"))
	case "", "json":
	default:
		return &refusal{http.StatusBadRequest, "format is json or jsonl."}
	}
	list := struct {
		Audit []auditJSON `json:"audit"`
		Next  int64       `json:"next"`
	}{Audit: []auditJSON{}}
	rows, next, err := h.auditRows(ctx, f)
	if err != nil {
		return err
	}
	for _, a := range rows {
		j, err := auditRow(ctx, n, a)
		if err != nil {
			return err
		}
		list.Audit = append(list.Audit, j)
	}
	list.Next = next
	return send(w, list)
}

// auditLines writes one row per line, page after page.
func (h *Handler) auditLines(ctx context.Context, w http.ResponseWriter, n *names, f run.AuditFilter, once bool) error {
	if !once {
		f.Limit = limitMax
	}
	for first := true; ; first = false {
		rows, next, err := h.auditRows(ctx, f)
		if err != nil {
			if first {
				return err
			}
			h.Log.Error("the export of the audit was cut off", "error", err)
			panic(http.ErrAbortHandler) // half an export must not look whole
		}
		if first {
			w.Header().Set("Content-Type", "application/x-ndjson")
		}
		for _, a := range rows {
			j, err := auditRow(ctx, n, a)
			var line []byte
			if err == nil {
				line, err = json.Marshal(j)
			}
			if err != nil {
				h.Log.Error("the export of the audit was cut off", "error", err)
				panic(http.ErrAbortHandler)
			}
			if _, err := w.Write(append(seen(line), '\n')); err != nil {
				return errAnswered // whoever asked is gone
			}
		}
		if f.Before = next; next == 0 || once {
			return nil
		}
	}
}

// auditRows returns a page of rows and where the next one begins; 0 when there is none.
func (h *Handler) auditRows(ctx context.Context, f run.AuditFilter) (rows []run.Audit, next int64, err error) {
	limit := f.Limit
	f.Limit++
	if rows, err = h.Store.AuditRows(ctx, f); err != nil {
		return nil, 0, err
	}
	if len(rows) > limit {
		rows = rows[:limit]
		next = rows[limit-1].ID
	}
	return rows, next, nil
}

func auditRow(ctx context.Context, n *names, a run.Audit) (auditJSON, error) {
	repo, err := n.repo(ctx, a.Repo)
	if err != nil {
		return auditJSON{}, err
	}
	pull, err := n.pull(ctx, a.Pull)
	if err != nil {
		return auditJSON{}, err
	}
	return auditJSON{
		ID: a.ID, At: a.At.UTC(), Actor: a.Actor, Action: a.Action, Host: repo.Host, Repo: repo.Name, Pull: pull.Number, Run: a.Run, Outcome: a.Outcome,
		Detail: a.Detail,
	}, nil
}

// auditFilter reads the query of API and page; also names further parameters they know.
func (h *Handler) auditFilter(ctx context.Context, q url.Values, also ...string) (run.AuditFilter, error) {
	common, err := h.filter(ctx, q, append([]string{"host", "repo", "pull", "run", "actor", "action", "outcome", "since", "until", "before", "limit"}, also...)...)
	if err != nil {
		return run.AuditFilter{}, err
	}
	f := run.AuditFilter{
		Repo: common.Repo, Pull: common.Pull, Limit: common.Limit, Run: run.ID(q.Get("run")), Actor: q.Get("actor"), Action: q.Get("action"),
		Outcome: q.Get("outcome"),
	}
	for name, to := range map[string]*time.Time{"since": &f.Since, "until": &f.Until} {
		if s := q.Get(name); s != "" {
			if *to, err = moment(s); err != nil {
				return f, &refusal{http.StatusBadRequest, fmt.Sprintf("%s is a day or a time, as 2026-11-22 or 2026-11-22T10:00:00Z.", name)}
			}
		}
	}
	if s := q.Get("before"); s != "" {
		if f.Before, err = strconv.ParseInt(s, 10, 64); err != nil || f.Before < 1 {
			return f, &refusal{http.StatusBadRequest, "before is the next of the page before."}
		}
	}
	return f, nil
}

func moment(s string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, nil
	}
	return time.Parse(time.RFC3339, s)
}
