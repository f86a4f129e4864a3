package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/uptrace/bun"

	"github.com/planlatch/planlatch/run"
)

// changeWriter writes one Change in its transaction.
type changeWriter struct {
	store  *Store
	t      *tx
	snap   run.Snapshot
	change run.Change
	now    int64

	heads map[int64]string // of revisions, by id
}

func (w *changeWriter) write(ctx context.Context) (run.Result, error) {
	w.heads = map[int64]string{}
	var result run.Result
	if err := w.pull(ctx); err != nil {
		return result, err
	}
	if w.change.Revision != nil {
		rev, err := insertRevision(ctx, w.t, *w.change.Revision, w.now)
		if err != nil {
			return result, err
		}
		result.Revision = rev
		w.heads[int64(rev.ID)] = rev.Head
	}
	updated, err := w.update(ctx)
	if err != nil {
		return result, err
	}
	inserted, err := w.insert(ctx, result.Revision.ID)
	if err != nil {
		return result, err
	}
	result.Runs = slices.Concat(updated, inserted)
	for _, step := range []func(context.Context) error{w.moved, w.owners, w.findings, w.overrides, w.pauses, w.audit, w.jobs} {
		if err := step(ctx); err != nil {
			return result, err
		}
	}
	wanted, err := w.postings(ctx, result)
	if err != nil {
		return result, err
	}
	return result, w.store.want(ctx, w.t, w.now, wanted)
}

