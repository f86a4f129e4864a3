package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
)

func deliveryTests() map[string]func(*testing.T, Database) {
	return map[string]func(*testing.T, Database){
		"ADeliveryIsKeptOnceWithItsJob": aDeliveryIsKeptOnceWithItsJob,
		"EightRedeliveriesAreOne":       eightRedeliveriesAreOne,
	}
}

const patience = time.Minute // with a loaded machine, before a case fails

// start starts the store's jobs; they end with the test.
func start(t *testing.T, s Store) {
	t.Helper()
	check(t, "Start", s.Start(t.Context()))
	t.Cleanup(func() {
		if err := s.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Stop() error = %v", err)
		}
	})
}

// receive waits for a value from a job.
func receive[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s did not happen within %s", what, patience)
		panic("unreachable")
	}
}

// collect is a handler that passes on its keys.
func collect(n int) (chan string, func(context.Context, string) error) {
	keys := make(chan string, n)
	return keys, func(_ context.Context, key string) error {
		keys <- key
		return nil
	}
}

func aDeliveryIsKeptOnceWithItsJob(t *testing.T, db Database) {
	s := db.Open(t, Options{})
	ctx := t.Context()
	keys, handler := collect(10)
	s.Handle("intake", handler)
	want := run.Delivery{Host: "gitea", ID: "d/1", Event: []byte("{\"a\":\"\x00\"}"), Received: instant(1)}
	if fresh, err := s.Deliver(ctx, want); err != nil || !fresh {
		t.Fatalf("Deliver() = %v, %v, want fresh", fresh, err)
	}
	start(t, s)
	if got := receive(t, keys, "the job"); got != "gitea/d/1" {
		t.Errorf("job key = %q, want gitea/d/1", got)
	}
	got, err := s.Delivery(ctx, "gitea", "d/1")
	check(t, "Delivery", err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Delivery() differs (-want +got):\n%s", diff)
	}
	check(t, "Delivered", s.Delivered(ctx, "gitea", "d/1", "made 2 runs"))
	again := want
	again.Event = []byte("other")
	if fresh, err := s.Deliver(ctx, again); err != nil || fresh {
		t.Errorf("Deliver() of a known one = %v, %v, want not fresh", fresh, err)
	}
	if got, err := s.Delivery(ctx, "gitea", "d/1"); err != nil || got.Outcome != "made 2 runs" || string(got.Event) != string(want.Event) {
		t.Errorf("Delivery() after a redelivery = %+v, %v", got, err)
	}
	if fresh, err := s.Deliver(ctx, run.Delivery{Host: "github", ID: "d/1", Event: []byte("{}")}); err != nil || !fresh {
		t.Errorf("Deliver() of another host = %v, %v, want fresh", fresh, err)
	}
	if got := receive(t, keys, "the job of the other host"); got != "github/d/1" {
		t.Errorf("job key = %q, want github/d/1: a redelivery made a job", got)
	}
}

func eightRedeliveriesAreOne(t *testing.T, db Database) {
	s := db.Open(t, Options{})
	for i := range 10 {
		var fresh atomic.Int32
		atOnce(func(int) {
			ok, err := s.Deliver(t.Context(), run.Delivery{Host: "gitea", ID: fmt.Sprint(i), Event: []byte("{}")})
			if err != nil {
				t.Errorf("Deliver() error = %v", err)
			}
			if ok {
				fresh.Add(1)
			}
		})
		if fresh.Load() != 1 {
			t.Fatalf("%d deliveries were fresh, want 1", fresh.Load())
		}
	}
}

