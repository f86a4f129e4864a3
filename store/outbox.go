package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/planlatch/planlatch/run"
)

type postingRow struct {
	bun.BaseModel `bun:"table:postings,alias:t"`
	ID            int64 `bun:",pk,autoincrement"`
	Kind          string
	Repo          int64
	Pull          int64
	Subject       string
	Run           string
	Body          string // sealed: an answer may quote the tool
	Wanted        int64
	Posted        int64
	Digest        string
	External      string
	Attempts      int
	NextAt        int64
	Dead          bool
	Error         string
}

// opened turns rows into postings.
func (s *Store) opened(ctx context.Context, rows []postingRow) ([]run.Posting, error) {
	all := make([]run.Posting, len(rows))
	for i, r := range rows {
		body, err := s.unsealText(ctx, r.Body)
		if err != nil {
			return nil, fmt.Errorf("read posting %d: %w", r.ID, err)
		}
		all[i] = run.Posting{
			ID: r.ID, Kind: run.PostingKind(r.Kind), Repo: run.RepoID(r.Repo), Pull: run.PullID(r.Pull), Key: r.Subject, Run: run.ID(r.Run),
			Body: body, Wanted: r.Wanted, Posted: r.Posted, Digest: r.Digest, External: r.External, Attempts: r.Attempts,
			NextAt: moment(r.NextAt), Dead: r.Dead, Error: r.Error,
		}
	}
	return all, nil
}

type commentRow struct {
	bun.BaseModel `bun:"table:comments"`
	Repo          int64  `bun:",pk"`
	Comment       string `bun:",pk"`
}

// Want asks for postings outside Advance.
func (s *Store) Want(ctx context.Context, ps ...run.Posting) error {
	if len(ps) == 0 {
		return nil
	}
	return s.write(ctx, "want postings", "", func(ctx context.Context, t *tx) error {
		now, err := t.stamp(ctx)
		if err != nil {
			return err
		}
		return s.want(ctx, t, now, ps)
	})
}

// want inserts postings or raises Wanted of those that are there. One that is named several times is wanted once more, and has the last
// body that is not empty. One that was not due becomes due now, or when NextAt says; one that is being retried keeps its turn; a dead one
// lives again, since there is something new to say.
func (s *Store) want(ctx context.Context, t *tx, now int64, ps []run.Posting) error {
	t.kick = t.kick || len(ps) > 0
	type key struct {
		kind    run.PostingKind
		repo    run.RepoID
		subject string
	}
	byKey := map[key]*postingRow{}
	var rows []*postingRow
	for _, p := range ps {
		k := key{p.Kind, p.Repo, p.Key}
		row := byKey[k]
		if row == nil {
			row = &postingRow{Kind: string(p.Kind), Repo: int64(p.Repo), Subject: p.Key, Wanted: 1, NextAt: now}
			byKey[k], rows = row, append(rows, row)
		}
		row.Pull, row.Run = cmp.Or(int64(p.Pull), row.Pull), cmp.Or(string(p.Run), row.Run)
		row.Body = cmp.Or(p.Body, row.Body)
		if !p.NextAt.IsZero() {
			row.NextAt = micros(p.NextAt)
		}
	}
	// One order for all writers, so that two of them do not lock each other out.
	slices.SortFunc(rows, func(a, b *postingRow) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Repo, b.Repo), cmp.Compare(a.Subject, b.Subject))
	})
	for _, row := range rows {
		cleaned(row)
		if row.Kind != string(run.PostReply) {
			continue // the others say what to look at, and are rendered when they are sent
		}
		sealed, err := s.sealText(ctx, s.hide(row.Body))
		if err != nil {
			return fmt.Errorf("want postings: %w", err)
		}
		row.Body = sealed
	}
	for batch := range slices.Chunk(rows, 100) {
		_, err := t.NewInsert().Model(&batch).On("CONFLICT (kind, repo, subject) DO UPDATE").
			Set("next_at = CASE WHEN t.wanted > t.posted AND NOT t.dead THEN t.next_at ELSE excluded.next_at END").
			Set("attempts = CASE WHEN t.dead OR t.wanted = t.posted THEN 0 ELSE t.attempts END").
			Set("wanted = t.wanted + 1").
			Set("dead = ?", false).
			Set("body = CASE WHEN excluded.body = '' THEN t.body ELSE excluded.body END").
			Set("pull = CASE WHEN excluded.pull = 0 THEN t.pull ELSE excluded.pull END").
			Set("run = CASE WHEN excluded.run = '' THEN t.run ELSE excluded.run END").
			Returning("NULL").Exec(ctx)
		if err != nil {
			return domain("want postings", err)
		}
	}
	return nil
}

