package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/uptrace/bun"

	"github.com/planlatch/planlatch/run"
)

type slotRow struct {
	bun.BaseModel `bun:"table:slots,alias:t"`
	Project       int64 `bun:",pk"`
	Run           string
	Identity      string // of the project's state when it was taken; unique unless empty
}

type holdRow struct {
	bun.BaseModel `bun:"table:holds,alias:t"`
	Project       int64 `bun:",pk"`
	Pull          int64
	Since         int64
}

// heldByState lists projects whose state is held by way of another directory, with the pull that holds it. That no identity is empty is said of
// both, since the index on them has only those.
const heldByState = `SELECT q.id AS project, h.pull AS pull, h.since AS since FROM projects AS q JOIN projects AS p ON p.identity = q.identity AND p.id <> q.id
	JOIN holds AS h ON h.project = p.id WHERE q.identity <> '' AND p.identity <> ''`

func holdMap(rows []holdRow) map[run.ProjectID]run.PullID {
	all := make(map[run.ProjectID]run.PullID, len(rows))
	for _, r := range rows {
		all[run.ProjectID(r.Project)] = run.PullID(r.Pull)
	}
	return all
}

// Advance loads and locks what scope names, lets decide judge it, and writes the outcome, all in one transaction.
func (s *Store) Advance(ctx context.Context, scope run.Scope, decide func(run.Snapshot) (run.Change, error)) (run.Result, error) {
	var result run.Result
	var action run.Action
	var refused error
	err := s.engine.write(ctx, func(ctx context.Context, t *tx) error {
		snap, err := s.load(ctx, t, scope)
		if err != nil {
			return err
		}
		change, err := decide(snap)
		if refused = err; err != nil {
			return err
		}
		if action = change.Action; action == "" {
			return errors.New("advance: the change names no action")
		}
		w := changeWriter{store: s, t: t, snap: snap, change: change, now: micros(snap.Now)}
		if result, err = w.write(ctx); err != nil {
			return err
		}
		s.kill("before:" + string(action))
		return nil
	})
	if refused != nil {
		return run.Result{}, refused // as it is, so that callers find what they returned
	}
	if err != nil {
		return run.Result{}, domain("advance", err)
	}
	s.kill("after:" + string(action))
	s.kicks.wake.wake()
	s.kicks.tell()
	s.kicks.announce()
	return result, nil
}

// load locks, in an order that is the same for everybody, the repository of a branch, the pulls, the runs, then slots and holds; and
// reads what the decision sees. The locks on pull and repository keep out who would add runs to them meanwhile.
func (s *Store) load(ctx context.Context, t *tx, scope run.Scope) (run.Snapshot, error) {
	if scope.Branch != "" && scope.Repo == 0 {
		return run.Snapshot{}, errors.New("scope: a branch needs its repository")
	}
	if scope.Branch != "" {
		if err := t.lockRows(t.NewSelect().Model(&repoRow{}).Where("id = ?", int64(scope.Repo))).Scan(ctx); err != nil {
			return run.Snapshot{}, domain("repository", err)
		}
	}
	pulls, err := s.lockPulls(ctx, t, scope)
	if err != nil {
		return run.Snapshot{}, err
	}
	var snap run.Snapshot
	if scope.Pauses {
		if err := t.freeze(ctx); err != nil {
			return run.Snapshot{}, domain("lock pauses", err)
		}
	}
	if snap.Runs, err = loadRuns(ctx, t, scope); err != nil {
		return run.Snapshot{}, err
	}
	pull := scope.Pull
	if pull == 0 && len(snap.Runs) > 0 {
		pull = snap.Runs[0].Pull
	}
	if pull != 0 {
		row, ok := pulls[int64(pull)]
		if !ok { // the first run came by its branch, so its pull is not locked, only read
			row = &pullRow{}
			if err := t.NewSelect().Model(row).Where("id = ?", int64(pull)).Scan(ctx); err != nil {
				return run.Snapshot{}, domain("pull request", err)
			}
		}
		if snap.Pull, err = s.pull(ctx, row); err != nil {
			return run.Snapshot{}, err
		}
	}
	if err := loadOwners(ctx, t, scope, &snap); err != nil {
		return run.Snapshot{}, err
	}
	if len(snap.Runs) > 0 && snap.Runs[0].Settings.Parallel > 0 && snap.Runs[0].Pull != 0 {
		if snap.Running, err = running(ctx, t, snap.Runs[0].Pull); err != nil {
			return run.Snapshot{}, err
		}
	}
	if snap.Pauses, err = loadPauses(ctx, t); err != nil {
		return run.Snapshot{}, err
	}
	now, err := t.stamp(ctx)
	if err != nil {
		return run.Snapshot{}, fmt.Errorf("read the clock: %w", err)
	}
	snap.Now = moment(now)
	return snap, nil
}

