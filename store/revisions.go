package store

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/planlatch/planlatch/run"
)

type revisionRow struct {
	bun.BaseModel `bun:"table:revisions,alias:t"`
	ID            int64 `bun:",pk,autoincrement"`
	Repo          int64
	Pull          int64
	Branch        string
	Origin        string
	Head          string
	Base          string
	Tree          string
	Kind          string
	Problems      doc[[]run.Problem]
	Selection     doc[[]run.Selected]
	Notes         doc[[]string]
	Created       int64
	Posted        int64
}

func newRevisionRow(r run.Revision) *revisionRow {
	origin := "branch " + r.Branch
	if r.Pull != 0 {
		origin = fmt.Sprintf("pull %d", r.Pull)
	}
	return cleaned(&revisionRow{
		Repo: int64(r.Repo), Pull: int64(r.Pull), Branch: r.Branch, Origin: origin, Head: r.Head, Base: r.Base, Tree: r.Tree,
		Kind: string(r.Kind), Problems: doc[[]run.Problem]{r.Problems}, Selection: doc[[]run.Selected]{r.Selection},
		Notes: doc[[]string]{r.Notes}, Created: micros(r.Created), Posted: micros(r.Posted),
	})
}

func (r *revisionRow) domain() run.Revision {
	return run.Revision{
		ID: run.RevisionID(r.ID), Repo: run.RepoID(r.Repo), Pull: run.PullID(r.Pull), Branch: r.Branch, Head: r.Head, Base: r.Base,
		Tree: r.Tree, Kind: run.Kind(r.Kind), Problems: r.Problems.V, Selection: r.Selection.V, Notes: r.Notes.V, Created: moment(r.Created),
		Posted: moment(r.Posted),
	}
}

// Revision returns a revision.
func (s *Store) Revision(ctx context.Context, id run.RevisionID) (run.Revision, error) {
	var row revisionRow
	err := s.read.NewSelect().Model(&row).Where("id = ?", int64(id)).Scan(ctx)
	return row.domain(), domain("revision", err)
}

// BranchRevision returns the newest revision of a commit without a pull request.
func (s *Store) BranchRevision(ctx context.Context, repo run.RepoID, head string) (run.Revision, error) {
	var row revisionRow
	err := s.read.NewSelect().Model(&row).Where("repo = ? AND head = ? AND pull = 0", int64(repo), head).Order("id DESC").Limit(1).Scan(ctx)
	return row.domain(), domain("revision of commit "+head, err)
}

// LatestRevision returns the newest revision of a pull request and kind.
func (s *Store) LatestRevision(ctx context.Context, pull run.PullID, kind run.Kind) (run.Revision, error) {
	var row revisionRow
	err := s.read.NewSelect().Model(&row).Where("pull = ? AND kind = ?", int64(pull), string(kind)).OrderExpr(newestRevision).Limit(1).Scan(ctx)
	return row.domain(), domain("revision", err)
}

const newestRevision = "created DESC, id DESC"

// insertRevision inserts the revision or returns the one that is there.
func insertRevision(ctx context.Context, t *tx, r run.Revision, now int64) (run.Revision, error) {
	row := newRevisionRow(r)
	if row.Created == 0 {
		row.Created = now
	}
	at := row.Created
	// Updating nothing makes both engines return the row, and PostgreSQL lock it.
	err := t.NewInsert().Model(row).On("CONFLICT (repo, origin, head, base, kind) DO UPDATE").Set("repo = excluded.repo").Returning("*").Scan(ctx)
	if err != nil {
		return run.Revision{}, domain("insert revision", err)
	}
	if row.Created != at && row.Pull != 0 {
		if err := returnTo(ctx, t, row, r.Branch, now); err != nil {
			return run.Revision{}, domain("return to revision", err)
		}
	}
	return row.domain(), nil
}

// returnTo makes a revision that was there the newest of its pull request again, when a push or a change of the base branch went back to it.
// Its report is to come: what people could see last was another one.
func returnTo(ctx context.Context, t *tx, row *revisionRow, branch string, now int64) error {
	var newest int64
	err := t.NewSelect().Model((*revisionRow)(nil)).Column("id").Where("pull = ? AND kind = ?", row.Pull, row.Kind).
		OrderExpr(newestRevision).Limit(1).Scan(ctx, &newest)
	if err != nil || newest == row.ID && row.Branch == branch {
		return err
	}
	row.Created, row.Branch, row.Posted = now, branch, 0
	_, err = t.NewUpdate().Model(row).Column("created", "branch", "posted").WherePK().Exec(ctx)
	return err
}