func (w *changeWriter) pull(ctx context.Context) error {
	if w.change.Pull == nil {
		return nil
	}
	row, err := w.store.pullRow(ctx, *w.change.Pull)
	if err != nil {
		return err
	}
	q := w.t.NewUpdate().Model(row).Column(pullColumns()...).WherePK()
	if row.MergeCommit != "" {
		q = q.Column("merge_commit")
	}
	if row.Frozen != nil {
		q = q.Column("frozen")
	}
	res, err := q.Exec(ctx)
	if err != nil {
		return domain("update pull request", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return fmt.Errorf("update pull request %d: %w", row.ID, run.ErrNotFound)
	}
	return nil
}

// update writes the runs that moved. Each must be in the snapshot, and so locked, at the epoch that decide saw.
func (w *changeWriter) update(ctx context.Context) ([]run.Run, error) {
	epochs := make(map[run.ID]run.Run, len(w.snap.Runs))
	for _, r := range w.snap.Runs {
		epochs[r.ID] = r
	}
	var all []run.Run
	var rows, begin []*runRow
	var was []run.Run
	for _, r := range w.change.Runs {
		seen, ok := epochs[r.ID]
		if !ok {
			return nil, fmt.Errorf("advance: run %s is written but not in the scope, or twice", r.ID)
		}
		delete(epochs, r.ID)
		if r.Epoch != seen.Epoch {
			return nil, fmt.Errorf("run %s is at epoch %d, not %d: %w", r.ID, seen.Epoch, r.Epoch, run.ErrMoved)
		}
		r.Epoch++
		row := w.row(r)
		rows, was = append(rows, row), append(was, seen)
		if row.Waiting != waitsNot && waiting(seen.State) == waitsNot && seen.State != run.Planning { // a lost plan keeps its place
			row.Place, row.Repo, row.Revision = 0, int64(seen.Repo), int64(seen.Revision)
			begin = append(begin, row)
		}
	}
	if err := w.places(ctx, begin); err != nil {
		return nil, err
	}
	for n, row := range rows {
		seen := was[n]
		fixed := fixedColumns()
		if slices.Contains(begin, row) {
			fixed = slices.DeleteFunc(fixed, func(c string) bool { return c == "place" })
		}
		q := w.t.NewUpdate().Model(row).ExcludeColumn(fixed...).Where("id = ? AND epoch = ?", row.ID, seen.Epoch)
		res, err := q.Exec(ctx)
		if err != nil {
			return nil, domain("update run "+row.ID, err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return nil, fmt.Errorf("run %s: %w", row.ID, run.ErrMoved)
		}
		stored := row.domain()
		keepFixed(&stored, seen)
		all = append(all, stored)
	}
	return all, nil
}

// row is what is written of a run.
func (w *changeWriter) row(r run.Run) *runRow {
	r.Reason = w.store.hide(r.Reason)
	return newRunRow(r, w.now)
}

// keepFixed makes a returned run tell what is stored where an update does not reach.
func keepFixed(r *run.Run, seen run.Run) {
	r.Repo, r.Revision, r.Pull, r.Project, r.Label, r.Dir, r.Work = seen.Repo, seen.Revision, seen.Pull, seen.Project, seen.Label, seen.Dir, seen.Work
	r.Kind, r.Cause, r.Actor, r.Turn, r.Settings, r.Created, r.Posted = seen.Kind, seen.Cause, seen.Actor, seen.Turn, seen.Settings, seen.Created, seen.Posted
	r.LogGone, r.PlanGone = seen.LogGone, seen.PlanGone
}

func (w *changeWriter) insert(ctx context.Context, revision run.RevisionID) ([]run.Run, error) {
	rows := make([]*runRow, 0, len(w.change.New))
	for _, r := range w.change.New {
		if r.Revision == 0 {
			r.Revision = revision
		}
		if r.ID == "" {
			id, err := w.store.newID(w.snap.Now)
			if err != nil {
				return nil, err
			}
			r.ID = id
		}
		if r.Created.IsZero() {
			r.Created = w.snap.Now
		}
		r.Epoch = 1
		rows = append(rows, w.row(r))
	}
	if err := w.places(ctx, slices.DeleteFunc(slices.Clone(rows), func(r *runRow) bool { return r.Waiting == waitsNot })); err != nil {
		return nil, err
	}
	var all []run.Run
	for batch := range slices.Chunk(rows, 50) {
		if _, err := w.t.NewInsert().Model(&batch).Exec(ctx); err != nil {
			return nil, domain("insert runs", err)
		}
		for _, row := range batch {
			all = append(all, row.domain())
		}
	}
	return all, w.after(ctx, all)
}

type afterRow struct {
	bun.BaseModel `bun:"table:run_after,alias:a"`
	Run           string `bun:",pk"`
	Project       int64  `bun:",pk"`
}

// after writes what new runs come after, where the queue can see it.
func (w *changeWriter) after(ctx context.Context, runs []run.Run) error {
	var rows []afterRow
	for _, r := range runs {
		for _, p := range r.Settings.After {
			rows = append(rows, afterRow{Run: string(r.ID), Project: int64(p)})
		}
	}
	for batch := range slices.Chunk(rows, 200) {
		if _, err := w.t.NewInsert().Model(&batch).Exec(ctx); err != nil {
			return domain("insert dependencies", err)
		}
	}
	return nil
}

// moved gives the ended runs of a project to another one. A run that the other has of the same cause stays where it is.
func (w *changeWriter) moved(ctx context.Context) error {
	for _, from := range slices.Sorted(maps.Keys(w.change.Moved)) {
		to := int64(w.change.Moved[from])
		_, err := w.t.NewUpdate().Model((*runRow)(nil)).Set("project = ?", to).Where("project = ? AND NOT live", int64(from)).
			Where("NOT EXISTS (SELECT 1 FROM runs AS o WHERE o.revision = r.revision AND o.project = ? AND o.cause = r.cause)", to).Exec(ctx)
		if err != nil {
			return domain("move the history of a project", err)
		}
	}
	return nil
}

// owners frees before it takes, so that one change can hand a project on.
func (w *changeWriter) owners(ctx context.Context) error {
	if len(w.change.Free) > 0 {
		if _, err := w.t.NewDelete().Model((*slotRow)(nil)).Where("project IN (?)", bun.List(w.change.Free)).Exec(ctx); err != nil {
			return domain("free slots", err)
		}
	}
	if len(w.change.Unhold) > 0 {
		if _, err := w.t.NewDelete().Model((*holdRow)(nil)).Where("project IN (?)", bun.List(w.change.Unhold)).Exec(ctx); err != nil {
			return domain("free holds", err)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(w.change.Take)) {
		row := slotRow{Project: int64(p), Run: string(w.change.Take[p])}
		// An apply is of the state that was planned, wherever a later plan of the project has found it.
		if err := w.t.NewSelect().Model((*projectRow)(nil)).ColumnExpr("coalesce((SELECT nullif(r.identity, '') FROM runs AS r WHERE r.id = ?), t.identity)", row.Run).
			Where("t.id = ?", row.Project).Scan(ctx, &row.Identity); err != nil {
			return domain("find the state of a project", err)
		}
		// The condition makes a slot of one's own a success and another's none, without an error that would end the transaction.
		res, err := w.t.NewInsert().Model(&row).On("CONFLICT (project) DO UPDATE").Set("run = excluded.run").Where("t.run = excluded.run").Exec(ctx)
		if err := domain("take slot", err); errors.Is(err, run.ErrExists) {
			return fmt.Errorf("another project runs on the state of project %d: %w", p, run.ErrMoved)
		} else if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return fmt.Errorf("the slot of project %d is taken: %w", p, run.ErrMoved)
		}
	}
	if err := w.twins(ctx); err != nil {
		return err
	}
	for _, p := range slices.Sorted(maps.Keys(w.change.Hold)) {
		row := holdRow{Project: int64(p), Pull: int64(w.change.Hold[p]), Since: w.now}
		res, err := w.t.NewInsert().Model(&row).On("CONFLICT (project) DO UPDATE").Set("pull = excluded.pull").Where("t.pull = excluded.pull").Exec(ctx)
		if err != nil {
			return domain("take hold", err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return fmt.Errorf("project %d is held by another pull request: %w", p, run.ErrMoved)
		}
	}
	return nil
}

// twins refuses holds of projects whose state another pull request holds by another directory. It locks all directories of these states, so
// that of two who take different ones at once the second sees the first.
func (w *changeWriter) twins(ctx context.Context) error {
	for _, pull := range slices.Compact(slices.Sorted(maps.Values(w.change.Hold))) {
		var mine []int64
		for p, by := range w.change.Hold {
			if by == pull && w.snap.Holds[p] != pull {
				mine = append(mine, int64(p))
			}
		}
		if len(mine) == 0 {
			continue
		}
		states := w.t.NewSelect().Model((*projectRow)(nil)).Column("identity").Where("id IN (?) AND identity <> ''", bun.List(mine))
		var all []int64
		if err := w.t.lockRows(w.t.NewSelect().Model((*projectRow)(nil)).Column("id").Where("identity <> '' AND identity IN (?)", states).OrderExpr("+id")).Scan(ctx, &all); err != nil {
			return domain("lock projects of one state", err)
		}
		if len(all) == 0 {
			continue
		}
		var held []holdRow
		if err := w.t.NewSelect().Model(&held).Where("project IN (?) AND pull <> ?", bun.List(all), int64(pull)).Limit(1).Scan(ctx); err != nil {
			return domain("find who holds a state", err)
		}
		if len(held) > 0 {
			return fmt.Errorf("another pull request holds the state of project %d: %w", held[0].Project, run.ErrMoved)
		}
	}
	return nil
}

func (w *changeWriter) findings(ctx context.Context) error {
	for _, id := range slices.Sorted(maps.Keys(w.change.Findings)) {
		if _, err := w.t.NewDelete().Model((*findingRow)(nil)).Where("run = ?", string(id)).Exec(ctx); err != nil {
			return domain("replace findings", err)
		}
		for batch := range slices.Chunk(w.change.Findings[id], 200) {
			rows := make([]*findingRow, len(batch))
			for i, f := range batch {
				text, err := json.Marshal(f)
				if err != nil {
					return fmt.Errorf("encode a finding: %w", err)
				}
				detail, err := w.store.sealText(ctx, string(text))
				if err != nil {
					return err
				}
				rows[i] = cleaned(&findingRow{Run: string(id), RuleSet: f.Set, Rule: f.Rule, Level: string(f.Level), Detail: detail})
			}
			if _, err := w.t.NewInsert().Model(&rows).Returning("NULL").Exec(ctx); err != nil {
				return domain("insert findings", err)
			}
		}
	}
	return nil
}

func (w *changeWriter) overrides(ctx context.Context) error {
	for _, o := range w.change.Overrides {
		at := micros(o.At)
		if at == 0 {
			at = w.now
		}
		value, err := w.store.sealText(ctx, o.Value)
		if err != nil {
			return err
		}
		row := cleaned(&overrideRow{
			Pull: int64(o.Pull), Project: int64(o.Project), RuleSet: o.Set, Rule: o.Rule, Resource: o.Resource, Value: value,
			Effect: o.Effect, Policy: o.Policy, Actor: o.Actor, Reason: o.Reason, At: at,
		})
		if _, err := w.t.NewInsert().Model(row).Returning("NULL").Exec(ctx); err != nil {
			return domain("insert override", err)
		}
	}
	return nil
}

func (w *changeWriter) audit(ctx context.Context) error {
	for _, a := range w.change.Audit {
		at := micros(a.At)
		if at == 0 {
			at = w.now
		}
		row := cleaned(&auditRow{
			At: at, Actor: a.Actor, Action: a.Action, Repo: int64(a.Repo), Pull: int64(a.Pull), Run: string(a.Run), Outcome: a.Outcome,
			Detail: w.store.hide(a.Detail), Cause: a.Cause,
		})
		if _, err := w.t.NewInsert().Model(row).On("CONFLICT (repo, cause) WHERE cause <> '' DO NOTHING").Returning("NULL").Exec(ctx); err != nil {
			return domain("insert audit row", err)
		}
	}
	return nil
}

func (w *changeWriter) jobs(ctx context.Context) error {
	for _, j := range w.change.Jobs {
		if err := w.store.enqueue(ctx, w.t, j); err != nil {
			return err
		}
	}
	return nil
}

// postings adds to those of the change the summaries of the pulls and the statuses of the commits that it touches.
func (w *changeWriter) postings(ctx context.Context, result run.Result) ([]run.Posting, error) {
	all := slices.Clone(w.change.Postings)
	if p := w.change.Pull; p != nil {
		all = append(all, touched(p.Repo, p.ID, p.HeadSHA)...)
	}
	if w.change.Revision != nil {
		all = append(all, touched(result.Revision.Repo, result.Revision.Pull, result.Revision.Head)...)
	}
	var missing []int64
	for _, r := range result.Runs {
		if _, ok := w.heads[int64(r.Revision)]; !ok {
			missing = append(missing, int64(r.Revision))
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		var rows []revisionRow
		if err := w.t.NewSelect().Model(&rows).Column("id", "head").Where("id IN (?)", bun.List(slices.Compact(missing))).Scan(ctx); err != nil {
			return nil, domain("find commits", err)
		}
		for _, r := range rows {
			w.heads[r.ID] = r.Head
		}
	}
	merged, err := w.mergedHeads(ctx, result.Runs)
	if err != nil {
		return nil, err
	}
	for _, r := range result.Runs {
		all = append(all, touched(r.Repo, r.Pull, w.heads[int64(r.Revision)])...)
		if head := merged[int64(r.Pull)]; r.Kind == run.KindMerge && head != "" {
			all = append(all, run.Posting{Kind: run.PostStatuses, Repo: r.Repo, Pull: r.Pull, Key: head})
		}
	}
	return all, nil
}

// mergedHeads returns the heads of the pulls that runs after a merge belong to, whose statuses show what came of the merge (semantics 42).
func (w *changeWriter) mergedHeads(ctx context.Context, runs []run.Run) (map[int64]string, error) {
	var pulls []int64
	for _, r := range runs {
		if r.Kind == run.KindMerge && r.Pull != 0 {
			pulls = append(pulls, int64(r.Pull))
		}
	}
	heads := make(map[int64]string, len(pulls))
	if len(pulls) == 0 {
		return heads, nil
	}
	var rows []pullRow
	if err := w.t.NewSelect().Model(&rows).Column("id", "head_sha").Where("id IN (?)", bun.List(pulls)).Scan(ctx); err != nil {
		return nil, domain("find merged commits", err)
	}
	for _, r := range rows {
		heads[r.ID] = r.HeadSHA
	}
	return heads, nil
}

// touched are the postings that show a pull and a commit.
func touched(repo run.RepoID, pull run.PullID, head string) []run.Posting {
	var all []run.Posting
	if pull != 0 {
		all = append(all, run.Posting{Kind: run.PostSummary, Repo: repo, Pull: pull, Key: fmt.Sprint(int64(pull))})
	}
	if head != "" {
		all = append(all, run.Posting{Kind: run.PostStatuses, Repo: repo, Pull: pull, Key: head})
	}
	return all
}
