package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/uptrace/bun"

	"github.com/planlatch/planlatch/run"
)

type runRow struct {
	bun.BaseModel `bun:"table:runs,alias:r"`
	ID            string `bun:",pk"`
	Repo          int64
	Revision      int64
	Pull          int64
	Project       int64
	Label         string
	Dir           string
	Work          string
	Kind          string
	Cause         string
	Actor         string
	Ordinal       int
	Turn          int64
	Settings      doc[run.Settings]
	State         string
	Live          bool
	Waiting       int
	Place         int64 // see place.go; an update leaves it alone unless the run begins to wait
	Parallel      int
	Epoch         int64
	Reason        string
	Node          string
	Execution     string
	Attempt       int
	Stray         bool
	Deadline      int64
	Stop          string
	StopWhy       string
	Recheck       bool
	Reviewed      string
	Tool          string
	Partial       bool
	Posted        int64
	InputsDigest  string
	PlanDigest    string
	EffectDigest  string
	RestOf        string
	PolicyDigest  string
	Blobs         doc[map[string]string]
	Counts        doc[run.Counts]
	Unsaved       bool
	Identity      string
	NoBackend     bool
	Created       int64
	Started       int64
	Planned       int64
	Confirmed     int64
	ConfirmedBy   string
	ApplyStarted  int64
	Finished      int64
	LogGone       int64
	PlanGone      int64
	Moved         int64
}

// fixedColumns are what a run is for ever; an update leaves them alone. So it does with posted, log_gone and plan_gone, which only ever
// go from zero to a time and may be stamped while a decision is under way.
func fixedColumns() []string {
	return []string{"id", "repo", "revision", "pull", "project", "label", "dir", "work", "kind", "cause", "actor", "turn", "settings", "parallel", "place", "created", "posted",
		"log_gone", "plan_gone"}
}

// The heads of the fair order: applies go before plans.
const (
	waitsNot   = 0
	waitsApply = 1
	waitsPlan  = 2
)

func waiting(s run.State) int {
	switch s { //nolint:exhaustive // the others wait for nothing
	case run.Confirmed:
		return waitsApply
	case run.Queued:
		return waitsPlan
	}
	return waitsNot
}

func newRunRow(r run.Run, moved int64) *runRow {
	place := int64(0)
	if r.Idle {
		place = idlePlace
	}
	return cleaned(&runRow{
		Place: place, Parallel: r.Settings.Parallel, Recheck: r.Recheck,
		ID: string(r.ID), Repo: int64(r.Repo), Revision: int64(r.Revision), Pull: int64(r.Pull), Project: int64(r.Project), Label: r.Label,
		Dir: r.Dir, Work: r.Work, Kind: string(r.Kind), Cause: r.Cause, Actor: r.Actor, Ordinal: r.Ordinal, Turn: r.Turn,
		Settings: doc[run.Settings]{r.Settings}, State: string(r.State), Live: !r.State.Final(), Waiting: waiting(r.State), Epoch: r.Epoch,
		Reason: r.Reason, Node: r.Node, Execution: r.Execution, Attempt: r.Attempt, Stray: r.Stray, Deadline: micros(r.Deadline), Stop: string(r.Stop),
		StopWhy: r.StopWhy, Reviewed: string(r.Reviewed), Tool: r.Tool, Partial: r.Partial, Posted: micros(r.Posted),
		InputsDigest: r.InputsDigest, PlanDigest: r.PlanDigest, EffectDigest: r.EffectDigest, RestOf: r.RestOf, PolicyDigest: r.PolicyDigest,
		Blobs: doc[map[string]string]{r.Blobs}, Counts: doc[run.Counts]{r.Counts}, Unsaved: r.Unsaved, Identity: r.Identity, NoBackend: r.NoBackend,
		Created: micros(r.Created), Started: micros(r.Started), Planned: micros(r.Planned), Confirmed: micros(r.Confirmed),
		ConfirmedBy: r.ConfirmedBy, ApplyStarted: micros(r.ApplyStarted), Finished: micros(r.Finished),
		LogGone: micros(r.LogGone), PlanGone: micros(r.PlanGone), Moved: moved,
	})
}

