// Package bench measures planlatch against the bare tool, on the same machine in the same run: what a user waits for beyond the tool's own
// time. Figures are ratios; absolute times belong to the machine.
package bench_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/testkit/helper"
	"github.com/planlatch/planlatch/testkit/pinned"

	"golang.org/x/sync/errgroup"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/executor/local"
	"github.com/planlatch/planlatch/vcs/fakehost"
)

func TestMain(m *testing.M) {
	if code, ok := local.ShimMain(os.Args); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// BenchmarkPlan opens a pull request and waits for its final comment and statuses; bare is git clone, init, plan -out and show -json of the
// same projects, as many at a time as planlatch has workers, with nothing else running. The two alternate, and the ratio is of medians.
func BenchmarkPlan(b *testing.B) {
	for _, c := range []struct{ projects, abreast int }{{1, 1}, {20, 2}} {
		b.Run(fmt.Sprintf("projects=%d", c.projects), func(b *testing.B) {
			w := start(b, c.projects)
			var ours, bare []time.Duration
			for n := range max(5, b.N) {
				ours = append(ours, w.pull(b, n))
				bare = append(bare, w.bare(b, n, c.abreast))
			}
			b.ReportMetric(median(ours).Seconds(), "s/planlatch")
			b.ReportMetric(median(bare).Seconds(), "s/bare")
			b.ReportMetric(median(ours).Seconds()/median(bare).Seconds(), "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

type world struct {
	host     *fakehost.Server
	tofu     string
	dir      string
	projects int
	token    string
}

const secret = "the benchmark's webhook secret"

func start(b *testing.B, projects int) *world {
	b.Helper()
	w := &world{dir: b.TempDir(), projects: projects}
	w.tofu = pinned.Path(b, "tofu")
	w.serve(b, app.ServerOptions{}, func(*config.Config) {})
	return w
}

// serve starts the host with its repository, and a server that listens to it, and returns its address.
func (w *world) serve(b *testing.B, o app.ServerOptions, change func(*config.Config)) string {
	b.Helper()
	var err error
	w.host, err = fakehost.Start(fakehost.Options{Dir: w.dir})
	must(b, err)
	b.Cleanup(func() { _ = w.host.Close() })
	bot, err := w.host.CreateUser("planlatch-bot", fakehost.Admin)
	must(b, err)
	w.token = bot.Token
	_, err = w.host.CreateUser("alice", fakehost.Write)
	must(b, err)
	must(b, w.host.CreateRepo("acme/infra", fakehost.NewRepo{By: "alice", Files: w.files("start")}))
	cfg := config.Default(filepath.Join(w.dir, "data"))
	cfg.Listen, cfg.URL = "127.0.0.1:0", ""
	cfg.VCS = []config.Host{{
		Name: "github", Kind: "github", URL: w.host.URL, Token: config.NewSecret(bot.Token), WebhookSecret: config.NewSecret(secret), Repos: []string{"acme/*"},
	}}
	cfg.Execution.Sandbox = "auto"
	cfg.Execution.Network = config.Network{Mode: "none"}
	change(cfg)
	shim := filepath.Join(w.dir, "planlatch-shim") // as it is installed: beside the server
	must(b, helper.Build(shim))
	o.Shim, o.Env, o.Log = shim, map[string]string{"PLANLATCH_TOFU": w.tofu, "PATH": os.Getenv("PATH")}, logger()
	s, err := app.NewServer(b.Context(), cfg, o)
	must(b, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	b.Cleanup(func() { stop(); <-ended }) //nolint:errcheck // how it ends is not measured
	_, err = w.host.AddWebhook(s.URL()+"/webhooks/github", secret)
	must(b, err)
	return s.URL()
}

func logger() *slog.Logger {
	if os.Getenv("PLANLATCH_BENCH_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil))
}

// files are the projects with a value that makes every pull request differ.
func (w *world) files(value string) map[string]string {
	files := map[string]string{}
	for n := range w.projects {
		files[fmt.Sprintf("stacks/s%d/main.tf", n)] = fmt.Sprintf("terraform {\n  backend \"local\" {}\n}\n\nresource \"terraform_data\" \"a\" {\n  input = %q\n}\n", value)
	}
	return files
}

// pull opens a pull request and returns how long its comment and statuses took to be final.
func (w *world) pull(b *testing.B, n int) time.Duration {
	b.Helper()
	branch := fmt.Sprintf("change-%d", n)
	_, err := w.host.Push("acme/infra", "alice", branch, fakehost.Commit{Files: w.files(branch)})
	must(b, err)
	begun := time.Now()
	number, err := w.host.OpenPull("acme/infra", "alice", fakehost.NewPull{Title: branch, Head: branch})
	must(b, err)
	ctx, stop := context.WithTimeout(b.Context(), 5*time.Minute)
	defer stop()
	_, err = w.host.Wait(ctx, "acme/infra", number, func(entries []fakehost.Entry) bool { return w.final(entries) })
	took := time.Since(begun)
	if err != nil {
		entries, _ := w.host.Timeline("acme/infra", number)
		b.Fatalf("wait for the final comment: %v\n%+v", err, entries)
	}
	must(b, w.host.ClosePull("acme/infra", number, "alice"))
	return took
}

func (w *world) final(entries []fakehost.Entry) bool {
	plan, comment := false, false
	for _, e := range entries {
		switch {
		case e.Kind == fakehost.EntryStatus && e.Context == "planlatch/plan":
			plan = e.State == "success"
		case e.Kind == fakehost.EntryComment:
			comment = strings.Contains(e.Body, fmt.Sprintf("%d to add", w.projects)) || strings.Count(e.Body, "✏️")+strings.Count(e.Body, "⛔") > 0 && !strings.Contains(e.Body, "planning")
		}
	}
	return plan && comment
}

// bare does what anybody would do by hand.
func (w *world) bare(b *testing.B, n, abreast int) time.Duration {
	b.Helper()
	dir, err := os.MkdirTemp(w.dir, "bare-") //nolint:usetesting // beside the server's own directories, on the same disk
	must(b, err)
	begun := time.Now()
	run := func(dir string, argv ...string) error {
		cmd := exec.CommandContext(b.Context(), argv[0], argv[1:]...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CHECKPOINT_DISABLE=1", "TF_CLI_CONFIG_FILE=/dev/null")
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", argv, err, out)
		}
		return nil
	}
	address := strings.Replace(w.host.Clone("acme/infra"), "://", "://x:"+w.token+"@", 1)
	must(b, run(dir, "git", "clone", "--quiet", "--branch", fmt.Sprintf("change-%d", n), address, "src"))
	var g errgroup.Group
	g.SetLimit(abreast)
	for p := range w.projects {
		g.Go(func() error {
			at := filepath.Join(dir, "src", "stacks", fmt.Sprintf("s%d", p))
			for _, argv := range [][]string{
				{w.tofu, "init", "-input=false", "-no-color"},
				{w.tofu, "plan", "-input=false", "-no-color", "-out=tfplan"},
				{w.tofu, "show", "-json", "tfplan"},
			} {
				if err := run(at, argv...); err != nil {
					return err
				}
			}
			return nil
		})
	}
	must(b, g.Wait())
	took := time.Since(begun)
	must(b, os.RemoveAll(dir))
	return took
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
