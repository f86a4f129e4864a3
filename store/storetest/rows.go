package storetest

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/run"
)

func rowTests() map[string]func(*testing.T, Database) {
	return map[string]func(*testing.T, Database){
		"AnOlderLookAtAPullChangesNothing": anOlderLookAtAPullChangesNothing,
		"ARepositoryIsItsHostID":           aRepositoryIsItsHostID,
		"ANameMeansWhoHasItNow":            aNameMeansWhoHasItNow,
		"APullIsItsNumber":                 aPullIsItsNumber,
		"WhatAMergeFrozeStays":             whatAMergeFrozeStays,
		"OpenPullsAndPullsAt":              openPullsAndPullsAt,
		"ProjectsComeBackInOrder":          projectsComeBackInOrder,
		"LatestRevisionIsTheNewest":        latestRevisionIsTheNewest,
		"ARevisionComesBackWhole":          aRevisionComesBackWhole,
		"RunsAreFiltered":                  runsAreFiltered,
		"HoldsAreThoseOfTheRepository":     holdsAreThoseOfTheRepository,
		"ProjectsOfTheSameNameAreKept":     projectsOfTheSameNameAreKept,
		"FindingsOfNoRunsAreNone":          findingsOfNoRunsAreNone,
		"ManyWritersSaveTheSameObjects":    manyWritersSaveTheSameObjects,
		"AStateIsOfWhoAppliedToItLast":     aStateIsOfWhoAppliedToItLast,
	}
}

func aRepositoryIsItsHostID(t *testing.T, db Database) {
	s := db.Open(t, Options{})
	ctx := t.Context()
	first, err := s.SaveRepo(ctx, run.Repo{Host: "gitea", HostID: "1", Name: "a/b", DefaultBranch: "main"})
	check(t, "SaveRepo", err)
	renamed, err := s.SaveRepo(ctx, run.Repo{Host: "gitea", HostID: "1", Name: "a/c", DefaultBranch: "trunk"})
	check(t, "SaveRepo", err)
	want := run.Repo{ID: first.ID, Host: "gitea", HostID: "1", Name: "a/c", DefaultBranch: "trunk"}
	if diff := cmp.Diff(want, renamed); diff != "" {
		t.Errorf("SaveRepo() differs (-want +got):\n%s", diff)
	}
	got, err := s.Repo(ctx, first.ID)
	check(t, "Repo", err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Repo() differs (-want +got):\n%s", diff)
	}
	elsewhere, err := s.SaveRepo(ctx, run.Repo{Host: "github", HostID: "1", Name: "a/c"})
	check(t, "SaveRepo", err)
	if elsewhere.ID == first.ID {
		t.Error("a repository of another host is the same")
	}
	all, err := s.Repos(ctx)
	check(t, "Repos", err)
	if diff := cmp.Diff([]run.Repo{renamed, elsewhere}, all); diff != "" {
		t.Errorf("Repos() differs (-want +got):\n%s", diff)
	}
}

func aNameMeansWhoHasItNow(t *testing.T, db Database) {
	s := db.Open(t, Options{})
	ctx := t.Context()
	_, err := s.SaveRepo(ctx, run.Repo{Host: "gitea", HostID: "1", Name: "a/b"})
	check(t, "SaveRepo", err)
	recreated, err := s.SaveRepo(ctx, run.Repo{Host: "gitea", HostID: "2", Name: "a/b"})
	check(t, "SaveRepo", err)
	got, err := s.RepoByName(ctx, "gitea", "a/b")
	check(t, "RepoByName", err)
	if got.ID != recreated.ID {
		t.Errorf("RepoByName() = %d, want %d", got.ID, recreated.ID)
	}
}

