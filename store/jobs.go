package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivertype"
	"github.com/uptrace/bun"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
)

// The limits of jobs. Twenty attempts that wait 1 s, 2 s, 4 s … up to half an hour last about five hours.
const (
	jobAttempts  = 20
	jobWaitFirst = time.Second
	jobWaitMost  = 30 * time.Minute
	jobTimeout   = 15 * time.Minute
	jobWorkers   = 16
	jobPatience  = 24 * time.Hour // how long a host may keep telling a job to come back later
)

// jobs runs the short jobs. River keeps and hands them out; we add three things that it lacks:
//
// A job asked for while the same one runs must run once more, since the run may have looked already. River's unique index counts a running
// job as the same one and drops the request. So a dropped request whose job is running leaves a row in wakes, and a job completes only in
// a transaction that finds no such row; the row lock that the dropped insert takes orders the two.
//
// A job for later is an alarm: when it goes off it only asks for the job at once. So a (kind, key) never runs twice at the same time, and
// an alarm of tomorrow does not swallow a request of today.
//
// A job whose process was killed stays "running" for an hour in River, which goes by age. We know who is alive and take it back at once.
// So does one whose end River could not write down: it tries for some seconds only. While the database is away a job therefore waits in
// our hands, and what is "running" in our name although nobody here runs it is taken back.
type jobs struct {
	store  *Store
	client client

	mu       sync.Mutex
	handlers map[string]func(ctx context.Context, key string) error
	periods  []period
	active   map[int64]int // jobs that run here: how many of each, which is one

	life    sync.Mutex // held for as long as Start and Stop take
	started bool
	stop    context.CancelFunc
	ended   sync.WaitGroup
}

// client is River without its type parameter.
type client interface {
	insert(ctx context.Context, t *tx, args jobArgs, opts *river.InsertOpts) (*rivertype.JobInsertResult, error)
	complete(ctx context.Context, t *tx, job *river.Job[jobArgs]) error
	start(ctx context.Context) error
	stop(ctx context.Context) error
	abandoned(ctx context.Context, after int64) ([]*rivertype.JobRow, error)
	rescue(ctx context.Context, jobs []*rivertype.JobRow) error
	dethrone(ctx context.Context, dead func(id string) (bool, error)) error
}

// jobArgs is the one kind of job that River knows.
type jobArgs struct {
	Job string `json:"job"`
	Key string `json:"key"`
	At  int64  `json:"at,omitempty"` // an alarm: seconds since 1970; 0 is the job itself
}

func (jobArgs) Kind() string { return "planlatch" }

// newJobs makes the client, which inserts at once and works after Start.
func newJobs[T any](s *Store, d riverdriver.Driver[T]) error {
	j := &jobs{store: s, handlers: map[string]func(context.Context, string) error{}, active: map[int64]int{}}
	workers := river.NewWorkers()
	if err := river.AddWorkerSafely(workers, river.WorkFunc(j.work)); err != nil {
		return fmt.Errorf("make job client: %w", err)
	}
	c, err := river.NewClient(d, &river.Config{
		ID:                   s.id,
		Queues:               map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: jobWorkers}},
		Workers:              workers,
		FetchCooldown:        5 * time.Millisecond,
		JobTimeout:           jobTimeout,
		RescueStuckJobsAfter: 24 * time.Hour, // we know better, see reap
		MaxAttempts:          jobAttempts,
		// What is done is of no use: at 200 deliveries a second a day of it would be 17 million rows.
		CompletedJobRetentionPeriod: 10 * time.Minute,
		RetryPolicy:                 retryPolicy{s},
		Test:                        river.TestConfig{Time: riverClock{s}}, // named for its other use
		Logger:                      slog.New(quiet{s.log.Handler()}),
	})
	if err != nil {
		return fmt.Errorf("make job client: %w", err)
	}
	j.client = &riverClient[T]{c: c, d: d}
	s.jobs = j
	return nil
}