func (r *runRow) domain() run.Run {
	return run.Run{
		ID: run.ID(r.ID), Repo: run.RepoID(r.Repo), Revision: run.RevisionID(r.Revision), Pull: run.PullID(r.Pull),
		Project: run.ProjectID(r.Project), Label: r.Label, Dir: r.Dir, Work: r.Work, Kind: run.Kind(r.Kind), Cause: r.Cause, Actor: r.Actor,
		Ordinal: r.Ordinal, Idle: r.Place >= idlePlace, Turn: r.Turn, Settings: r.Settings.V, Recheck: r.Recheck, State: run.State(r.State), Epoch: r.Epoch, Reason: r.Reason, Node: r.Node,
		Execution: r.Execution, Attempt: r.Attempt, Stray: r.Stray, Deadline: moment(r.Deadline), Stop: run.State(r.Stop), StopWhy: r.StopWhy,
		Reviewed: run.ID(r.Reviewed), Tool: r.Tool, Partial: r.Partial, Posted: moment(r.Posted), InputsDigest: r.InputsDigest,
		PlanDigest: r.PlanDigest, EffectDigest: r.EffectDigest, RestOf: r.RestOf, PolicyDigest: r.PolicyDigest, Blobs: r.Blobs.V, Counts: r.Counts.V,
		Unsaved: r.Unsaved, Identity: r.Identity, NoBackend: r.NoBackend, Created: moment(r.Created), Started: moment(r.Started),
		Planned: moment(r.Planned), Confirmed: moment(r.Confirmed), ConfirmedBy: r.ConfirmedBy, ApplyStarted: moment(r.ApplyStarted), Finished: moment(r.Finished),
		LogGone: moment(r.LogGone), PlanGone: moment(r.PlanGone),
	}
}

func domainRuns(rows []runRow) []run.Run {
	all := make([]run.Run, len(rows))
	for i := range rows {
		all[i] = rows[i].domain()
	}
	return all
}

// Run returns a run.
func (s *Store) Run(ctx context.Context, id run.ID) (run.Run, error) {
	var row runRow
	err := s.read.NewSelect().Model(&row).Where("id = ?", string(id)).Scan(ctx)
	return row.domain(), domain(fmt.Sprintf("run %s", id), err)
}

// Runs lists runs, newest first.
func (s *Store) Runs(ctx context.Context, f run.Filter) ([]run.Run, error) {
	var rows []runRow
	q := s.read.NewSelect().Model(&rows).Limit(limitOf(f.Limit))
	if f.Revision != 0 || f.Pull != 0 { // the sign keeps SQLite from reading all runs of a project in this order, to find those few
		q = q.OrderExpr("+r.created DESC, r.id DESC")
	} else {
		q = q.Order("r.created DESC", "r.id DESC")
	}
	if f.Repo != 0 {
		q = q.Where("r.repo = ?", int64(f.Repo))
	}
	if f.Pull != 0 {
		q = q.Where("r.pull = ?", int64(f.Pull))
	}
	if f.Revision != 0 {
		q = q.Where("r.revision = ?", int64(f.Revision))
	}
	if f.Project != 0 {
		q = q.Where("r.project = ?", int64(f.Project))
	}
	if f.Head != "" {
		q = q.Where("r.revision IN (SELECT id FROM revisions WHERE head = ?)", f.Head)
	}
	if f.Kind != "" {
		q = q.Where("r.kind = ?", string(f.Kind))
	}
	if len(f.States) > 0 {
		q = q.Where("r.state IN (?)", bun.List(f.States))
	}
	if f.Prefix != "" {
		q = q.Where("substr(r.id, 1, ?) = ?", len(f.Prefix), f.Prefix)
	}
	if f.Name != "" {
		q = q.Where("(r.label = ? OR r.dir = ?)", f.Name, f.Name)
	}
	if f.Unsaved {
		q = q.Where("r.unsaved")
	}
	if f.Before != "" {
		q = q.Where("(r.created, r.id) < (SELECT b.created, b.id FROM runs AS b WHERE b.id = ?)", string(f.Before))
	}
	if err := q.Scan(ctx); err != nil {
		return nil, domain("list runs", err)
	}
	return domainRuns(rows), nil
}

// Newest returns, of each of the projects, the newest run that the filter has. Its States, Kind and Revision count. Of merges it is that of the
// last one into the branch: one that is planned again is younger than the merges after it.
func (s *Store) Newest(ctx context.Context, f run.Filter, projects ...run.ProjectID) (map[run.ProjectID]run.Run, error) {
	found := map[run.ProjectID]run.Run{}
	for some := range slices.Chunk(projects, 500) {
		last := s.read.NewSelect().TableExpr("runs AS x").Column("x.id").Where("x.project = p.id").Limit(1)
		if f.Kind == run.KindMerge {
			last = last.Order("x.turn DESC")
		}
		last = last.Order("x.id DESC")
		if f.Revision != 0 {
			last = last.Where("x.revision = ?", int64(f.Revision))
		}
		if f.Kind != "" {
			last = last.Where("x.kind = ?", string(f.Kind))
		}
		switch len(f.States) {
		case 0:
		case 1: // written so that SQLite sees that an index of that state has them all
			last = last.Where("x.state = ?", string(f.States[0]))
		default:
			last = last.Where("x.state IN (?)", bun.List(f.States))
		}
		var rows []runRow
		each := s.read.NewSelect().TableExpr("projects AS p").ColumnExpr("(?)", last).Where("p.id IN (?)", bun.List(some))
		if err := s.read.NewSelect().Model(&rows).Where("r.id IN (?)", each).Scan(ctx); err != nil {
			return nil, domain("find the newest runs", err)
		}
		for i := range rows {
			r := rows[i].domain()
			found[r.Project] = r
		}
	}
	return found, nil
}