func jobTests() map[string]func(*testing.T, Database) {
	return map[string]func(*testing.T, Database){
		"WaitingJobsCoalesce":                 waitingJobsCoalesce,
		"AJobAskedForWhileItRunsRunsAgain":    aJobAskedForWhileItRunsRunsAgain,
		"NoWakeUpIsLostAndNoneRunsBesideOne":  noWakeUpIsLost,
		"AJobOfAChangeCommitsWithIt":          aJobOfAChangeCommitsWithIt,
		"AFailedJobIsTriedAgain":              aFailedJobIsTriedAgain,
		"APanicIsAFailure":                    aPanicIsAFailure,
		"ANewRequestDoesNotWaitForAnOldRetry": aNewRequestDoesNotWaitForAnOldRetry,
		"ARetryErrorWaitsWhatItSays":          aRetryErrorWaitsWhatItSays,
		"AnAlarmGoesOffBesideAJobForNow":      anAlarmGoesOffBesideAJobForNow,
		"JobsWaitForTheNextStart":             jobsWaitForTheNextStart,
		"PeriodicJobsComeAtStartAndAgain":     periodicJobsComeAtStartAndAgain,
		"StopWaitsForRunningJobs":             stopWaitsForRunningJobs,
		"StopCancelsWhenItsTimeIsOver":        stopCancelsWhenItsTimeIsOver,
	}
}

func enqueue(t *testing.T, s Store, key string) {
	t.Helper()
	check(t, "Enqueue", s.Enqueue(t.Context(), run.Job{Kind: "look", Key: key}))
}

func waitingJobsCoalesce(t *testing.T, db Database) {
	s := db.Open(t, Options{})
	keys, handler := collect(10)
	s.Handle("look", handler)
	for range 3 {
		enqueue(t, s, "a")
	}
	check(t, "Enqueue", s.Enqueue(t.Context(), run.Job{Kind: "other", Key: "a"}))
	start(t, s)
	receive(t, keys, "the job")
	enqueue(t, s, "end")
	for {
		switch got := receive(t, keys, "the last job"); got {
		case "end":
			return
		default:
			t.Errorf("job %q ran again", got)
		}
	}
}

func aJobAskedForWhileItRunsRunsAgain(t *testing.T, db Database) {
	s := db.Open(t, Options{})
	started, release := make(chan int, 10), make(chan struct{})
	var n atomic.Int32
	s.Handle("look", func(context.Context, string) error {
		started <- int(n.Add(1))
		<-release
		return nil
	})
	start(t, s)
	enqueue(t, s, "a")
	receive(t, started, "the first run")
	for range 3 {
		enqueue(t, s, "a")
	}
	release <- struct{}{}
	receive(t, started, "the second run")
	enqueue(t, s, "a")
	release <- struct{}{}
	receive(t, started, "the third run")
	release <- struct{}{}
	// Nothing asked meanwhile: it is over, and the next request starts anew.
	enqueue(t, s, "a")
	if got := receive(t, started, "the fourth run"); got != 4 {
		t.Errorf("run %d, want 4", got)
	}
	release <- struct{}{}
}

// Each writer counts up and then asks for a job; the job notes the count it saw. Whatever the timing, the last note is the last count. A
// second handle works too where the engine allows it.
func noWakeUpIsLost(t *testing.T, db Database) {
	var counts, noted, beside [4]atomic.Int64
	handler := func(_ context.Context, key string) error {
		i := key[0] - '0'
		if beside[i].Add(1) != 1 {
			t.Errorf("job %s runs beside itself", key)
		}
		seen := counts[i].Load()
		noted[i].Store(seen)
		beside[i].Add(-1)
		return nil
	}
	handles := []Store{db.Open(t, Options{})}
	if db.Shared() {
		handles = append(handles, db.Open(t, Options{}))
	}
	for _, s := range handles {
		s.Handle("look", handler)
		start(t, s)
	}
	const each = 25
	atOnce(func(i int) {
		for range each {
			counts[i%4].Add(1)
			if err := handles[i%len(handles)].Enqueue(t.Context(), run.Job{Kind: "look", Key: fmt.Sprint(i % 4)}); err != nil {
				t.Errorf("Enqueue() error = %v", err)
			}
		}
	})
	deadline := time.Now().Add(patience)
	for i := range counts {
		for noted[i].Load() != each*writers/4 {
			if time.Now().After(deadline) {
				t.Fatalf("job %d last saw %d, want %d: a wake-up was lost", i, noted[i].Load(), each*writers/4)
			}
			time.Sleep(time.Millisecond) //nolint:forbidigo // another goroutine's end, at a deadline
		}
	}
}