func aPullIsItsNumber(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 0)
	ctx := t.Context()
	want := run.Pull{
		Repo: w.repo.ID, Number: 7, State: "closed", Draft: true, Fork: true, Title: "T", URL: "https://x", Author: "bob", HeadSHA: "h", HeadBranch: "b",
		BaseBranch: "trunk", MergeCommit: "m", MergedBy: "eve", Frozen: []byte(`{"x":1}`), Updated: instant(5),
	}
	got, err := w.SavePull(ctx, want)
	check(t, "SavePull", err)
	want.ID = w.pull.ID
	if got.State != "open" || got.Draft {
		t.Errorf("SavePull() made a stored pull %s, draft %t: that is for Advance, with what it causes", got.State, got.Draft)
	}
	w.advance(run.Scope{Pull: want.ID}, run.Change{Pull: &want})
	got, err = w.SavePull(ctx, want)
	check(t, "SavePull", err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("SavePull() differs (-want +got):\n%s", diff)
	}
	for name, read := range map[string]func() (run.Pull, error){
		"Pull":         func() (run.Pull, error) { return w.Pull(ctx, w.pull.ID) },
		"PullByNumber": func() (run.Pull, error) { return w.PullByNumber(ctx, w.repo.ID, 7) },
	} {
		got, err := read()
		check(t, name, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s() differs (-want +got):\n%s", name, diff)
		}
	}
}

func whatAMergeFrozeStays(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 0)
	p := w.pull
	p.MergeCommit, p.Frozen = "m1", []byte("review")
	_, err := w.SavePull(t.Context(), p)
	check(t, "SavePull", err)
	p.MergeCommit, p.Frozen, p.Title = "", nil, "Renamed"
	saved, err := w.SavePull(t.Context(), p)
	check(t, "SavePull", err)
	if saved.MergeCommit != "m1" || string(saved.Frozen) != "review" || saved.Title != "Renamed" {
		t.Errorf("SavePull() = %+v, want the merge kept and the title new", saved)
	}
	w.advance(run.Scope{Pull: p.ID}, run.Change{Pull: &p})
	if got, err := w.Pull(t.Context(), p.ID); err != nil || got.MergeCommit != "m1" || string(got.Frozen) != "review" {
		t.Errorf("Pull() after Advance = %+v, %v, want the merge kept", got, err)
	}
}

func openPullsAndPullsAt(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 0)
	ctx := t.Context()
	eight := w.savePull(8)
	nine, err := w.SavePull(ctx, run.Pull{Repo: w.repo.ID, Number: 9, State: "closed", HeadSHA: eight.HeadSHA})
	check(t, "SavePull", err)
	open, err := w.OpenPulls(ctx, w.repo.ID)
	check(t, "OpenPulls", err)
	if diff := cmp.Diff([]run.Pull{w.pull, eight}, open); diff != "" {
		t.Errorf("OpenPulls() differs (-want +got):\n%s", diff)
	}
	at, err := w.PullsAt(ctx, w.repo.ID, nine.HeadSHA)
	check(t, "PullsAt", err)
	if diff := cmp.Diff([]run.Pull{eight}, at); diff != "" {
		t.Errorf("PullsAt() differs (-want +got):\n%s", diff)
	}
}

func projectsComeBackInOrder(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 0)
	ctx := t.Context()
	project := func(dir, label, identity string) run.Project {
		return run.Project{Repo: w.repo.ID, Dir: dir, Workspace: "default", Label: label, Identity: identity}
	}
	saved, err := w.SaveProjects(ctx, []run.Project{project("z", "z", ""), project("a", "a", "s3/a"), project("m", "m", "")})
	check(t, "SaveProjects", err)
	again, err := w.SaveProjects(ctx, []run.Project{project("a", "renamed", ""), project("new", "new", ""), project("z", "z", "s3/z")})
	check(t, "SaveProjects", err)
	want := []run.Project{project("a", "renamed", "s3/a"), project("new", "new", ""), project("z", "z", "s3/z")}
	want[0].ID, want[1].ID, want[2].ID = saved[1].ID, again[1].ID, saved[0].ID
	if diff := cmp.Diff(want, again); diff != "" {
		t.Errorf("SaveProjects() differs (-want +got):\n%s", diff)
	}
	got, err := w.Project(ctx, saved[1].ID)
	check(t, "Project", err)
	if diff := cmp.Diff(want[0], got); diff != "" {
		t.Errorf("Project() differs (-want +got):\n%s", diff)
	}
	if none, err := w.SaveProjects(ctx, nil); err != nil || len(none) != 0 {
		t.Errorf("SaveProjects(nil) = %v, %v, want none", none, err)
	}
}

func projectsOfTheSameNameAreKept(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 0)
	p := run.Project{Repo: w.repo.ID, Dir: "a", Workspace: "default"}
	other := p
	other.Workspace = "prod"
	saved, err := w.SaveProjects(t.Context(), []run.Project{p, other, p})
	check(t, "SaveProjects", err)
	if saved[0].ID == saved[1].ID || saved[0].ID != saved[2].ID {
		t.Errorf("SaveProjects() = %v, want one id per directory and workspace", saved)
	}
}