// Handle names who does the jobs of a kind. f gets the key; what it returns decides: nil is done, a *vcs.RetryError with After waits that
// long, another error waits longer each time and is given up after 20 attempts, which last about five hours. f may run again after it
// succeeded, so it looks at what Key names and does what is still to be done. Call Handle before Start.
func (s *Store) Handle(kind string, f func(ctx context.Context, key string) error) {
	s.jobs.mu.Lock()
	defer s.jobs.mu.Unlock()
	s.jobs.handlers[kind] = f
}

// Start begins to do jobs, and takes back those of processes that died. It returns once jobs are taken.
func (s *Store) Start(ctx context.Context) error {
	j := s.jobs
	j.life.Lock()
	defer j.life.Unlock()
	if j.started {
		return nil
	}
	if err := j.reap(ctx, map[int64]int{}, 1); err != nil {
		return fmt.Errorf("take back jobs: %w", err)
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx)) // until Stop, which lets running jobs end
	if err := j.client.start(background); err != nil {
		stop()
		return fmt.Errorf("start jobs: %w", err)
	}
	j.started, j.stop = true, stop
	j.ended.Go(func() { j.reaper(background) })
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, p := range j.periods {
		j.ended.Go(func() { j.every(background, p) })
	}
	return nil
}

// Stop stops taking jobs and waits for the running ones. When ctx ends first they are canceled, which is no error: the next start, or another
// process, does them again.
func (s *Store) Stop(ctx context.Context) error {
	j := s.jobs
	j.life.Lock()
	defer j.life.Unlock()
	if !j.started {
		return nil
	}
	err := j.client.stop(ctx)
	j.stop()
	j.ended.Wait()
	j.started = false
	if err != nil {
		return fmt.Errorf("stop jobs: %w", err)
	}
	return nil
}

// Enqueue asks for a job. A waiting one of the same Kind and Key serves both; a running one runs once more. A job for later is an alarm,
// exact to about a second, beside a job for now.
func (s *Store) Enqueue(ctx context.Context, job run.Job) error {
	return s.write(ctx, "enqueue "+job.Kind, "", func(ctx context.Context, t *tx) error { return s.enqueue(ctx, t, job) })
}

func (s *Store) enqueue(ctx context.Context, t *tx, job run.Job) error {
	args := jobArgs{Job: job.Kind, Key: job.Key}
	opts := &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
		// Not retryable: a new request does not wait for an old failure. River drops the retry when it would meet the newer job.
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning, rivertype.JobStateScheduled,
	}}}
	if job.At.After(s.Now()) {
		// Whole seconds, so that a stream of requests makes at most one alarm a second.
		args.At = job.At.Add(time.Second - 1).Unix()
		opts.ScheduledAt = time.Unix(args.At, 0)
	}
	res, err := t.client(s).insert(ctx, t, args, opts)
	if err != nil {
		return fmt.Errorf("insert job: %w", err)
	}
	t.jobs = true
	if res.UniqueSkippedAsDuplicate && res.Job.State == rivertype.JobStateRunning {
		if _, err := t.NewInsert().Model(&wakeRow{Job: res.Job.ID}).On("CONFLICT DO NOTHING").Exec(ctx); err != nil {
			return fmt.Errorf("wake job: %w", err)
		}
	}
	return nil
}

func (*tx) client(s *Store) client { return s.jobs.client }

type wakeRow struct {
	bun.BaseModel `bun:"table:wakes"`
	Job           int64 `bun:",pk"`
}

// work does a job, and does it again when it failed while the database was away.
func (j *jobs) work(ctx context.Context, job *river.Job[jobArgs]) error {
	defer j.begin(job.ID)()
	for {
		err := j.attempt(ctx, job)
		if err == nil || !j.away(ctx) {
			return err
		}
	}
}