func aJobOfAChangeCommitsWithIt(t *testing.T, db Database) {
	s := db.Open(t, Options{})
	keys, handler := collect(10)
	s.Handle("look", handler)
	start(t, s)
	w := newWorld(t, s, 1)
	errMine := errors.New("mine")
	jobs := func(key string) []run.Job { return []run.Job{{Kind: "look", Key: key}} }
	_, err := w.Advance(t.Context(), run.Scope{Pull: w.pull.ID}, func(run.Snapshot) (run.Change, error) {
		return run.Change{Action: run.ActRevise, Jobs: jobs("refused")}, errMine
	})
	if !errors.Is(err, errMine) {
		t.Fatalf("Advance() error = %v", err)
	}
	w.add(w.newRun(0, "a"))
	_, err = w.Advance(t.Context(), run.Scope{Pull: w.pull.ID}, func(run.Snapshot) (run.Change, error) {
		return run.Change{Action: run.ActRevise, Jobs: jobs("failed"), New: []run.Run{w.newRun(0, "a")}}, nil
	})
	if !errors.Is(err, run.ErrExists) {
		t.Fatalf("Advance() error = %v", err)
	}
	w.advance(run.Scope{Pull: w.pull.ID}, run.Change{Jobs: jobs("written")})
	if got := receive(t, keys, "the job"); got != "written" {
		t.Errorf("job %q ran, want written", got)
	}
}

