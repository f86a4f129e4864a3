package bench_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/runner"
	"github.com/planlatch/planlatch/testkit/postgres"
	"github.com/planlatch/planlatch/vcs/fakehost"
)

// BenchmarkThroughput takes runs that change nothing through the whole pipeline, from the webhook to the settled run: signed delivery, intake,
// git fetch and merge, selection, queue, claim, extraction, execution, policy, log, blobs, settle, comment and statuses at the host. It tells
// what a run costs behind n others that are queued, in many pull requests of two projects each, or in one of many.
//
// With executor=none an execution ends as soon as it starts, so what is measured is what a run costs us. With executor=local it is the real
// one with its sandbox, and the steps are programs that do nothing. Host, server and database share the machine.
func BenchmarkThroughput(b *testing.B) {
	for _, engine := range []string{"sqlite", "postgres"} {
		for _, c := range []throughput{
			{projects: 2, queued: 10}, {projects: 2, queued: 1000}, {projects: 2, queued: 10000},
			{projects: 100, queued: 100}, {projects: 500, queued: 500}, {projects: 2, queued: 10, local: true},
		} {
			name := "none"
			if c.local {
				name = "local"
			}
			b.Run(fmt.Sprintf("%s/executor=%s/projects=%d/queued=%d", engine, name, c.projects, c.queued), func(b *testing.B) {
				if engine == "postgres" {
					c.dsn = postgres.New(b, postgres.Options{Fsync: true})
				}
				c.measure(b)
			})
		}
	}
}

// throughput is one measurement.
type throughput struct {
	dsn      string
	projects int // of each pull request
	queued   int // runs, in all
	local    bool
}

// directories is how many projects the repository has at least: pull requests take turns in changing them, as only one run of a project is at
// work at a time.
const directories = 100

// change is what a pull request changes.
func (c throughput) change(w *world, n int) map[string]string {
	all := w.files(fmt.Sprint("change ", n))
	files := map[string]string{}
	for i := range c.projects {
		name := fmt.Sprintf("stacks/s%d/main.tf", (n*c.projects+i)%w.projects)
		files[name] = all[name]
	}
	return files
}

// window is how many runs are measured, of those at the head of the queue.
const window = 200

// slack is how many more come in as they would from a host: one whose project is at work is passed by the next, and rows alone cannot be run.
const slack = 40

// measure measures once, whatever b.N is: a queue is as long as it is. No execution ends while the queue fills: first with the pull requests of
// the window, then with rows alone, half of which are history. The last pull requests come in behind all of them. Then the executions are let go, and the
// window settles with all the others queued.
func (c throughput) measure(b *testing.B) {
	b.Helper()
	w := &world{dir: b.TempDir(), projects: max(c.projects, directories)}
	w.tofu = filepath.Join(w.dir, "tofu")
	must(b, os.WriteFile(w.tofu, []byte(idle), 0o755)) //nolint:gosec // a program
	gate := &gated{open: make(chan struct{}), reached: make(chan struct{}), most: min(window, c.queued)}
	var rows run.Store
	url := w.serve(b, app.ServerOptions{Parts: func(p *runner.Parts) {
		rows = p.Store
		if gate.Executor = p.Exec; !c.local {
			gate.Executor = &instant{started: map[executor.Name]executor.Spec{}}
		}
		p.Exec = gate
	}}, func(cfg *config.Config) {
		cfg.Database = config.NewSecret(c.dsn)
		cfg.Execution.Binds = nil
		cfg.Tools.Download = false
	})
	pulls := max(1, min(window+slack, c.queued)/c.projects)
	late := min(pulls, 25) // those that come in behind all others
	for n := range pulls + late {
		branch := fmt.Sprintf("change-%d", n)
		_, err := w.host.Push("acme/infra", "alice", branch, fakehost.Commit{Files: c.change(w, n)})
		must(b, err)
	}
	c.ask(b, w, rows, 0, 1) // so that the deliveries of the pushes have been handled, and the mirror is there
	c.ask(b, w, rows, 1, pulls)
	if rest := c.queued - pulls*c.projects; rest > 0 {
		fill(b, rows, c.projects, rest)
	}
	b.ResetTimer()
	begun, worked := time.Now(), used()
	c.ask(b, w, rows, pulls, pulls+late)
	in := time.Since(begun)
	begun = time.Now()
	close(gate.open)
	select {
	case <-gate.reached:
	case <-time.After(10 * time.Minute):
		b.Fatalf("not all runs settle: %v", metrics(b, url))
	}
	out := time.Since(begun)
	perIn := in.Seconds() * 1000 / float64(late*c.projects)
	perOut := out.Seconds() * 1000 / float64(gate.most)
	worked = used() - worked
	b.ReportMetric(worked.Seconds()*1000/float64(late*c.projects+gate.most), "cpu-ms/run")
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(perIn, "ms/run-to-queue")
	b.ReportMetric(perOut, "ms/run-to-settle")
	b.ReportMetric(1000/(perIn+perOut), "runs/s")
}

