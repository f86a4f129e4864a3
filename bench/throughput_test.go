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
	"sync"
	"testing"
	"time"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/runner"
	"github.com/planlatch/planlatch/testkit/postgres"
	"github.com/planlatch/planlatch/vcs/fakehost"
)

// BenchmarkThroughput takes runs that change nothing through the whole pipeline, from the webhook to the settled run: signed delivery, intake,
// git fetch and merge, selection, queue, claim, extraction, execution, policy, log, blobs, settle, comment and statuses at the host. All of a
// size are asked for at once and wait in one queue, in pull requests of a hundred projects.
//
// With executor=none an execution ends as soon as it starts, so what is measured is what a run costs us. With executor=local it is the real
// one with its sandbox, and the steps are programs that do nothing. Host, server and database share the machine.
func BenchmarkThroughput(b *testing.B) {
	sizes := []int{10, 1000, 10000}
	for _, engine := range []string{"sqlite", "postgres"} {
		for _, null := range []bool{true, false} {
			for _, size := range sizes {
				name := "local"
				if null {
					name = "none"
				} else if size > 1000 {
					continue // a quarter of an hour of empty processes
				}
				b.Run(fmt.Sprintf("%s/executor=%s/queued=%d", engine, name, size), func(b *testing.B) {
					dsn := ""
					if engine == "postgres" {
						dsn = postgres.New(b, postgres.Options{Fsync: true})
					}
					queue(b, dsn, null, size)
				})
			}
		}
	}
}

// queue measures once, whatever b.N is: a queue is as long as it is.
func queue(b *testing.B, dsn string, null bool, size int) {
	b.Helper()
	perPull := min(size, 100)
	w := &world{dir: b.TempDir(), projects: perPull}
	w.tofu = filepath.Join(w.dir, "tofu")
	must(b, os.WriteFile(w.tofu, []byte(idle), 0o755)) //nolint:gosec // a program
	o := app.ServerOptions{}
	if null {
		o.Parts = func(p *runner.Parts) { p.Exec = &instant{started: map[executor.Name]executor.Spec{}} }
	}
	url := w.serve(b, o, func(cfg *config.Config) {
		cfg.Database = config.NewSecret(dsn)
		cfg.Execution.Binds = nil
		cfg.Tools.Download = false
	})
	pulls := size / perPull
	for n := range pulls {
		branch := fmt.Sprintf("change-%d", n)
		_, err := w.host.Push("acme/infra", "alice", branch, fakehost.Commit{Files: w.files(branch)})
		must(b, err)
	}
	b.ResetTimer()
	begun := time.Now()
	for n := range pulls {
		branch := fmt.Sprintf("change-%d", n)
		_, err := w.host.OpenPull("acme/infra", "alice", fakehost.NewPull{Title: branch, Head: branch})
		must(b, err)
	}
	asked := time.Since(begun)
	marks := []time.Duration{0, 0} // when a tenth and nine tenths had settled
	for last := time.Now(); ; <-time.After(100 * time.Millisecond) {
		rows := metrics(b, url)
		settled, took := rows["run_"+string(run.Unchanged)], time.Since(begun)
		for i, part := range []int{size / 10, size - size/10} {
			if settled >= part && marks[i] == 0 {
				marks[i] = took
			}
		}
		if settled == size && marks[1] > 0 {
			break
		}
		if rows["run_failed"] > 0 || time.Since(last) > 30*time.Minute {
			b.Fatalf("not all runs settle: %v", rows)
		}
	}
	took := time.Since(begun)
	for posted := time.Now(); metrics(b, url)["postings_due"] > 0 && time.Since(posted) < 5*time.Minute; <-time.After(100 * time.Millisecond) {
		continue
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(size)/took.Seconds(), "runs/s")
	b.ReportMetric(took.Seconds()*1000/float64(size), "ms/run")
	b.ReportMetric(asked.Seconds(), "s-to-ask")
	b.ReportMetric((time.Since(begun) - took).Seconds(), "s-to-post-after")
	if size > 10 {
		b.ReportMetric((marks[1]-marks[0]).Seconds()*1000/(0.8*float64(size)), "ms/run-in-the-middle")
	}
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
	ownBackend = `{"version":3,"backend":{"type":"http","config":{"address":"http://127.0.0.1:1/state"},"hash":1}}`
)

// idle is a tool that plans nothing at once.
const idle = `#!/bin/sh
case "$1" in
version) echo "OpenTofu v1.12.6"; echo "on linux_amd64" ;;
init) mkdir -p .terraform; printf '%s' '` + ownBackend + `' >.terraform/terraform.tfstate ;;
plan) for a; do case "$a" in -out=*) printf '%s' '` + noPlan + `' >"${a#-out=}" ;; esac; done; echo "No changes." ;;
show) printf '%s' '` + noPlanJSON + `' ;;
esac
`

// instant is an executor whose executions end as soon as they start.
type instant struct {
	mu      sync.Mutex
	started map[executor.Name]executor.Spec
}

func (e *instant) Start(_ context.Context, s executor.Spec, _ []string) error {
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
		if text := output(name); text != "" {
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

func output(name string) string {
	return map[string]string{"tfplan": noPlan, "plan.json": noPlanJSON, ".terraform/terraform.tfstate": ownBackend}[name]
}

func (*instant) Open(_ context.Context, _ executor.Name, name string) (io.ReadCloser, error) {
	if output(name) == "" {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewBufferString(output(name))), nil
}

func (*instant) Cancel(context.Context, executor.Name, bool) error { return nil }
func (*instant) Renew(context.Context, executor.Name) error        { return nil }
func (*instant) Remove(context.Context, executor.Name) error       { return nil }
func (*instant) List(context.Context) ([]executor.Name, error)     { return nil, nil }
