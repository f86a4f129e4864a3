package store

import (
	"cmp"
	"context"
	"slices"

	"github.com/uptrace/bun"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
)

type repoRow struct {
	bun.BaseModel `bun:"table:repos,alias:t"`
	ID            int64 `bun:",pk,autoincrement"`
	Host          string
	HostID        string
	Name          string
	DefaultBranch string
	Named         int64 // when it was last seen to have the name
}

func (r *repoRow) domain() run.Repo {
	return run.Repo{ID: run.RepoID(r.ID), Host: r.Host, HostID: r.HostID, Name: r.Name, DefaultBranch: r.DefaultBranch}
}

type pullRow struct {
	bun.BaseModel `bun:"table:pulls,alias:t"`
	ID            int64 `bun:",pk,autoincrement"`
	Repo          int64
	Number        int
	State         string
	Draft         bool
	Fork          bool
	Title         string
	URL           string
	Author        string
	HeadSHA       string `bun:"head_sha"`
	HeadBranch    string
	BaseBranch    string
	MergeCommit   string
	MergedBy      string
	Frozen        []byte
	Updated       int64
}

// pullRow seals what it keeps of the review.
func (s *Store) pullRow(ctx context.Context, p run.Pull) (*pullRow, error) {
	frozen, err := s.seal(ctx, p.Frozen)
	if err != nil {
		return nil, err
	}
	return cleaned(&pullRow{
		ID: int64(p.ID), Repo: int64(p.Repo), Number: p.Number, State: p.State, Draft: p.Draft, Fork: p.Fork, Title: p.Title, URL: p.URL,
		Author: p.Author, HeadSHA: p.HeadSHA, HeadBranch: p.HeadBranch, BaseBranch: p.BaseBranch, MergeCommit: p.MergeCommit,
		MergedBy: p.MergedBy, Frozen: frozen, Updated: micros(p.Updated),
	}), nil
}

func (s *Store) pull(ctx context.Context, r *pullRow) (run.Pull, error) {
	frozen, err := s.unseal(ctx, r.Frozen)
	if err != nil {
		return run.Pull{}, err
	}
	return run.Pull{
		ID: run.PullID(r.ID), Repo: run.RepoID(r.Repo), Number: r.Number, State: r.State, Draft: r.Draft, Fork: r.Fork, Title: r.Title,
		URL: r.URL, Author: r.Author, HeadSHA: r.HeadSHA, HeadBranch: r.HeadBranch, BaseBranch: r.BaseBranch, MergeCommit: r.MergeCommit,
		MergedBy: r.MergedBy, Frozen: frozen, Updated: moment(r.Updated),
	}, nil
}

// keepMerge leaves out of an update what a later snapshot may not know any more.
const (
	keepFrozen      = "frozen = coalesce(excluded.frozen, t.frozen)"
	keepMergeCommit = "merge_commit = CASE WHEN excluded.merge_commit = '' THEN t.merge_commit ELSE excluded.merge_commit END"
)

type projectRow struct {
	bun.BaseModel `bun:"table:projects,alias:t"`
	ID            int64 `bun:",pk,autoincrement"`
	Repo          int64
	Dir           string
	Workspace     string
	Label         string
	Identity      string
}

func (r *projectRow) domain() run.Project {
	return run.Project{ID: run.ProjectID(r.ID), Repo: run.RepoID(r.Repo), Dir: r.Dir, Workspace: r.Workspace, Label: r.Label, Identity: r.Identity}
}

// SaveRepo inserts a repository or refreshes its labels.
func (s *Store) SaveRepo(ctx context.Context, r run.Repo) (run.Repo, error) {
	// Most calls change nothing, and reading costs no turn at the writer.
	var have repoRow
	err := s.read.NewSelect().Model(&have).Where("host = ? AND host_id = ?", r.Host, r.HostID).Scan(ctx)
	if err == nil && have.Name == r.Name && have.DefaultBranch == r.DefaultBranch {
		return have.domain(), nil
	}
	row := cleaned(&repoRow{Host: r.Host, HostID: r.HostID, Name: r.Name, DefaultBranch: r.DefaultBranch})
	err = s.write(ctx, "save repository "+r.Name, "", func(ctx context.Context, t *tx) error {
		now, err := t.stamp(ctx)
		if err != nil {
			return err
		}
		row.ID, row.Named = 0, now
		return t.NewInsert().Model(row).On("CONFLICT (host, host_id) DO UPDATE").Set("name = excluded.name").
			Set("default_branch = excluded.default_branch").
			Set("named = CASE WHEN t.name = excluded.name THEN t.named ELSE excluded.named END").Returning("*").Scan(ctx)
	})
	return row.domain(), err
}