type findingRow struct {
	bun.BaseModel `bun:"table:findings,alias:t"`
	ID            int64 `bun:",pk,autoincrement"`
	Run           string
	RuleSet       string
	Rule          string
	Level         string
	Detail        string // JSON of a run.Finding, sealed: policy quotes the plan
}

// Findings returns the findings of runs, each run's in the order they were given.
func (s *Store) Findings(ctx context.Context, runs ...run.ID) (map[run.ID][]run.Finding, error) {
	all := map[run.ID][]run.Finding{}
	if len(runs) == 0 {
		return all, nil
	}
	var rows []findingRow
	if err := s.read.NewSelect().Model(&rows).Where("run IN (?)", bun.List(runs)).Order("id").Scan(ctx); err != nil {
		return nil, domain("read findings", err)
	}
	for _, r := range rows {
		text, err := s.unsealText(ctx, r.Detail)
		if err != nil {
			return nil, fmt.Errorf("read findings: %w", err)
		}
		var detail doc[run.Finding]
		if err := detail.Scan(text); err != nil {
			return nil, domain("read findings", err)
		}
		all[run.ID(r.Run)] = append(all[run.ID(r.Run)], detail.V)
	}
	return all, nil
}

type overrideRow struct {
	bun.BaseModel `bun:"table:overrides,alias:t"`
	ID            int64 `bun:",pk,autoincrement"`
	Pull          int64
	Project       int64
	RuleSet       string
	Rule          string
	Resource      string
	Value         string // sealed: it is one of the plan
	Effect        string
	Policy        string
	Actor         string
	Reason        string
	At            int64
}

// Overrides lists the overrides of a pull request, oldest first.
func (s *Store) Overrides(ctx context.Context, pull run.PullID) ([]run.Override, error) {
	var rows []overrideRow
	if err := s.read.NewSelect().Model(&rows).Where("pull = ?", int64(pull)).Order("id").Scan(ctx); err != nil {
		return nil, domain("list overrides", err)
	}
	all := make([]run.Override, len(rows))
	for i, r := range rows {
		value, err := s.unsealText(ctx, r.Value)
		if err != nil {
			return nil, fmt.Errorf("list overrides: %w", err)
		}
		all[i] = run.Override{
			Pull: run.PullID(r.Pull), Project: run.ProjectID(r.Project), Set: r.RuleSet, Rule: r.Rule, Resource: r.Resource, Value: value,
			Effect: r.Effect, Policy: r.Policy, Actor: r.Actor, Reason: r.Reason, At: moment(r.At),
		}
	}
	return all, nil
}

type auditRow struct {
	bun.BaseModel `bun:"table:audit,alias:t"`
	ID            int64 `bun:",pk,autoincrement"`
	At            int64
	Actor         string
	Action        string
	Repo          int64
	Pull          int64
	Run           string
	Outcome       string
	Detail        string
	Cause         string
}

// AuditRows lists audit rows, newest first.
func (s *Store) AuditRows(ctx context.Context, f run.AuditFilter) ([]run.Audit, error) {
	var rows []auditRow
	q := s.read.NewSelect().Model(&rows).Order("id DESC").Limit(limitOf(f.Limit))
	where := func(yes bool, condition string, value any) {
		if yes {
			q = q.Where(condition, value)
		}
	}
	where(f.Repo != 0, "repo = ?", int64(f.Repo))
	where(f.Pull != 0, "pull = ?", int64(f.Pull))
	where(f.Run != "", "run = ?", string(f.Run))
	where(f.Actor != "", "actor = ?", f.Actor)
	where(f.Action != "", "action = ?", f.Action)
	where(f.Outcome != "", "outcome = ?", f.Outcome)
	where(f.Cause != "", "cause = ?", f.Cause)
	where(!f.Since.IsZero(), "at >= ?", micros(f.Since))
	where(!f.Until.IsZero(), "at < ?", micros(f.Until))
	where(f.Before != 0, "id < ?", f.Before)
	if err := q.Scan(ctx); err != nil {
		return nil, domain("list audit rows", err)
	}
	all := make([]run.Audit, len(rows))
	for i, r := range rows {
		all[i] = run.Audit{
			ID: r.ID, At: moment(r.At), Actor: r.Actor, Action: r.Action, Repo: run.RepoID(r.Repo), Pull: run.PullID(r.Pull), Run: run.ID(r.Run),
			Outcome: r.Outcome, Detail: r.Detail, Cause: r.Cause,
		}
	}
	return all, nil
}
