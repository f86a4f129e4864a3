package app

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/blob"
	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/store"
)

// keeping is a database with a project whose pull request is closed, a bucket, and the retention of both.
type keeping struct {
	*retention

	t        *testing.T
	dir      string
	revision run.Revision
	project  run.Project
}

const day = 24 * time.Hour

func newKeeping(t *testing.T) *keeping {
	t.Helper()
	dir := t.TempDir()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := store.Open(t.Context(), store.Options{Dir: dir, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	key, _, _, err := blob.GeneratedKey(filepath.Join(dir, "key"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := blob.Open(t.Context(), blob.Options{Dir: filepath.Join(dir, "blobs"), Key: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	})
	k := &keeping{t: t, dir: dir, retention: &retention{
		store: s, blobs: b, log: log, now: time.Now,
		rules: config.Retention{Logs: 90 * day, Plans: 30 * day, Messages: 90 * day, Deliveries: 14 * day},
	}}
	repo, err := s.SaveRepo(t.Context(), run.Repo{Host: "gitea", HostID: "1", Name: "acme/infra"})
	if err != nil {
		t.Fatal(err)
	}
	pull, err := s.SavePull(t.Context(), run.Pull{Repo: repo.ID, Number: 1, State: "closed"})
	if err != nil {
		t.Fatal(err)
	}
	ps, err := s.SaveProjects(t.Context(), []run.Project{{Repo: repo.ID, Dir: "p", Workspace: "default", Label: "p"}})
	if err != nil {
		t.Fatal(err)
	}
	k.project = ps[0]
	k.revision = k.advance(run.Change{Revision: &run.Revision{Repo: repo.ID, Pull: pull.ID, Branch: "main", Head: "h", Base: "b", Tree: "t", Kind: run.KindChange}}).Revision
	return k
}

func (k *keeping) advance(c run.Change) run.Result {
	k.t.Helper()
	c.Action = run.ActRevise
	res, err := k.store.Advance(k.t.Context(), run.Scope{}, func(run.Snapshot) (run.Change, error) { return c, nil })
	if err != nil {
		k.t.Fatal(err)
	}
	return res
}

// ended adds a run that failed days ago, with a log and blobs.
func (k *keeping) ended(cause string, days int, change ...func(*run.Run)) {
	k.t.Helper()
	at := time.Now().Add(-time.Duration(days) * day)
	r := run.Run{
		ID: run.ID(cause), Repo: k.revision.Repo, Revision: k.revision.ID, Pull: k.revision.Pull, Project: k.project.ID, Label: "p", Dir: "p", Work: "default",
		Kind: run.KindChange, Cause: cause, State: run.Failed, Created: at, Finished: at, Blobs: map[string]string{},
	}
	for _, name := range []string{"plan", "plan_json", "lock", "view"} {
		r.Blobs[name] = k.put("runs/" + cause + "/x/" + name)
	}
	for _, f := range change {
		f(&r)
	}
	r = k.advance(run.Change{New: []run.Run{r}}).Runs[0]
	if err := k.store.AppendLog(k.t.Context(), r.ID, "plan", 9, []byte("the plan\n")); err != nil {
		k.t.Fatal(err)
	}
}

func (k *keeping) put(key string) string {
	k.t.Helper()
	if err := k.blobs.Put(k.t.Context(), key, bytes.Repeat([]byte("x"), 1000)); err != nil {
		k.t.Fatal(err)
	}
	return key
}

// age makes a blob's file older.
func (k *keeping) age(key string, by time.Duration) {
	k.t.Helper()
	at := time.Now().Add(-by)
	if err := os.Chtimes(filepath.Join(k.dir, "blobs", key), at, at); err != nil {
		k.t.Fatal(err)
	}
}

// keys lists the names of all blobs, without what they have in common.
func (k *keeping) keys() string {
	k.t.Helper()
	var all []string
	if err := k.blobs.List(k.t.Context(), "", func(o blob.Object) error {
		all = append(all, strings.NewReplacer("runs/", "", "/x/", "-").Replace(o.Key))
		return nil
	}); err != nil {
		k.t.Fatal(err)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func (k *keeping) look(ctx context.Context) {
	k.t.Helper()
	if err := k.run(ctx, "all"); err != nil {
		k.t.Fatal(err)
	}
}

func TestRetentionTakesPlansThenLogsAndLeavesTheRun(t *testing.T) {
	t.Parallel()
	k := newKeeping(t)
	k.ended("a", 100)
	k.ended("b", 40)
	k.ended("c", 10)
	k.ended("d", 1)
	k.look(t.Context())
	if got, want := k.keys(), "b-view c-lock c-plan c-plan_json c-view d-lock d-plan d-plan_json d-view"; got != want {
		t.Errorf("blobs are %s, want %s", got, want)
	}
	for id, gone := range map[run.ID]bool{"a": true, "b": false, "c": false} {
		r, err := k.store.Run(t.Context(), id)
		if err != nil || r.LogGone.IsZero() == gone {
			t.Errorf("run %s: LogGone = %v, %v, want gone %v", id, r.LogGone, err, gone)
		}
		text, _, err := k.store.Log(t.Context(), id, "plan", 0)
		if err != nil || (len(text) == 0) != gone {
			t.Errorf("log of %s = %q, %v, want gone %v", id, text, err, gone)
		}
	}
}

func TestRetentionOfZeroKeepsForEver(t *testing.T) {
	t.Parallel()
	k := newKeeping(t)
	k.rules = config.Retention{}
	k.ended("a", 4000)
	k.ended("b", 1)
	before := k.keys()
	k.look(t.Context())
	if got := k.keys(); got != before {
		t.Errorf("blobs are %s, want %s", got, before)
	}
}

func TestAStateThatIsNotSavedIsNeverRemoved(t *testing.T) {
	t.Parallel()
	k := newKeeping(t)
	key := k.put("runs/a/x/errored.tfstate")
	k.ended("a", 1000, func(r *run.Run) { r.Unsaved, r.Blobs["errored_state"] = true, key })
	k.ended("b", 1)
	lost := k.put("runs/nobody/x/errored.tfstate") // its row is not in this database
	k.age(lost, 1000*day)
	k.age(key, 1000*day)
	k.look(t.Context())
	for _, want := range []string{"a-errored.tfstate", "a-plan", "nobody-errored.tfstate"} {
		if !slices.Contains(strings.Fields(k.keys()), want) {
			t.Errorf("%s is gone: %s", want, k.keys())
		}
	}
}

func TestBlobsWithoutARowAreSweptOnceNobodyCanBeWritingThem(t *testing.T) {
	t.Parallel()
	k := newKeeping(t)
	k.ended("a", 1)
	k.ended("busy", 1, func(r *run.Run) { r.State, r.Finished = run.Applying, time.Time{} })
	for key, age := range map[string]time.Duration{
		"runs/a/y/old": 2 * time.Hour, "runs/a/y/fresh": time.Minute, "runs/busy/y/settling": 2 * time.Hour, "runs/a/x/plan": 1000 * time.Hour,
		"runs/unknown/y/young": 2 * time.Hour, "runs/unknown/y/old": 25 * time.Hour,
	} {
		if key != "runs/a/x/plan" {
			k.put(key)
		}
		k.age(key, age)
	}
	half := filepath.Join(k.dir, "blobs", "runs", "a", "x", "plan.18c2f00dcafe.tmp")
	if err := os.WriteFile(half, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-2 * day)
	if err := os.Chtimes(half, at, at); err != nil {
		t.Fatal(err)
	}
	k.look(t.Context())
	got := strings.Fields(k.keys())
	for name, want := range map[string]bool{
		"a/y/old": false, "a/y/fresh": true, "busy/y/settling": true, "a-plan": true, "unknown/y/young": true, "unknown/y/old": false,
	} {
		if slices.Contains(got, name) != want {
			t.Errorf("%s kept = %v, want %v: %v", name, !want, want, got)
		}
	}
	if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the half-written file is there: %v", err)
	}
}

func TestPlansGoBeforeTheirTimeWhenBlobsAreTooLarge(t *testing.T) {
	t.Parallel()
	k := newKeeping(t)
	k.ended("a", 3)
	k.ended("b", 2)
	k.ended("c", 1)
	k.disk.Blobs = 11_000 // each of twelve takes something over a thousand bytes
	k.look(t.Context())
	if got, want := k.keys(), "a-view b-lock b-plan b-plan_json b-view c-lock c-plan c-plan_json c-view"; got != want {
		t.Errorf("blobs are %s, want %s", got, want)
	}
	k.disk.Blobs = 1
	k.look(t.Context())
	if got, want := k.keys(), "a-view b-view c-lock c-plan c-plan_json c-view"; got != want {
		t.Errorf("blobs are %s, want those of the newest run left alone: %s", got, want)
	}
}