// lockPulls locks the pull of the scope and those of its named runs.
func (s *Store) lockPulls(ctx context.Context, t *tx, scope run.Scope) (map[int64]*pullRow, error) {
	var ids []int64
	if len(scope.Runs) > 0 {
		if err := t.NewSelect().Model((*runRow)(nil)).Column("pull").Distinct().Where("id IN (?)", bun.List(atIDs(scope.Runs))).
			Where("pull <> 0").Scan(ctx, &ids); err != nil {
			return nil, domain("find pull requests", err)
		}
	}
	if scope.Pull != 0 && !slices.Contains(ids, int64(scope.Pull)) {
		ids = append(ids, int64(scope.Pull))
	}
	found := make(map[int64]*pullRow, len(ids))
	if len(ids) == 0 {
		return found, nil
	}
	var rows []*pullRow
	if err := t.lockRows(t.NewSelect().Model(&rows).Where("id IN (?)", bun.List(ids)).Order("id")).Scan(ctx); err != nil {
		return nil, domain("lock pull requests", err)
	}
	for _, r := range rows {
		found[r.ID] = r
	}
	if scope.Pull != 0 && found[int64(scope.Pull)] == nil {
		return nil, fmt.Errorf("pull request %d: %w", scope.Pull, run.ErrNotFound)
	}
	return found, nil
}

func atIDs(ats []run.At) []string {
	ids := make([]string, len(ats))
	for i, at := range ats {
		ids[i] = string(at.ID)
	}
	return ids
}

