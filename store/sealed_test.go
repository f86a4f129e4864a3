package store_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/store"
	"github.com/planlatch/planlatch/testkit/postgres"
)

// TestSealedFindsEverySealedValue fails when a column is added whose values Each does not find: a change of keys would lose them.
func TestSealedFindsEverySealedValue(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]store.Options{"SQLite": {Dir: t.TempDir()}, "PostgreSQL": {DSN: postgres.New(t, postgres.Options{})}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			o.Sealer = newSealer()
			s := open(t, o)
			id := fill(t, s)
			all, err := store.OpenSealed(ctx, o)
			if err != nil {
				t.Fatal(err)
			}
			defer all.Close()
			found := map[string]int{}
			err = all.Each(ctx, func(page []store.SealedValue) error {
				bodies := make([][]byte, len(page))
				for i, v := range page {
					table, _, _ := strings.Cut(v.Where, " ")
					found[table]++
					plain, err := o.Sealer.Open(ctx, v.Body)
					if err != nil {
						t.Errorf("%s does not open: %v", v.Where, err)
					}
					if bodies[i], err = o.Sealer.Seal(ctx, plain); err != nil {
						return err
					}
				}
				n, err := all.Replace(ctx, page, bodies)
				if n != len(page) || err != nil {
					t.Errorf("Replace() = %d, %v, want %d", n, err, len(page))
				}
				if n, err := all.Replace(ctx, page, bodies); n != 0 || err != nil {
					t.Errorf("Replace() of what has changed = %d, %v, want 0", n, err)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if want := []string{"deliveries", "findings", "log_chunks", "marks", "overrides", "postings", "pulls"}; !slices.Equal(slices.Sorted(maps.Keys(found)), want) || found["log_chunks"] != 120 {
				t.Errorf("found %v, want values of %v, 120 of them in log_chunks", found, want)
			}
			findings, err := s.Findings(ctx, id)
			if err != nil || len(findings[id]) != 1 || findings[id][0].Message != "port 22 of all" {
				t.Errorf("Findings() afterwards = %+v, %v", findings, err)
			}
			overrides, err := s.Overrides(ctx, 1)
			if err != nil || len(overrides) != 1 || overrides[0].Value != "port 22" {
				t.Errorf("Overrides() afterwards = %+v, %v", overrides, err)
			}
			said, err := s.Postings(ctx, run.PostingFilter{Kind: run.PostReply})
			if err != nil || len(said) != 1 || said[0].Body != "port 22 is open" {
				t.Errorf("Postings() afterwards = %+v, %v", said, err)
			}
			text, _, err := s.Log(ctx, id, "plan", 0)
			if want := bytes.Repeat([]byte("line\n"), 120); err != nil || !bytes.Equal(text, want) {
				t.Errorf("Log() afterwards = %d bytes, %v, want %d", len(text), err, len(want))
			}
		})
	}
}