func aFailedJobIsTriedAgain(t *testing.T, db Database) {
	s := db.Open(t, Options{})
	tries := make(chan int, 10)
	var n atomic.Int32
	s.Handle("look", func(context.Context, string) error {
		i := int(n.Add(1))
		tries <- i
		if i < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	start(t, s)
	enqueue(t, s, "a")
	for want := range 3 {
		if got := receive(t, tries, "the next try"); got != want+1 {
			t.Errorf("try %d, want %d", got, want+1)
		}
	}
}

func aPanicIsAFailure(t *testing.T, db Database) {
	s := db.Open(t, Options{})
	tries := make(chan struct{}, 10)
	var n atomic.Int32
	s.Handle("look", func(context.Context, string) error {
		tries <- struct{}{}
		if n.Add(1) == 1 {
			panic("a handler's fault")
		}
		return nil
	})
	start(t, s)
	enqueue(t, s, "a")
	receive(t, tries, "the first try")
	receive(t, tries, "the second try")
}

func aNewRequestDoesNotWaitForAnOldRetry(t *testing.T, db Database) {
	s := db.Open(t, Options{})
	tries := make(chan time.Time, 20)
	s.Handle("look", func(context.Context, string) error {
		tries <- time.Now()
		return errors.New("no")
	})
	start(t, s)
	enqueue(t, s, "a")
	var failed time.Time
	for range 4 { // after the fourth it waits eight seconds
		failed = receive(t, tries, "the next try")
	}
	for deadline := failed.Add(patience); len(tries) == 0 && time.Now().Before(deadline); {
		enqueue(t, s, "a")                // the first may still meet the running job, and then counts as asked meanwhile
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // another goroutine's end, at a deadline
	}
	if waited := receive(t, tries, "the try of a new request").Sub(failed); waited > 7*time.Second {
		t.Errorf("a new request was tried %s after the failure, as late as its retry", waited)
	}
}

func aRetryErrorWaitsWhatItSays(t *testing.T, db Database) {
	s := db.Open(t, Options{})
	tries := make(chan time.Time, 10)
	const wait = 5 * time.Second // a retry of its own comes after one
	var n atomic.Int32
	s.Handle("look", func(context.Context, string) error {
		tries <- time.Now()
		if n.Add(1) == 1 {
			return fmt.Errorf("post: %w", &vcs.RetryError{After: wait, Err: errors.New("rate limit")})
		}
		return nil
	})
	start(t, s)
	enqueue(t, s, "a")
	first := receive(t, tries, "the first try")
	enqueue(t, s, "a")                                                             // a new cause does not break the host's rule
	if waited := receive(t, tries, "the second try").Sub(first); waited < wait/2 { // what a late answer of the database's clock may take off
		t.Errorf("tried again after %s, want %s", waited, wait)
	}
}

func anAlarmGoesOffBesideAJobForNow(t *testing.T, db Database) {
	s := db.Open(t, Options{})
	times := make(chan time.Time, 10)
	s.Handle("look", func(context.Context, string) error {
		times <- time.Now()
		return nil
	})
	start(t, s)
	due := time.Now().Add(10 * time.Second)
	for range 3 {
		check(t, "Enqueue", s.Enqueue(t.Context(), run.Job{Kind: "look", Key: "a", At: due}))
	}
	check(t, "Enqueue", s.Enqueue(t.Context(), run.Job{Kind: "look", Key: "a", At: time.Now().Add(-time.Hour)}))
	if first := receive(t, times, "the job for now"); first.After(due) {
		t.Errorf("the job for now ran at %s, want before %s", first, due)
	}
	if second := receive(t, times, "the alarm"); second.Before(due) {
		t.Errorf("the alarm went off at %s, want not before %s", second, due)
	}
}

func jobsWaitForTheNextStart(t *testing.T, db Database) {
	s := db.Open(t, Options{})
	enqueue(t, s, "a")
	_, err := s.Deliver(t.Context(), run.Delivery{Host: "gitea", ID: "1", Event: []byte("{}")})
	check(t, "Deliver", err)
	check(t, "Close", s.Close())
	s = db.Open(t, Options{})
	keys, handler := collect(10)
	s.Handle("look", handler)
	s.Handle("intake", handler)
	start(t, s)
	got := map[string]bool{receive(t, keys, "a job"): true, receive(t, keys, "a job"): true}
	if !got["a"] || !got["gitea/1"] {
		t.Errorf("jobs = %v, want a and gitea/1", got)
	}
}

func periodicJobsComeAtStartAndAgain(t *testing.T, db Database) {
	s := db.Open(t, Options{})
	keys, handler := collect(100)
	s.Handle("tick", handler)
	s.Every("tick", "often", 300*time.Millisecond, true)
	s.Every("tick", "start", time.Hour, true)
	start(t, s)
	got := map[string]int{}
	for got["start"] < 1 || got["often"] < 3 {
		got[receive(t, keys, "a periodic job")]++
	}
	check(t, "Close", s.Close())
	s = db.Open(t, Options{})
	again, handler := collect(100)
	s.Handle("tick", handler)
	s.Every("tick", "start", time.Hour, true)
	s.Every("tick", "hourly", time.Hour, false) // never asked for, so it is due
	start(t, s)
	got = map[string]int{}
	for got["start"] < 1 || got["hourly"] < 1 {
		got[receive(t, again, "a periodic job")]++
	}
	if got["often"] > 1 { // one may have been asked for just before the end
		t.Errorf("after a new start %v, want nothing that is not periodic any more", got)
	}
}

func stopWaitsForRunningJobs(t *testing.T, db Database) {
	s := db.Open(t, Options{})
	started, release := make(chan struct{}), make(chan struct{})
	var ended atomic.Bool
	s.Handle("look", func(ctx context.Context, _ string) error {
		close(started)
		<-release
		ended.Store(ctx.Err() == nil)
		return nil
	})
	check(t, "Start", s.Start(t.Context()))
	enqueue(t, s, "a")
	receive(t, started, "the job")
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Stop() error = %v", err)
		}
		if !ended.Load() {
			t.Error("Stop() returned before the job ended, or canceled it")
		}
	})
	close(release)
	wg.Wait()
	check(t, "Stop", s.Stop(t.Context()))
}

func stopCancelsWhenItsTimeIsOver(t *testing.T, db Database) {
	s := db.Open(t, Options{})
	started := make(chan struct{})
	var canceled atomic.Bool
	s.Handle("look", func(ctx context.Context, _ string) error {
		close(started)
		<-ctx.Done()
		canceled.Store(true)
		return ctx.Err()
	})
	check(t, "Start", s.Start(t.Context()))
	enqueue(t, s, "a")
	receive(t, started, "the job")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("Stop() error = %v, want none: the job comes back", err)
	}
	if !canceled.Load() {
		t.Error("the job was not canceled")
	}
}