// SavePull inserts a pull request or refreshes its fields.
func (s *Store) SavePull(ctx context.Context, p run.Pull) (run.Pull, error) {
	p.ID = 0
	row, err := s.pullRow(ctx, p)
	if err != nil {
		return run.Pull{}, err
	}
	err = s.write(ctx, "save pull request", "", func(ctx context.Context, t *tx) error {
		row.ID = 0
		q := t.NewInsert().Model(row).On("CONFLICT (repo, number) DO UPDATE").Set(keepFrozen).Set(keepMergeCommit)
		for _, column := range pullColumns() {
			if column == "state" || column == "draft" {
				continue
			}
			name := bun.Ident(column)
			q = q.Set("? = CASE WHEN excluded.updated >= t.updated THEN excluded.? ELSE t.? END", name, name, name)
		}
		return q.Returning("*").Scan(ctx)
	})
	if err != nil {
		return run.Pull{}, err
	}
	return s.pull(ctx, row)
}

// pullColumns are those that a snapshot of the host always replaces.
func pullColumns() []string {
	return []string{"state", "draft", "fork", "title", "url", "author", "head_sha", "head_branch", "base_branch", "merged_by", "updated"}
}

// SaveProjects inserts what is new and refreshes labels and identities.
func (s *Store) SaveProjects(ctx context.Context, ps []run.Project) ([]run.Project, error) {
	type key struct {
		repo           int64
		dir, workspace string
	}
	byKey := map[key]*projectRow{}
	for _, p := range ps {
		byKey[key{int64(p.Repo), p.Dir, p.Workspace}] = cleaned(&projectRow{
			Repo: int64(p.Repo), Dir: p.Dir, Workspace: p.Workspace, Label: p.Label, Identity: p.Identity,
		})
	}
	rows := make([]*projectRow, 0, len(byKey))
	for _, r := range byKey {
		rows = append(rows, r)
	}
	// One order for all writers, so that two of them do not lock each other out.
	slices.SortFunc(rows, func(a, b *projectRow) int {
		return cmp.Or(cmp.Compare(a.Repo, b.Repo), cmp.Compare(a.Dir, b.Dir), cmp.Compare(a.Workspace, b.Workspace))
	})
	err := s.write(ctx, "save projects", "", func(ctx context.Context, t *tx) error {
		for _, row := range rows {
			row.ID = 0
			if err := t.NewInsert().Model(row).On("CONFLICT (repo, dir, workspace) DO UPDATE").Set("label = excluded.label").
				Set("identity = CASE WHEN excluded.identity = '' THEN t.identity ELSE excluded.identity END").Returning("*").Scan(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	saved := make([]run.Project, len(ps))
	for i, p := range ps {
		saved[i] = byKey[key{int64(p.Repo), p.Dir, p.Workspace}].domain()
	}
	return saved, nil
}

// Twins lists the other projects whose state is in the same place.
func (s *Store) Twins(ctx context.Context, id run.ProjectID) ([]run.Project, error) {
	var rows []projectRow
	err := s.read.NewSelect().Model(&rows).Where("id <> ? AND identity <> ''", int64(id)).
		Where("identity = (SELECT identity FROM projects WHERE id = ?)", int64(id)).Order("id").Scan(ctx)
	all := make([]run.Project, len(rows))
	for i := range rows {
		all[i] = rows[i].domain()
	}
	return all, domain("find projects of one state", err)
}

// Appliers lists who applied to states, in order of id: whose newest apply was to another state has left.
func (s *Store) Appliers(ctx context.Context, identities ...string) (map[string][]run.Project, error) {
	by := map[string][]run.Project{}
	if len(identities) == 0 {
		return by, nil
	}
	var rows []struct {
		projectRow
		Applied string
	}
	err := s.read.NewSelect().Model((*projectRow)(nil)).ColumnExpr("DISTINCT t.*, r.identity AS applied").Join("JOIN runs AS r ON r.project = t.id").
		Where("r.apply_started > 0 AND r.identity <> '' AND r.identity IN (?)", bun.List(identities)).
		Where("NOT EXISTS (SELECT 1 FROM runs AS n WHERE n.project = r.project AND n.apply_started > r.apply_started AND n.identity NOT IN ('', r.identity))").
		OrderExpr("t.id").Scan(ctx, &rows)
	if err != nil {
		return nil, domain("find who applied to a state", err)
	}
	for _, r := range rows {
		by[r.Applied] = append(by[r.Applied], r.domain())
	}
	return by, nil
}

// Repo returns a repository.
func (s *Store) Repo(ctx context.Context, id run.RepoID) (run.Repo, error) {
	var row repoRow
	err := s.read.NewSelect().Model(&row).Where("id = ?", int64(id)).Scan(ctx)
	return row.domain(), domain("repository", err)
}

// RepoByName returns the repository that was last seen to have this name.
func (s *Store) RepoByName(ctx context.Context, host, name string) (run.Repo, error) {
	var row repoRow
	err := s.read.NewSelect().Model(&row).Where("host = ? AND name = ?", host, name).Order("named DESC", "id DESC").Limit(1).Scan(ctx)
	return row.domain(), domain("repository "+name, err)
}

// Repos lists all repositories by name.
func (s *Store) Repos(ctx context.Context) ([]run.Repo, error) {
	var rows []repoRow
	if err := s.read.NewSelect().Model(&rows).Order("host", "name", "id").Scan(ctx); err != nil {
		return nil, domain("list repositories", err)
	}
	all := make([]run.Repo, len(rows))
	for i := range rows {
		all[i] = rows[i].domain()
	}
	return all, nil
}

// Pull returns a pull request.
func (s *Store) Pull(ctx context.Context, id run.PullID) (run.Pull, error) {
	return s.onePull(ctx, s.read.NewSelect().Where("id = ?", int64(id)))
}

// PullByNumber returns a pull request by the number that people know.
func (s *Store) PullByNumber(ctx context.Context, repo run.RepoID, number int) (run.Pull, error) {
	return s.onePull(ctx, s.read.NewSelect().Where("repo = ? AND number = ?", int64(repo), number))
}

func (s *Store) onePull(ctx context.Context, q *bun.SelectQuery) (run.Pull, error) {
	var row pullRow
	if err := q.Model(&row).Scan(ctx); err != nil {
		return run.Pull{}, domain("pull request", err)
	}
	return s.pull(ctx, &row)
}

// OpenPulls lists the pull requests stored as open, by number.
func (s *Store) OpenPulls(ctx context.Context, repo run.RepoID) ([]run.Pull, error) {
	return s.pulls(ctx, s.read.NewSelect().Where("repo = ? AND state = ?", int64(repo), string(vcs.PullOpen)))
}

// PullsAt lists the open pull requests with this head, by number.
func (s *Store) PullsAt(ctx context.Context, repo run.RepoID, sha string) ([]run.Pull, error) {
	return s.pulls(ctx, s.read.NewSelect().Where("repo = ? AND head_sha = ? AND state = ?", int64(repo), sha, string(vcs.PullOpen)))
}

func (s *Store) pulls(ctx context.Context, q *bun.SelectQuery) ([]run.Pull, error) {
	var rows []pullRow
	// The sign keeps SQLite from reading all pull requests of a repository in this order, to find the few that are meant.
	if err := q.Model(&rows).OrderExpr("+number").Scan(ctx); err != nil {
		return nil, domain("list pull requests", err)
	}
	all := make([]run.Pull, len(rows))
	for i := range rows {
		p, err := s.pull(ctx, &rows[i])
		if err != nil {
			return nil, err
		}
		all[i] = p
	}
	return all, nil
}

// Project returns a project.
func (s *Store) Project(ctx context.Context, id run.ProjectID) (run.Project, error) {
	var row projectRow
	err := s.read.NewSelect().Model(&row).Where("id = ?", int64(id)).Scan(ctx)
	return row.domain(), domain("project", err)
}

// Holds lists the holds on a repository's projects.
func (s *Store) Holds(ctx context.Context, repo run.RepoID) (map[run.ProjectID]run.PullID, error) {
	var rows []holdRow
	err := s.read.NewSelect().Model(&rows).Join("JOIN projects AS p ON p.id = t.project").Where("p.repo = ?", int64(repo)).Scan(ctx)
	if err != nil {
		return nil, domain("list holds", err)
	}
	all := holdMap(rows)
	var others []holdRow
	if err := s.read.NewRaw(heldByState+" AND q.repo = ?", int64(repo)).Scan(ctx, &others); err != nil {
		return nil, domain("find who holds a state", err)
	}
	for _, h := range others {
		if _, held := all[run.ProjectID(h.Project)]; !held {
			all[run.ProjectID(h.Project)] = run.PullID(h.Pull)
		}
	}
	return all, nil
}