// TestWhatWasReplacedIsGoneFromTheFiles: ciphertext of a key that leaked would else lie in the free pages of SQLite's file, in backups of it too,
// until something else is written there.
func TestWhatWasReplacedIsGoneFromTheFiles(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	o := store.Options{Dir: t.TempDir(), Sealer: newSealer()}
	s := open(t, o)
	id := fill(t, s)
	random := make([]byte, 100_000)
	_, _ = rand.Read(random)
	if err := s.AppendLog(ctx, id, "apply", 100_000, random); err != nil {
		t.Fatal(err)
	}
	all, err := store.OpenSealed(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	var before [][]byte
	err = all.Each(ctx, func(page []store.SealedValue) error {
		bodies := make([][]byte, len(page))
		for i, v := range page {
			bodies[i] = bytes.Repeat([]byte("new"), len(v.Body)/3+1)
			for at := 0; at+32 <= len(v.Body); at += 1000 {
				before = append(before, v.Body[at:at+32])
			}
		}
		_, err := all.Replace(ctx, page, bodies)
		return err
	})
	if err := errors.Join(err, all.Forget(ctx), all.Close()); err != nil { // the server goes on
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(o.Dir, "planlatch.db*"))
	if err != nil || len(files) == 0 || len(before) < 100 {
		t.Fatalf("files %q, %v, %d pieces to look for", files, err, len(before))
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		left := 0
		for _, piece := range before {
			if bytes.Contains(content, piece) {
				left++
			}
		}
		if left > 0 {
			t.Errorf("%s still has %d of %d pieces", file, left, len(before))
		}
	}
}

func fill(t *testing.T, s *store.Store) run.ID {
	t.Helper()
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	repo, err := s.SaveRepo(ctx, run.Repo{Host: "gitea", HostID: "1", Name: "acme/infra"})
	check(err)
	pull, err := s.SavePull(ctx, run.Pull{Repo: repo.ID, Number: 7, State: "open", Frozen: []byte("frozen")})
	check(err)
	_, err = s.Deliver(ctx, run.Delivery{Host: "gitea", ID: "1", Event: []byte("event")})
	check(err)
	ps, err := s.SaveProjects(ctx, []run.Project{{Repo: repo.ID, Dir: "p", Workspace: "default", Label: "p"}})
	check(err)
	res, err := s.Advance(ctx, run.Scope{Pull: pull.ID}, func(run.Snapshot) (run.Change, error) {
		return run.Change{
			Action:   run.ActRevise,
			Revision: &run.Revision{Repo: repo.ID, Pull: pull.ID, Branch: "main", Head: "h", Base: "b", Tree: "t", Kind: run.KindChange},
			New: []run.Run{{
				Repo: repo.ID, Pull: pull.ID, Project: ps[0].ID, Label: "p", Dir: "p", Work: "default", Kind: run.KindChange, Cause: "c", State: run.Queued,
			}},
		}, nil
	})
	check(err)
	id := res.Runs[0].ID
	_, err = s.Advance(ctx, run.Scope{Pull: pull.ID}, func(run.Snapshot) (run.Change, error) {
		return run.Change{
			Action: run.ActRejudge, Findings: map[run.ID][]run.Finding{id: {{Set: "s", Rule: "r", Message: "port 22 of all"}}},
			Overrides: []run.Override{{Pull: pull.ID, Project: ps[0].ID, Set: "s", Rule: "r", Value: "port 22"}},
		}, nil
	})
	check(err)
	check(s.Want(ctx, run.Posting{Kind: run.PostReply, Repo: repo.ID, Pull: pull.ID, Key: "c1", Body: "port 22 is open"}))
	for i := range int64(120) {
		check(s.AppendLog(ctx, res.Runs[0].ID, "plan", i+1, []byte("line\n")))
	}
	root, err := newSealer().Seal(ctx, []byte("root"))
	check(err)
	text := base64.StdEncoding.EncodeToString(root)
	kept, err := s.MarkFirst(ctx, "root_key", text)
	check(err)
	if again, err := s.MarkFirst(ctx, "root_key", "another"); err != nil || kept != text || again != text {
		t.Errorf("MarkFirst() = %q, then %q, %v, want the first value twice", kept, again, err)
	}
	return res.Runs[0].ID
}

// TestNoRowThatIsSaidHoldsASecret also shows that without Hide they would.
func TestNoRowThatIsSaidHoldsASecret(t *testing.T) {
	t.Parallel()
	for _, dir := range []bool{true, false} {
		for _, hide := range []func(string) string{nil, func(s string) string { return strings.ReplaceAll(s, "canary", "(redacted)") }} {
			o := store.Options{Hide: hide}
			if o.Dir = t.TempDir(); !dir {
				o = store.Options{Hide: hide, DSN: postgres.New(t, postgres.Options{})}
			}
			s := open(t, o)
			ctx := t.Context()
			id := fill(t, s)
			res, err := s.Advance(ctx, run.Scope{Runs: []run.At{{ID: id}}}, func(snap run.Snapshot) (run.Change, error) {
				r := snap.Runs[0]
				r.State, r.Reason = run.Failed, "because of canary"
				return run.Change{
					Action: run.ActFail, Runs: []run.Run{r}, Audit: []run.Audit{{Actor: "ann", Action: "fail", Run: id, Detail: "canary"}},
					Postings: []run.Posting{{Kind: run.PostReply, Repo: r.Repo, Key: "c2", Body: "no canary, no apply"}},
				}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			stored, err := s.Run(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			said, err := s.Postings(ctx, run.PostingFilter{Key: "c2"})
			if err != nil || len(said) != 1 {
				t.Fatalf("Postings() = %+v, %v", said, err)
			}
			audit, err := s.AuditRows(ctx, run.AuditFilter{})
			if err != nil || len(audit) != 1 {
				t.Fatalf("Audit() = %+v, %v", audit, err)
			}
			for _, text := range []string{res.Runs[0].Reason, stored.Reason, said[0].Body, audit[0].Detail} {
				if strings.Contains(text, "canary") != (hide == nil) || hide != nil && !strings.Contains(text, "(redacted)") {
					t.Errorf("hiding: %v; the row says %q", hide != nil, text)
				}
			}
		}
	}
}