func latestRevisionIsTheNewest(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 0)
	var last run.Revision
	for _, head := range []string{"c", "b", "a"} {
		last = w.advance(run.Scope{Pull: w.pull.ID}, run.Change{Revision: w.newRevision(w.pull, head)}).Revision
	}
	expect := func(say string, want run.Revision) {
		t.Helper()
		got, err := w.LatestRevision(t.Context(), w.pull.ID, run.KindChange)
		check(t, "LatestRevision", err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: LatestRevision() differs (-want +got):\n%s", say, diff)
		}
	}
	expect("inserted", last)
	same := w.advance(run.Scope{Pull: w.pull.ID}, run.Change{Revision: w.newRevision(w.pull, "a")}).Revision
	expect("again", last)
	if diff := cmp.Diff(last, same); diff != "" {
		t.Errorf("the same revision again differs (-want +got):\n%s", diff)
	}

	// What a push or a change of the base went back to is the newest again.
	back := w.advance(run.Scope{Pull: w.pull.ID}, run.Change{Revision: w.newRevision(w.pull, "b")}).Revision
	expect("back", back)
	if back.ID == last.ID || !back.Created.After(last.Created) {
		t.Errorf("back at %+v after %+v, want another, later", back, last)
	}
	elsewhere := w.newRevision(w.pull, "b")
	elsewhere.Branch = "release"
	moved := w.advance(run.Scope{Pull: w.pull.ID}, run.Change{Revision: elsewhere}).Revision
	expect("retargeted", moved)
	if moved.ID != back.ID || moved.Branch != "release" {
		t.Errorf("retargeted to %+v, want %+v on release", moved, back)
	}
}

func aRevisionComesBackWhole(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	want := run.Revision{
		Repo: w.repo.ID, Pull: w.pull.ID, Branch: "main", Head: "h", Base: "b", Tree: "t", Kind: run.KindChange,
		Problems: []run.Problem{{File: "planlatch.yaml", Line: 3, Column: 4, Key: "k", Message: "m", Fix: "f"}},
		Selection: []run.Selected{{Project: w.projects[0].ID, Dir: "p0", Workspace: "default", Label: "p0", Reasons: []string{"changed"}, Deleted: true,
			Skipped: "s", Settings: run.Settings{Apply: run.ApplyOff}}},
		Notes: []string{"note"}, Created: instant(3), Posted: instant(4),
	}
	stored := w.advance(run.Scope{Pull: w.pull.ID}, run.Change{Revision: &want}).Revision
	want.ID = stored.ID
	if diff := cmp.Diff(want, stored); diff != "" {
		t.Errorf("Result.Revision differs (-want +got):\n%s", diff)
	}
	got, err := w.Revision(t.Context(), stored.ID)
	check(t, "Revision", err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Revision() differs (-want +got):\n%s", diff)
	}
	if w.revision.Created.IsZero() {
		t.Error("a revision without a time got none")
	}
}

func runsAreFiltered(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 2)
	a := w.add(w.newRun(0, "a"))[0]
	b := w.add(w.newRun(1, "a"))[0]
	w.move(b.ID, run.Planned, run.Change{})
	merge := w.newRun(0, "merge")
	merge.Revision, merge.Pull, merge.Kind = 0, 0, run.KindMerge
	res := w.advance(run.Scope{Repo: w.repo.ID, Branch: "main"}, run.Change{
		Revision: &run.Revision{Repo: w.repo.ID, Branch: "main", Head: "m", Base: "b", Kind: run.KindMerge}, New: []run.Run{merge},
	})
	c := res.Runs[0]
	for name, test := range map[string]struct {
		filter run.Filter
		want   []run.ID
	}{
		"nothing":  {run.Filter{}, []run.ID{c.ID, b.ID, a.ID}},
		"repo":     {run.Filter{Repo: w.repo.ID}, []run.ID{c.ID, b.ID, a.ID}},
		"pull":     {run.Filter{Pull: w.pull.ID}, []run.ID{b.ID, a.ID}},
		"revision": {run.Filter{Revision: res.Revision.ID}, []run.ID{c.ID}},
		"project":  {run.Filter{Project: w.projects[0].ID}, []run.ID{c.ID, a.ID}},
		"head":     {run.Filter{Head: "head1"}, []run.ID{b.ID, a.ID}},
		"kind":     {run.Filter{Kind: run.KindMerge}, []run.ID{c.ID}},
		"states":   {run.Filter{States: []run.State{run.Queued, run.Failed}}, []run.ID{c.ID, a.ID}},
		"limit":    {run.Filter{Limit: 1}, []run.ID{c.ID}},
		"none":     {run.Filter{Repo: 99}, []run.ID{}},
	} {
		got, err := w.Runs(t.Context(), test.filter)
		check(t, "Runs", err)
		if diff := cmp.Diff(test.want, ids(got)); diff != "" {
			t.Errorf("Runs() by %s differs (-want +got):\n%s", name, diff)
		}
	}
}

