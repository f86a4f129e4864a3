// Package upgrade_test holds this version to what earlier ones wrote: data directories that real servers made and that this tree keeps.
//
// testdata/README.md says what is in them and how the next one is made.
package upgrade_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/blob"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/store"
	"github.com/planlatch/planlatch/testkit/helper"
)

// TestMain lets the test binary be a shim, the program planlatch, or the tests.
func TestMain(m *testing.M) {
	if env := app.Environment(); env[asProgram] != "" {
		os.Exit(app.Run(context.Background(), os.Args[1:], env, os.Stdout, os.Stderr))
	}
	os.Exit(helper.Beside(m.Run))
}

// asProgram, in the environment of the test's own binary, makes it planlatch.
const asProgram = "PLANLATCH_TEST_AS_PROGRAM"

// facts are what a version says of all that it stored, in its own words and in the clear. They are compared with what this version says of
// the same rows, so a field may be added and none may lose its meaning.
type facts struct {
	Repos      []run.Repo
	Pulls      []run.Pull
	Revisions  []run.Revision
	Projects   []run.Project
	Runs       []run.Run
	Findings   map[run.ID][]run.Finding
	Overrides  map[run.PullID][]run.Override
	Logs       map[run.ID]map[string]string // text by phase
	Blobs      map[string]string            // SHA-256 by key
	Locks      []run.Lock
	Pauses     []run.Pause
	Postings   []run.Posting
	Audit      []run.Audit
	Deliveries []run.Delivery
}

// opened is the database and the blobs of a data directory.
type opened struct {
	*store.Store
	blobs *blob.Store
}

// openParts opens a data directory as a server does, without being one. dsn is empty for SQLite.
func openParts(t *testing.T, dir, dsn string) opened {
	t.Helper()
	key := readKey(t, dir)
	sealer, err := blob.OpenSealer(t.Context(), key)
	must(t, err)
	t.Cleanup(func() { must(t, sealer.Close()) })
	o := store.Options{Dir: dir, Sealer: sealer}
	if dsn != "" {
		o = store.Options{DSN: dsn, Sealer: sealer}
	}
	s, err := store.Open(t.Context(), o)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	blobs, err := blob.Open(t.Context(), blob.Options{Dir: filepath.Join(dir, "blobs"), Key: key})
	must(t, err)
	t.Cleanup(func() { must(t, blobs.Close()) })
	return opened{s, blobs}
}

func readKey(t *testing.T, dir string) string {
	t.Helper()
	key, _, created, err := blob.GeneratedKey(filepath.Join(dir, "key"))
	must(t, err)
	if created {
		t.Fatalf("%s has no key of its own", dir)
	}
	return key
}

// tell reads everything. deliveries are the ids of those to read, of host github.
func (o opened) tell(t *testing.T, deliveries []string) facts {
	t.Helper()
	ctx := t.Context()
	f := facts{
		Findings: map[run.ID][]run.Finding{}, Overrides: map[run.PullID][]run.Override{}, Logs: map[run.ID]map[string]string{},
		Blobs: map[string]string{},
	}
	f.Repos = have(o.Repos(ctx))(t)
	f.Runs = have(o.Runs(ctx, run.Filter{}))(t)
	f.Locks = have(o.Locks(ctx))(t)
	f.Pauses = have(o.Pauses(ctx))(t)
	f.Postings = have(o.Postings(ctx, run.PostingFilter{}))(t)
	f.Audit = have(o.AuditRows(ctx, run.AuditFilter{}))(t)
	pulls, revisions, projects := map[run.PullID]bool{0: true}, map[run.RevisionID]bool{}, map[run.ProjectID]bool{}
	for _, r := range f.Runs {
		if !pulls[r.Pull] {
			pulls[r.Pull] = true
			f.Pulls = append(f.Pulls, have(o.Pull(ctx, r.Pull))(t))
			f.Overrides[r.Pull] = have(o.Overrides(ctx, r.Pull))(t)
		}
		if !revisions[r.Revision] {
			revisions[r.Revision] = true
			f.Revisions = append(f.Revisions, have(o.Revision(ctx, r.Revision))(t))
		}
		if !projects[r.Project] {
			projects[r.Project] = true
			f.Projects = append(f.Projects, have(o.Project(ctx, r.Project))(t))
		}
		found := have(o.Findings(ctx, r.ID))(t)
		f.Findings[r.ID] = found[r.ID]
		f.Logs[r.ID] = map[string]string{}
		for _, phase := range []string{"plan", "apply"} {
			text, _, err := o.Log(ctx, r.ID, phase, 0)
			must(t, err)
			f.Logs[r.ID][phase] = string(text)
		}
		for _, key := range r.Blobs {
			sum := sha256.Sum256(have(o.blobs.Get(ctx, key))(t))
			f.Blobs[key] = hex.EncodeToString(sum[:])
		}
	}
	for _, id := range deliveries {
		d, err := o.Delivery(ctx, "github", id)
		if errors.Is(err, run.ErrNotFound) {
			continue // it was ignored at the door
		}
		must(t, err)
		f.Deliveries = append(f.Deliveries, d)
	}
	return f
}

// have returns what a call returns, or ends the test.
func have[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		must(t, err)
		return v
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