// used is the processors' time that we and the processes that we waited for have had; a PostgreSQL server is none of them.
func used() time.Duration {
	sum := time.Duration(0)
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if unix.Getrusage(who, &u) == nil {
			sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return sum
}

// ask opens pull requests and returns once all their runs are queued.
func (c throughput) ask(b *testing.B, w *world, rows run.Store, from, to int) {
	b.Helper()
	for n := from; n < to; n++ {
		branch := fmt.Sprintf("change-%d", n)
		_, err := w.host.OpenPull("acme/infra", "alice", fakehost.NewPull{Title: branch, Head: branch})
		must(b, err)
	}
	for ; from < to; from++ {
		for begun := time.Now(); ; <-time.After(5 * time.Millisecond) {
			pull, err := rows.PullByNumber(b.Context(), 1, from+1)
			if err == nil {
				runs, err := rows.Runs(b.Context(), run.Filter{Pull: pull.ID})
				must(b, err)
				if len(runs) == c.projects {
					break
				}
			}
			if time.Since(begun) > 5*time.Minute {
				b.Fatalf("pull request %d has no runs", from+1)
			}
		}
	}
}

// fill adds runs of pull requests that only the store knows: as many as are asked for wait, and as many have failed or were canceled.
func fill(b *testing.B, rows run.Store, projects, runs int) {
	b.Helper()
	ctx := b.Context()
	names := make([]run.Project, max(projects, directories))
	for n := range names {
		names[n] = run.Project{Repo: 1, Dir: fmt.Sprintf("stacks/s%d", n), Workspace: "default"}
	}
	names, err := rows.SaveProjects(ctx, names)
	must(b, err)
	next := 0
	for number := 1_000_000; runs > 0; runs -= projects {
		number++
		pull, err := rows.SavePull(ctx, run.Pull{Repo: 1, Number: number, State: "open", HeadSHA: fmt.Sprintf("%040x", number), BaseBranch: "main"})
		must(b, err)
		_, err = rows.Advance(ctx, run.Scope{Pull: pull.ID}, func(s run.Snapshot) (run.Change, error) {
			c := run.Change{Action: run.ActRevise, Revision: &run.Revision{
				Repo: 1, Pull: pull.ID, Branch: "main", Base: fmt.Sprintf("%040x", 1), Kind: run.KindChange,
			}}
			for n := range min(runs, projects) {
				p := names[(next+n)%len(names)]
				one := run.Run{
					Repo: 1, Pull: pull.ID, Project: p.ID, Label: p.Dir, Dir: p.Dir, Work: p.Workspace, Cause: "now", Kind: run.KindChange,
					State: run.Queued, Ordinal: n,
				}
				before := one
				before.Cause, before.State, before.Finished = "before", run.Failed, s.Now
				if n%2 == 0 {
					before.State = run.Canceled
				}
				c.New = append(c.New, before, one)
			}
			return c, nil
		})
		must(b, err)
		next += projects
		told, err := rows.Postings(ctx, run.PostingFilter{Kind: run.PostSummary, Repo: 1, Key: fmt.Sprint(int64(pull.ID))})
		must(b, err)
		must(b, rows.Posted(ctx, told[0], run.Shows{})) // nobody can be told
	}
}

// gated is an executor whose executions end when it is opened, and which counts those that have been settled.
type gated struct {
	executor.Executor
	open, reached chan struct{}
	most          int

	mu      sync.Mutex
	settled int
}

func (e *gated) Attach(ctx context.Context, n executor.Name, log io.Writer, from int64) (executor.Result, error) {
	select {
	case <-e.open:
	case <-ctx.Done():
		return executor.Result{}, ctx.Err()
	}
	return e.Executor.Attach(ctx, n, log, from)
}

// Remove is what the runner asks for once a run is settled.
func (e *gated) Remove(ctx context.Context, n executor.Name) error {
	e.mu.Lock()
	if e.settled++; e.settled == e.most {
		close(e.reached)
	}
	e.mu.Unlock()
	return e.Executor.Remove(ctx, n)
}

var row = regexp.MustCompile(`(?m)^planlatch_rows\{what="(\w+)"\} (\d+)$`)

// metrics are the numbers of rows that the server tells.
func metrics(b *testing.B, url string) map[string]int {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	must(b, err)
	res, err := http.DefaultClient.Do(req)
	must(b, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	must(b, err)
	rows := map[string]int{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		rows[m[1]], err = strconv.Atoi(m[2])
		must(b, err)
	}
	return rows
}

const (
	noPlan     = "a plan of nothing"
	noPlanJSON = `{"format_version":"1.2","terraform_version":"1.12.6","resource_changes":[]}`
	// ownBackend has the state of each directory in another place: of projects with one state only one is at work at a time.
	ownBackend = `{"version":3,"backend":{"type":"http","config":{"address":"http://127.0.0.1:1/DIR"},"hash":1}}`
)

// idle is a tool that plans nothing at once.
const idle = `#!/bin/sh
case "$1" in
version) echo "OpenTofu v1.12.6"; echo "on linux_amd64" ;;
init) mkdir -p .terraform; printf '%s' '` + ownBackend + `' | sed "s#DIR#${PWD##*/}#" >.terraform/terraform.tfstate ;;
plan) for a; do case "$a" in -out=*) printf '%s' '` + noPlan + `' >"${a#-out=}" ;; esac; done; echo "No changes." ;;
show) printf '%s' '` + noPlanJSON + `' ;;
esac
`

// instant is an executor whose executions end as soon as they start.
type instant struct {
	mu      sync.Mutex
	started map[executor.Name]executor.Spec
}

func (e *instant) Start(_ context.Context, s executor.Spec, _ executor.Secrets) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.started[s.Name]; ok {
		return executor.ErrExists
	}
	e.started[s.Name] = s
	return nil
}

func (e *instant) Attach(_ context.Context, n executor.Name, log io.Writer, from int64) (executor.Result, error) {
	e.mu.Lock()
	s, ok := e.started[n]
	e.mu.Unlock()
	if !ok {
		return executor.Result{}, executor.ErrAbsent
	}
	r := executor.Result{Ended: executor.EndExit}
	for _, step := range s.Steps {
		r.Steps = append(r.Steps, executor.StepResult{Label: step.Label, OK: true})
	}
	for _, name := range s.Outputs {
		if text := output(s.Source.Work, name); text != "" {
			r.Outputs = append(r.Outputs, executor.Artifact{Name: name, Size: int64(len(text))})
		}
	}
	if text := "No changes.\n"; from < int64(len(text)) {
		if _, err := io.WriteString(log, text[from:]); err != nil {
			return executor.Result{}, err
		}
	}
	return r, nil
}

func output(dir, name string) string {
	return map[string]string{"tfplan": noPlan, "plan.json": noPlanJSON, ".terraform/terraform.tfstate": strings.Replace(ownBackend, "DIR", dir, 1)}[name]
}

func (e *instant) Open(_ context.Context, n executor.Name, name string) (io.ReadCloser, error) {
	e.mu.Lock()
	dir := e.started[n].Source.Work
	e.mu.Unlock()
	text := output(dir, name)
	if text == "" {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewBufferString(text)), nil
}

func (*instant) Cancel(context.Context, executor.Name, bool) error { return nil }
func (*instant) Renew(context.Context, executor.Name) error        { return nil }
func (*instant) Remove(context.Context, executor.Name) error       { return nil }
func (*instant) List(context.Context) ([]executor.Name, error)     { return nil, nil }