func holdsAreThoseOfTheRepository(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	w.advance(run.Scope{Pull: w.pull.ID}, run.Change{Hold: map[run.ProjectID]run.PullID{w.projects[0].ID: w.pull.ID}})
	other, err := w.SaveRepo(t.Context(), run.Repo{Host: "gitea", HostID: "2", Name: "x/y"})
	check(t, "SaveRepo", err)
	if got, err := w.Holds(t.Context(), other.ID); err != nil || len(got) != 0 {
		t.Errorf("Holds() of another repository = %v, %v, want none", got, err)
	}
}

func findingsOfNoRunsAreNone(t *testing.T, db Database) {
	if got, err := db.Open(t, Options{}).Findings(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("Findings() = %v, %v, want none", got, err)
	}
}

func manyWritersSaveTheSameObjects(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 5)
	atOnce(func(i int) {
		for range 5 {
			ps := []run.Project{w.projects[0], w.projects[1], w.projects[2], w.projects[3], w.projects[4]}
			if i%2 == 0 {
				ps[0], ps[4] = ps[4], ps[0]
			}
			saved, err := w.SaveProjects(t.Context(), ps)
			if err != nil || saved[1] != ps[1] {
				t.Errorf("SaveProjects() = %v, %v", saved, err)
			}
			if _, err := w.SavePull(t.Context(), w.pull); err != nil {
				t.Errorf("SavePull() error = %v", err)
			}
			if _, err := w.SaveRepo(t.Context(), w.repo); err != nil {
				t.Errorf("SaveRepo() error = %v", err)
			}
		}
	})
}

// anOlderLookAtAPullChangesNothing: of two replicas that look at a pull request the slower may have seen it before it was merged.
func anOlderLookAtAPullChangesNothing(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 0)
	p := w.pull
	p.State, p.HeadSHA, p.Updated = "merged", "new", instant(3)
	w.advance(run.Scope{Pull: p.ID}, run.Change{Pull: &p})
	p.State, p.HeadSHA, p.Updated = "open", "old", instant(2)
	got, err := w.SavePull(t.Context(), p)
	check(t, "SavePull", err)
	if got.State != "merged" || got.HeadSHA != "new" || !got.Updated.Equal(instant(3)) {
		t.Errorf("SavePull() of an older look = %s at %s, want what was stored", got.State, got.HeadSHA)
	}
}

func aStateIsOfWhoAppliedToItLast(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 4)
	applies := func(project int, identity string, at int) {
		r := w.newRun(project, fmt.Sprint(identity, at))
		r.State, r.Identity = run.Applied, identity
		if at > 0 {
			r.ApplyStarted = instant(at)
		}
		w.add(r)
	}
	applies(0, "s3:one", 1)
	applies(0, "s3:one", 2)
	applies(1, "s3:one", 3)
	applies(1, "s3:two", 4) // it has left
	applies(2, "s3:one", 0) // it was only planned
	applies(3, "", 5)
	applies(0, "", 6) // nobody knows of which state, so nothing is known to have changed
	got, err := w.Appliers(t.Context(), "s3:one", "s3:two", "s3:three")
	check(t, "Appliers", err)
	want := map[string][]run.Project{"s3:one": {w.projects[0]}, "s3:two": {w.projects[1]}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Appliers() differs (-want +got):\n%s", diff)
	}
	if none, err := w.Appliers(t.Context()); err != nil || len(none) > 0 {
		t.Errorf("Appliers() of no state = %v, %v, want none", none, err)
	}
}