// Due lists postings to be sent, those first whose turn came first.
func (s *Store) Due(ctx context.Context, limit int) ([]run.Posting, error) {
	now, err := s.clock(ctx)
	if err != nil {
		return nil, err
	}
	var rows []postingRow
	if err := s.read.NewSelect().Model(&rows).Where("wanted > posted AND NOT dead AND next_at <= ?", now).Order("next_at", "id").
		Limit(limitOf(limit)).Scan(ctx); err != nil {
		return nil, domain("list postings", err)
	}
	return s.opened(ctx, rows)
}

// Postings lists postings, newest first.
func (s *Store) Postings(ctx context.Context, f run.PostingFilter) ([]run.Posting, error) {
	var rows []postingRow
	q := s.read.NewSelect().Model(&rows).Order("id DESC").Limit(limitOf(f.Limit))
	if f.Kind != "" {
		q = q.Where("kind = ?", string(f.Kind))
	}
	if f.Repo != 0 {
		q = q.Where("repo = ?", int64(f.Repo))
	}
	if f.Key != "" {
		q = q.Where("subject = ?", f.Key)
	}
	if f.Dead {
		q = q.Where("wanted > posted AND dead") // the first half is that of an index
	}
	if err := q.Scan(ctx); err != nil {
		return nil, domain("list postings", err)
	}
	return s.opened(ctx, rows)
}

// Posted records success for the Wanted that p carries.
func (s *Store) Posted(ctx context.Context, p run.Posting, shows run.Shows) error {
	return s.write(ctx, "record posting", "posted", func(ctx context.Context, t *tx) error {
		now, err := t.stamp(ctx)
		if err != nil {
			return err
		}
		var row postingRow
		if err := t.NewUpdate().Model(&row).Set("posted = CASE WHEN posted < ? THEN ? ELSE posted END", p.Wanted, p.Wanted).
			Set("digest = ?", clean(p.Digest)).Set("external = ?", clean(p.External)).Set("attempts = 0").Set("error = ''").Set("dead = ?", false).
			Set("next_at = ?", now).Where("id = ?", p.ID).Returning("*").Scan(ctx); err != nil {
			return err
		}
		if row.External != "" && run.PostingKind(row.Kind).Comment() {
			if _, err := t.NewInsert().Model(&commentRow{Repo: row.Repo, Comment: row.External}).On("CONFLICT DO NOTHING").Exec(ctx); err != nil {
				return err
			}
		}
		if shows.Revision != 0 {
			_, err = t.NewUpdate().Model((*revisionRow)(nil)).Set("posted = ?", now).Where("id = ? AND posted = 0", int64(shows.Revision)).Exec(ctx)
		}
		if err == nil && len(shows.Plans) > 0 {
			_, err = t.NewUpdate().Model((*runRow)(nil)).Set("posted = ?", now).Where("id IN (?) AND posted = 0", bun.List(shows.Plans)).Exec(ctx)
		}
		return err
	})
}

// Unposted records a failed attempt. A posting that was wanted again meanwhile does not die of it.
func (s *Store) Unposted(ctx context.Context, p run.Posting) error {
	return s.write(ctx, "record failed posting", "", func(ctx context.Context, t *tx) error {
		now, err := t.stamp(ctx)
		if err != nil {
			return err
		}
		if !p.NextAt.IsZero() { // a wait from now: the caller's clock is not the one that Due goes by
			now += time.Until(p.NextAt).Microseconds()
		}
		res, err := t.NewUpdate().Model((*postingRow)(nil)).Set("attempts = ?", p.Attempts).Set("next_at = ?", now).
			Set("dead = ? AND wanted = ?", p.Dead, p.Wanted).Set("error = ?", clean(s.hide(p.Error))).Where("id = ?", p.ID).Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return fmt.Errorf("posting %d: %w", p.ID, run.ErrNotFound)
		}
		return nil
	})
}

// OwnComment says whether we ever posted the comment.
func (s *Store) OwnComment(ctx context.Context, repo run.RepoID, comment string) (bool, error) {
	own, err := s.read.NewSelect().Model((*commentRow)(nil)).Where("repo = ? AND comment = ?", int64(repo), comment).Exists(ctx)
	return own, domain("look for comment", err)
}