// attempt runs the handler until nobody has asked for more meanwhile.
func (j *jobs) attempt(ctx context.Context, job *river.Job[jobArgs]) error {
	if job.Args.At != 0 {
		return j.ring(ctx, job)
	}
	j.mu.Lock()
	f := j.handlers[job.Args.Job]
	j.mu.Unlock()
	if f == nil {
		return fmt.Errorf("nobody here does jobs of kind %q", job.Args.Job)
	}
	for {
		err := f(ctx, job.Args.Key)
		if err != nil {
			if again, werr := j.rewake(ctx, job.ID); werr == nil && again && ctx.Err() == nil && !mustWait(err) {
				continue // a new cause deserves its own attempt now
			}
			return j.failed(job, err)
		}
		done, err := j.complete(ctx, job)
		if done || err != nil {
			return err
		}
		if _, err := j.rewake(ctx, job.ID); err != nil {
			return err
		}
	}
}

// complete ends the job unless it was asked for again. Completing first takes the row that a request for the same job must lock, so no
// request can come between the look and the commit.
func (j *jobs) complete(ctx context.Context, job *river.Job[jobArgs]) (bool, error) {
	errAgain := errors.New("asked for again")
	err := j.store.write(ctx, "complete job", "", func(ctx context.Context, t *tx) error {
		if err := j.client.complete(ctx, t, job); err != nil {
			return err
		}
		again, err := t.NewSelect().Model((*wakeRow)(nil)).Where("job = ?", job.ID).Exists(ctx)
		if err != nil {
			return err
		}
		if again {
			return errAgain
		}
		return nil
	})
	if errors.Is(err, errAgain) {
		return false, nil
	}
	return err == nil, err
}

// rewake takes the request for another run off the job and says whether there was one. It comes before the run, so the run sees its cause.
func (j *jobs) rewake(ctx context.Context, id int64) (again bool, err error) {
	err = j.store.write(ctx, "wake job", "", func(ctx context.Context, t *tx) error {
		res, err := t.NewDelete().Model((*wakeRow)(nil)).Where("job = ?", id).Exec(ctx)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		again = n > 0
		return err
	})
	return again, err
}

// ring turns an alarm into its job.
func (j *jobs) ring(ctx context.Context, alarm *river.Job[jobArgs]) error {
	return j.store.write(ctx, "ring", "", func(ctx context.Context, t *tx) error {
		if err := j.client.complete(ctx, t, alarm); err != nil {
			return err
		}
		return j.store.enqueue(ctx, t, run.Job{Kind: alarm.Args.Job, Key: alarm.Args.Key})
	})
}

// mustWait says that a host asked for quiet, which a new cause does not change.
func mustWait(err error) bool {
	var retry *vcs.RetryError
	return errors.As(err, &retry) && retry.After > 0
}

// failed decides when the job comes back, and is the one place that tells of its failure.
func (j *jobs) failed(job *river.Job[jobArgs], err error) error {
	log := j.store.log.With("kind", job.Args.Job, "key", job.Args.Key, "attempt", job.Attempt, "error", err)
	var retry *vcs.RetryError
	if errors.As(err, &retry) && retry.After > 0 && j.store.Now().Sub(job.CreatedAt) < jobPatience {
		log.Info("job waits", "for", retry.After)
		return river.JobSnooze(retry.After) // it does not count as an attempt
	}
	if job.Attempt >= job.MaxAttempts {
		log.Error("job given up")
	} else {
		log.Warn("job failed, will be tried again")
	}
	if text := err.Error(); j.store.hide(text) != text {
		return errors.New(j.store.hide(text)) // River keeps it in a row
	}
	return err
}

// retryPolicy doubles the wait.
type retryPolicy struct{ store *Store }

func (p retryPolicy) NextRetry(job *rivertype.JobRow) time.Time {
	wait := jobWaitMost
	if n := len(job.Errors); n < 12 { // not Attempt, which a snooze does not count
		wait = min(jobWaitFirst<<n, jobWaitMost)
	}
	return p.store.Now().Add(wait + time.Duration(rand.Int64N(int64(wait/10)+1))) //nolint:gosec // spreads retries, guards nothing
}