// loadRuns returns the named runs in the order of the scope, then the live ones of pull and branch in order of creation.
func loadRuns(ctx context.Context, t *tx, scope run.Scope) ([]run.Run, error) {
	ids := atIDs(scope.Runs)
	if scope.Pull != 0 {
		var more []string
		if err := t.NewSelect().Model((*runRow)(nil)).Column("id").Where("pull = ? AND live", int64(scope.Pull)).Scan(ctx, &more); err != nil {
			return nil, domain("find runs", err)
		}
		ids = append(ids, more...)
	}
	if scope.Branch != "" {
		var more []string
		if err := t.NewSelect().Model((*runRow)(nil)).Column("r.id").Join("JOIN revisions AS v ON v.id = r.revision").
			Where("v.repo = ? AND v.branch = ? AND v.kind = ?", int64(scope.Repo), scope.Branch, string(run.KindMerge)).
			Where("r.kind = ? AND r.live", string(run.KindMerge)).Scan(ctx, &more); err != nil {
			return nil, domain("find merge runs", err)
		}
		ids = append(ids, more...)
	}
	if len(ids) == 0 {
		return nil, nil
	}
	var rows []runRow
	if err := t.lockRows(t.NewSelect().Model(&rows).Where("id IN (?)", bun.List(ids)).Order("id")).Scan(ctx); err != nil {
		return nil, domain("lock runs", err)
	}
	byID := make(map[run.ID]run.Run, len(rows))
	for i := range rows {
		r := rows[i].domain()
		byID[r.ID] = r
	}
	all := make([]run.Run, 0, len(rows))
	for _, at := range scope.Runs {
		r, ok := byID[at.ID]
		if !ok {
			if slices.ContainsFunc(all, func(r run.Run) bool { return r.ID == at.ID }) {
				return nil, fmt.Errorf("scope: run %s is named twice", at.ID)
			}
			return nil, fmt.Errorf("run %s: %w", at.ID, run.ErrNotFound)
		}
		if at.Epoch != 0 && at.Epoch != r.Epoch {
			return nil, fmt.Errorf("run %s is at epoch %d, not %d: %w", at.ID, r.Epoch, at.Epoch, run.ErrMoved)
		}
		all = append(all, r)
		delete(byID, at.ID)
	}
	named := len(all)
	for _, r := range byID {
		if !r.State.Final() { // one may have ended between being found and being locked
			all = append(all, r)
		}
	}
	slices.SortFunc(all[named:], func(a, b run.Run) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
	return all, nil
}

// loadOwners reads and locks the slots and holds of the runs' projects, and all holds of the scope's pull with the slots behind them: a run
// that could not save its state has ended and keeps its slot.
func loadOwners(ctx context.Context, t *tx, scope run.Scope, snap *run.Snapshot) error {
	snap.Slots, snap.Users, snap.Holds = map[run.ProjectID]run.ID{}, map[run.ProjectID]run.State{}, map[run.ProjectID]run.PullID{}
	var projects []int64
	for _, r := range snap.Runs {
		projects = append(projects, int64(r.Project))
	}
	slices.Sort(projects)
	projects = slices.Compact(projects)
	if len(projects) == 0 && scope.Pull == 0 {
		return nil
	}
	var slots []slotRow
	taken := t.NewSelect().Model(&slots).Order("project")
	if len(projects) > 0 {
		taken = taken.WhereOr("project IN (?)", bun.List(projects))
	}
	if scope.Pull != 0 {
		taken = taken.WhereOr("project IN (SELECT project FROM holds WHERE pull = ?)", int64(scope.Pull))
	}
	if err := t.lockRows(taken).Scan(ctx); err != nil {
		return domain("lock slots", err)
	}
	if err := loadUsers(ctx, t, slots, snap); err != nil {
		return err
	}
	var rows []holdRow
	q := t.NewSelect().Model(&rows).Order("project")
	if len(projects) > 0 {
		q = q.WhereOr("project IN (?)", bun.List(projects))
	}
	if scope.Pull != 0 {
		q = q.WhereOr("pull = ?", int64(scope.Pull))
	}
	if err := t.lockRows(q).Scan(ctx); err != nil {
		return domain("lock holds", err)
	}
	snap.Holds = holdMap(rows)
	if len(projects) == 0 {
		return nil
	}
	var others []holdRow // who holds the state of a project by another directory holds the project
	if err := t.NewRaw(heldByState+" AND q.id IN (?)", bun.List(projects)).Scan(ctx, &others); err != nil {
		return domain("find who holds a state", err)
	}
	for _, h := range others {
		if _, held := snap.Holds[run.ProjectID(h.Project)]; !held && run.PullID(h.Pull) != snap.Pull.ID {
			snap.Holds[run.ProjectID(h.Project)] = run.PullID(h.Pull)
		}
	}
	return nil
}

// loadUsers reads in which state the runs are that have slots. They are not locked: of another pull request, one may move on meanwhile.
func loadUsers(ctx context.Context, t *tx, slots []slotRow, snap *run.Snapshot) error {
	if len(slots) == 0 {
		return nil
	}
	var ids []string
	for _, r := range slots {
		snap.Slots[run.ProjectID(r.Project)] = run.ID(r.Run)
		ids = append(ids, r.Run)
	}
	var rows []runRow
	if err := t.NewSelect().Model(&rows).Column("id", "state").Where("id IN (?)", bun.List(ids)).Scan(ctx); err != nil {
		return domain("find who has slots", err)
	}
	states := make(map[string]run.State, len(rows))
	for _, r := range rows {
		states[r.ID] = run.State(r.State)
	}
	for _, r := range slots {
		snap.Users[run.ProjectID(r.Project)] = states[r.Run]
	}
	return nil
}
