package store_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/store"
	"github.com/planlatch/planlatch/testkit/postgres"
)

// fixture is a repository with a pull request, a hundred projects and queued runs.
type fixture struct {
	repo     run.Repo
	pull     run.Pull
	projects []run.Project
	runs     []run.Run
}

func seed(tb testing.TB, s *store.Store, runs int) fixture {
	tb.Helper()
	ctx := tb.Context()
	must := func(err error) {
		if err != nil {
			tb.Fatal(err)
		}
	}
	var f fixture
	var err error
	f.repo, err = s.SaveRepo(ctx, run.Repo{Host: "gitea", HostID: "1", Name: "acme/infra"})
	must(err)
	f.pull, err = s.SavePull(ctx, run.Pull{Repo: f.repo.ID, Number: 1, State: "open", HeadSHA: "h"})
	must(err)
	for i := range 100 {
		f.projects = append(f.projects, run.Project{Repo: f.repo.ID, Dir: fmt.Sprintf("p%d", i), Workspace: "default"})
	}
	f.projects, err = s.SaveProjects(ctx, f.projects)
	must(err)
	var all []run.Run
	cause := time.Now().UnixNano() // its own, since a benchmark may seed one database several times
	for i := range runs {
		all = append(all, run.Run{
			Repo: f.repo.ID, Project: f.projects[i%100].ID, Cause: fmt.Sprint(cause, i), Kind: run.KindChange, State: run.Queued, Ordinal: i % 20,
		})
	}
	res, err := s.Advance(ctx, run.Scope{Pull: f.pull.ID}, func(run.Snapshot) (run.Change, error) {
		return run.Change{
			Action: run.ActRevise, New: all,
			Revision: &run.Revision{Repo: f.repo.ID, Pull: f.pull.ID, Branch: "main", Head: "h", Base: "b", Kind: run.KindChange},
		}, nil
	})
	must(err)
	f.runs = res.Runs
	return f
}

func engines(b *testing.B) map[string]store.Options {
	return map[string]store.Options{
		"SQLite":     {Dir: b.TempDir(), Sealer: newSealer()},
		"PostgreSQL": {DSN: postgres.New(b, postgres.Options{Fsync: true}), Sealer: newSealer()},
	}
}

func openBench(b *testing.B, o store.Options) *store.Store {
	b.Helper()
	s, err := store.Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

var event = fmt.Appendf(nil, `{"kind":"opened","body":%q}`, make([]byte, 500))

// BenchmarkDeliver stores deliveries as fast as it can.
func BenchmarkDeliver(b *testing.B) {
	for name, o := range engines(b) {
		b.Run(name, func(b *testing.B) {
			s := openBench(b, o)
			id := time.Now().UnixNano()
			for b.Loop() {
				id++
				if _, err := s.Deliver(b.Context(), run.Delivery{Host: "gitea", ID: fmt.Sprint(id), Event: event}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
		})
	}
}

// BenchmarkDeliverAt200 offers 200 deliveries a second, evenly, while jobs run, and reports how long each took to be durable.
func BenchmarkDeliverAt200(b *testing.B) {
	for name, o := range engines(b) {
		b.Run(name, func(b *testing.B) {
			s := openBench(b, o)
			s.Handle("intake", func(context.Context, string) error { return nil })
			if err := s.Start(b.Context()); err != nil {
				b.Fatal(err)
			}
			var mu sync.Mutex
			var took []time.Duration
			var wg sync.WaitGroup
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			id := time.Now().UnixNano()
			for b.Loop() {
				due := <-tick.C
				id++
				wg.Go(func() {
					if _, err := s.Deliver(b.Context(), run.Delivery{Host: "gitea", ID: fmt.Sprint(id), Event: event}); err != nil {
						b.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					took = append(took, time.Since(due))
				})
			}
			wg.Wait()
			slices.Sort(took)
			for _, p := range []int{50, 99} {
				b.ReportMetric(float64(took[len(took)*p/100].Microseconds())/1000, fmt.Sprintf("p%d-ms", p))
			}
			b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "deliveries/s")
		})
	}
}

// BenchmarkAdvance claims and requeues one run: a run, a slot, two postings and an audit row each time.
func BenchmarkAdvance(b *testing.B) {
	for name, o := range engines(b) {
		b.Run(name, func(b *testing.B) {
			s := openBench(b, o)
			r := seed(b, s, 1).runs[0]
			for b.Loop() {
				res, err := s.Advance(b.Context(), run.Scope{Runs: []run.At{{ID: r.ID, Epoch: r.Epoch}}}, func(snap run.Snapshot) (run.Change, error) {
					next := snap.Runs[0]
					c := run.Change{Action: run.ActClaimPlan, Audit: []run.Audit{{Actor: "node", Action: "claim", Outcome: "done"}}}
					if next.State == run.Queued {
						next.State, c.Take = run.Planning, map[run.ProjectID]run.ID{next.Project: next.ID}
					} else {
						next.State, c.Free = run.Queued, []run.ProjectID{next.Project}
					}
					c.Runs = []run.Run{next}
					return c, nil
				})
				if err != nil {
					b.Fatal(err)
				}
				r = res.Runs[0]
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "advances/s")
		})
	}
}

// BenchmarkNext asks for ten runs of a queue of several lengths; "busy" has nine of ten projects' slots taken.
func BenchmarkNext(b *testing.B) {
	for _, n := range []int{10, 1000, 10000} {
		for _, busy := range []bool{false, true} {
			for name, o := range engines(b) {
				b.Run(fmt.Sprintf("%s/%d/busy=%v", name, n, busy), func(b *testing.B) {
					s := openBench(b, o)
					f := seed(b, s, n)
					if busy {
						take := map[run.ProjectID]run.ID{}
						for i := range min(90, n-1) {
							take[f.runs[i].Project] = f.runs[i].ID
						}
						if _, err := s.Advance(b.Context(), run.Scope{}, func(run.Snapshot) (run.Change, error) {
							return run.Change{Action: run.ActClaimPlan, Take: take}, nil
						}); err != nil {
							b.Fatal(err)
						}
					}
					for b.Loop() {
						if _, err := s.Next(b.Context(), 10); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}

// BenchmarkJob is from asking for a job to its handler.
func BenchmarkJob(b *testing.B) {
	for name, o := range engines(b) {
		b.Run(name, func(b *testing.B) {
			s := openBench(b, o)
			done := make(chan struct{})
			s.Handle("look", func(context.Context, string) error { done <- struct{}{}; return nil })
			if err := s.Start(b.Context()); err != nil {
				b.Fatal(err)
			}
			n := 0
			for b.Loop() {
				n++
				if err := s.Enqueue(b.Context(), run.Job{Kind: "look", Key: fmt.Sprint(n)}); err != nil {
					b.Fatal(err)
				}
				<-done
			}
		})
	}
}
