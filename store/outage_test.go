package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/store"
	"github.com/planlatch/planlatch/testkit/postgres"
)

// River tries for some seconds to write down what became of a job, and leaves it "running" after that.
func TestAJobThatTheDatabaseLeftAloneIsDoneWhenItIsBack(t *testing.T) {
	t.Parallel()
	database := postgres.Own(t, postgres.Options{Fsync: true}) // what was committed stays: else a job looks as if nobody had taken it
	s := open(t, store.Options{DSN: database.URL})
	runs, results, over := make(chan string), make(chan error), make(chan struct{})
	s.Handle("look", func(_ context.Context, key string) error {
		select {
		case runs <- key:
		case <-over: // once more than asked for, because a connection was still broken
			return nil
		}
		select {
		case err := <-results:
			return err
		case <-over:
			return nil
		}
	})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask := func(key string) {
		t.Helper()
		if err := s.Enqueue(t.Context(), run.Job{Kind: "look", Key: key}); err != nil {
			t.Fatal(err)
		}
	}
	next := func(within time.Duration) string {
		t.Helper()
		select {
		case key := <-runs:
			return key
		case <-time.After(within):
			t.Fatalf("no job within %s", within)
			return ""
		}
	}
	ask("fails")
	ask("succeeds")
	for range 2 {
		next(time.Minute)
	}
	database.Stop()
	results <- nil
	results <- errors.New("the database is away")
	<-time.After(12 * time.Second) // longer than River tries
	database.Start()
	again := map[string]bool{}
	for range 2 {
		again[next(2*time.Minute)] = true
	}
	close(over)
	if !again["fails"] || !again["succeeds"] {
		t.Errorf("done again: %v, want both, of which nothing was written down", again)
	}
	left := -1
	for deadline := time.Now().Add(time.Minute); left != 0 && time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		left = count(t, database.URL, "SELECT count(*) FROM river_job WHERE state <> 'completed'")
	}
	if left != 0 {
		t.Errorf("%d jobs are left behind", left)
	}
}

func TestAJobThatRunsInOurNameAndNowhereIsTakenBack(t *testing.T) {
	t.Parallel()
	o := store.Options{DSN: postgres.New(t, postgres.Options{})}
	s := open(t, o)
	keys := make(chan string, 2)
	s.Handle("intake", func(_ context.Context, key string) error { keys <- key; return nil })
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Enqueue(t.Context(), run.Job{Kind: "intake", Key: "first"}); err != nil {
		t.Fatal(err)
	}
	<-keys
	// As it is left when the connection ends between the commit that hands it out and the answer.
	execute(t, o.DSN, `INSERT INTO river_job (args, attempt, attempted_at, attempted_by, kind, max_attempts, queue, state)
		SELECT '{"job":"intake","key":"lost"}', 1, now(), attempted_by, 'planlatch', 20, 'default', 'running' FROM river_job LIMIT 1`)
	select {
	case key := <-keys:
		if key != "lost" {
			t.Errorf("job %q ran, want the lost one", key)
		}
	case <-time.After(2 * time.Minute): // four looks, five seconds apart
		t.Fatal("nobody took the job back")
	}
}

// With the race detector this also shows that a connection that was given up is not used beside the pool that closes it.
func TestACallerThatGivesUpInATransactionTakesItAlong(t *testing.T) {
	t.Parallel()
	o := store.Options{DSN: postgres.New(t, postgres.Options{})}
	s := open(t, o)
	f := seed(t, s, 0)
	for range 20 {
		ctx, giveUp := context.WithCancel(t.Context())
		_, err := s.Advance(ctx, run.Scope{Pull: f.pull.ID}, func(run.Snapshot) (run.Change, error) {
			giveUp()
			return run.Change{Action: run.ActRevise, Audit: []run.Audit{{Actor: "ann", Action: "apply"}}}, nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Advance() error = %v, want %v", err, context.Canceled)
		}
		if err := s.Ping(t.Context()); err != nil {
			t.Errorf("Ping() after it error = %v", err)
		}
	}
	if got := count(t, o.DSN, "SELECT count(*) FROM audit"); got != 0 {
		t.Errorf("%d rows were written by transactions that nobody waited for", got)
	}
}

func count(t *testing.T, dsn, query string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if err := conn.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
