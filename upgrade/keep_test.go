package upgrade_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/planlatch/planlatch/testkit/helper"
	"github.com/planlatch/planlatch/testkit/pinned"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/client"
	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
	"github.com/planlatch/planlatch/testkit/postgres"
	"github.com/planlatch/planlatch/vcs/fakehost"
)

const (
	keep     = "PLANLATCH_KEEP_VERSION" // in the environment: the name under which to keep what this version writes
	hookText = "the kept server's webhook secret"
	repoName = "acme/infra"
	patience = 2 * time.Minute
)

// neutral is where a kept server lives while it is made: launch.json of an execution names its directory, and what is kept must not tell of
// the machine it was made on.
const neutral = "/tmp/planlatch-kept"

// TestKeepThisVersion lets a real server of this version live through a story on each engine, stops it in the middle of an apply, and keeps
// its data. It is run once for each release: see testdata/README.md.
func TestKeepThisVersion(t *testing.T) {
	name := app.Environment()[keep]
	if name == "" {
		t.Skip("only for a release: sh upgrade/keep.sh NAME")
	}
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			must(t, os.Mkdir(neutral, 0o755)) //nolint:gosec // the tool in it is executed by runs
			t.Cleanup(func() { must(t, os.RemoveAll(neutral)) })
			dsn := ""
			if engine == "postgres" {
				dsn = postgres.New(t, postgres.Options{})
			}
			k := &keeper{t: t, data: filepath.Join(neutral, "data"), dsn: dsn}
			k.begin()
			k.story()
			k.end()
			k.pack(filepath.Join("testdata", name+"-"+engine+".tar.gz"))
		})
	}
}

// keeper is a server and its host while they are made.
type keeper struct {
	t    *testing.T
	data string
	dsn  string

	host   *fakehost.Server
	client *client.Client
	stop   func() error
}

func (k *keeper) begin() {
	t := k.t
	bin := filepath.Join(neutral, "bin")
	states := filepath.Join(neutral, "states")
	must(t, errors.Join(os.Mkdir(bin, 0o755), os.Mkdir(states, 0o755))) //nolint:gosec // as above
	copyFile(t, pinned.Path(t, "tofu"), filepath.Join(bin, "tofu"))
	must(t, helper.Build(filepath.Join(bin, "planlatch-shim")))
	var err error
	k.host, err = fakehost.Start(fakehost.Options{Dir: neutral})
	must(t, err)
	t.Cleanup(func() { must(t, k.host.Close()) })
	for _, login := range []string{"alice", "bob", "carol"} {
		_, err := k.host.CreateUser(login, fakehost.Write)
		must(t, err)
	}
	bot, err := k.host.CreateUser("planlatch-bot", fakehost.Admin)
	must(t, err)
	must(t, k.host.CreateRepo(repoName, fakehost.NewRepo{By: "bob", Files: map[string]string{"README.md": "# Acme\n"}}))
	all, err := selector.Parse("//**")
	must(t, err)
	storage, err := selector.Parse("//storage")
	must(t, err)
	cfg := settings(k.data, k.dsn, k.host.URL, bot.Token)
	cfg.Execution.Workers = 1 // so that runs wait for each other
	cfg.Execution.Binds = []config.Bind{{Path: states, Write: true, Projects: selector.List{all}, Phases: []config.Phase{config.PhasePlan, config.PhaseApply}}}
	cfg.Policies = []config.Policy{{
		Name: "baseline", Source: "builtin:baseline", Level: run.Soft, Projects: selector.List{storage}, Owners: config.Owners{Users: []string{"carol"}, Approvals: 1}, Rego: "v1",
	}}
	server, err := app.NewServer(t.Context(), cfg, app.ServerOptions{
		Shim: filepath.Join(bin, "planlatch-shim"), Env: map[string]string{"PLANLATCH_TOFU": filepath.Join(bin, "tofu"), "PATH": "/usr/local/bin:/usr/bin:/bin"},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	must(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	k.stop = func() error { cancel(); return <-ended }
	k.client, err = client.New(server.URL(), server.NewAdminToken)
	must(t, err)
	_, err = k.host.AddWebhook(server.URL()+"/webhooks/github", hookText)
	must(t, err)
}

// settings are those of a server in a data directory, made or opened again.
func settings(data, dsn, url, token string) *config.Config {
	cfg := config.Default(data)
	cfg.Listen, cfg.URL = "127.0.0.1:0", ""
	cfg.Database = config.NewSecret(dsn)
	cfg.VCS = []config.Host{{
		Name: "github", Kind: "github", URL: url, Token: config.NewSecret(token), WebhookSecret: config.NewSecret(hookText), Repos: []string{"acme/*"},
	}}
	cfg.Execution.Sandbox = "auto"
	cfg.Execution.Network = config.Network{Mode: "none"}
	cfg.Tools.Download = false
	cfg.Defaults.Apply = run.ApplyBeforeMerge
	return cfg
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	must(t, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755) //nolint:gosec // a program
	must(t, err)
	_, err = io.Copy(out, in)
	must(t, errors.Join(err, out.Close()))
}

// project is a root module whose apply does something.
func project(name, value, does string) map[string]string {
	provisioner := ""
	if does != "" {
		provisioner = fmt.Sprintf("\n  provisioner \"local-exec\" {\n    command = %q\n  }\n", does)
	}
	return map[string]string{name + "/main.tf": fmt.Sprintf(`terraform {
  backend "local" {
    path = "%s/states/%s.tfstate"
  }
}

resource "terraform_data" "it" {
  input = %q
%s}
`, neutral, name, value, provisioner)}
}

// story leaves a row of every kind behind, and ends in the middle of an apply with another one confirmed and a plan queued.
func (k *keeper) story() {
	t := k.t
	one := k.propose("network", project("network", "wide", ""))
	k.wait("network", run.Planned)
	k.confirm(one)
	k.wait("network", run.Applied)
	_, err := k.host.Merge(repoName, one, "bob", fakehost.MergeCommit)
	must(t, err)

	two := k.propose("storage", project("storage", "bucket", "true"))
	k.wait("storage", run.Planned)
	k.say(two, "carol", `planlatch approve --reason "reviewed by hand"`)
	k.eventually("the override", func() bool {
		rows, _, err := k.client.Audit(t.Context(), client.Filter{Pull: two, Repo: "github/" + repoName})
		for _, r := range rows {
			if r.Action == "approve" || r.Action == "override" {
				return err == nil
			}
		}
		return false
	})

	k.confirm(k.planned("dns", "exit 1"))
	k.wait("dns", run.Failed)

	k.confirm(k.planned("queue", "sleep 600"))
	k.wait("queue", run.Applying)
	k.killExecution()
	k.wait("queue", run.Interrupted)

	_, _, err = k.client.Pause(t.Context(), "//storage", "audit of the buckets")
	must(t, err)

	mail, web := k.planned("mail", "sleep 12"), k.planned("web", "")
	k.confirm(mail)
	k.wait("mail", run.Applying)
	k.confirm(web)
	k.wait("web", run.Confirmed)
	k.propose("last", project("last", "one", ""))
	k.wait("last", run.Queued)
	k.eventually("the start of mail's apply", func() bool {
		found, err := filepath.Glob(filepath.Join(k.data, "executions/runs/*-apply/procs.json"))
		return err == nil && len(found) == 1
	})
}

func (k *keeper) planned(name, does string) int {
	k.t.Helper()
	pull := k.propose(name, project(name, "one", does))
	k.wait(name, run.Planned)
	return pull
}

func (k *keeper) propose(branch string, files map[string]string) int {
	k.t.Helper()
	_, err := k.host.Push(repoName, "alice", branch, fakehost.Commit{Message: "Change " + branch, Files: files})
	must(k.t, err)
	pull, err := k.host.OpenPull(repoName, "alice", fakehost.NewPull{Title: "Change " + branch, Head: branch})
	must(k.t, err)
	return pull
}

// confirm approves what has been planned and asks for its apply.
func (k *keeper) confirm(pull int) {
	k.t.Helper()
	k.shown(pull)
	_, err := k.host.Review(repoName, pull, "bob", fakehost.Approved, "")
	must(k.t, err)
	k.eventually(fmt.Sprintf("the approval of #%d to be seen", pull), func() bool { return strings.Contains(k.summary(pull), "[x] approved") })
	k.say(pull, "bob", "planlatch apply")
}

// shown waits until people can see a plan, and until a command cannot be taken for one that came before it.
func (k *keeper) shown(pull int) {
	k.t.Helper()
	k.eventually(fmt.Sprintf("the plan of #%d to be shown", pull), func() bool { return strings.Contains(k.summary(pull), "1 to add") })
	<-time.After(1200 * time.Millisecond)
}

func (k *keeper) say(pull int, who, text string) {
	k.t.Helper()
	k.shown(pull)
	_, err := k.host.Comment(repoName, pull, who, text)
	must(k.t, err)
}

func (k *keeper) summary(pull int) string {
	entries, err := k.host.Timeline(repoName, pull)
	must(k.t, err)
	for _, e := range entries {
		if e.Kind == fakehost.EntryComment && strings.Contains(e.Body, "<!-- planlatch:summary -->") {
			return e.Body
		}
	}
	return ""
}

// wait waits until the newest run of a project is in a state.
func (k *keeper) wait(name string, want run.State) {
	k.t.Helper()
	k.eventually(fmt.Sprintf("%s to be %s", name, want), func() bool {
		runs, _, _, err := k.client.Runs(k.t.Context(), client.Filter{Project: name})
		must(k.t, err)
		return len(runs) > 0 && runs[0].State == string(want)
	})
}

func (k *keeper) eventually(what string, ok func() bool) {
	k.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			k.t.Fatalf("waited %s for %s", patience, what)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// killExecution kills every process of the only execution there is.
func (k *keeper) killExecution() {
	t := k.t
	runs := filepath.Join(k.data, "executions/runs")
	var procs struct{ Root, Inner struct{ PID int } }
	k.eventually("the execution's processes", func() bool {
		found, err := filepath.Glob(filepath.Join(runs, "*/procs.json"))
		must(t, err)
		if len(found) != 1 {
			return false
		}
		text, err := os.ReadFile(found[0])
		return err == nil && json.Unmarshal(text, &procs) == nil && procs.Inner.PID > 1
	})
	<-time.After(2 * time.Second) // let the tool say something
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	for _, file := range lines {
		text, err := os.ReadFile(file)
		if err == nil && bytes.Contains(text, []byte("owner\x00"+runs)) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			must(t, err)
			must(t, syscall.Kill(pid, syscall.SIGKILL))
		}
	}
	for _, pid := range []int{procs.Root.PID, procs.Inner.PID} {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone with the others
	}
}

// end stops the server as SIGTERM does, and waits for the apply that outlives it.
func (k *keeper) end() {
	must(k.t, k.stop())
	k.eventually("the end of the apply without a server", func() bool {
		found, err := filepath.Glob(filepath.Join(k.data, "executions/runs/*-apply/exit.json"))
		return err == nil && len(found) == 1
	})
}

// pack writes the data directory, what this version says of it and, for PostgreSQL, a dump into one file.
func (k *keeper) pack(file string) {
	t := k.t
	var ids []string
	for _, d := range k.host.Deliveries() {
		ids = append(ids, d.ID)
	}
	k.scrub()
	t.Run("tell", func(t *testing.T) { // closes before what is read is packed
		parts := openParts(t, k.data, k.dsn)
		text, err := json.MarshalIndent(parts.tell(t, ids), "", "\t")
		must(t, err)
		must(t, os.WriteFile(filepath.Join(k.data, "facts.json"), text, 0o600))
	})
	if k.dsn != "" {
		k.dump(filepath.Join(k.data, "dump.sql"))
	}
	out, err := os.Create(file)
	must(t, err)
	zip, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	must(t, err)
	to := tar.NewWriter(zip)
	must(t, filepath.WalkDir(k.data, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(k.data, path)
		if err != nil || name == "." {
			return err
		}
		switch name { // they come back by themselves
		case "mirrors", "work", "tools", "providers":
			return fs.SkipDir
		case "planlatch.lock":
			return nil
		}
		return add(to, path, name)
	}))
	must(t, errors.Join(to.Close(), zip.Close(), out.Close()))
}

func add(to *tar.Writer, path, name string) error {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() && !info.IsDir() {
		return err // a fifo of an execution that has ended
	}
	kind := byte(tar.TypeReg)
	if info.IsDir() {
		kind = tar.TypeDir
	}
	h := &tar.Header{Name: name, Typeflag: kind, Mode: int64(info.Mode().Perm()), ModTime: info.ModTime()}
	if info.IsDir() {
		return to.WriteHeader(h)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if filepath.Base(path) == "launch.json" {
		text = cgroups.ReplaceAll(text, []byte(`"Cgroups":null`))
	}
	h.Size = int64(len(text))
	if err := to.WriteHeader(h); err != nil {
		return err
	}
	_, err = to.Write(text)
	return err
}

// Control groups have names that the machine gave.
var cgroups = regexp.MustCompile(`"Cgroups":\[[^]]*\]`)

// scrub takes the name of this machine out of what is kept. That and the control groups are all that the product would have written otherwise.
func (k *keeper) scrub() {
	t := k.t
	const rename = "UPDATE nodes SET name = 'kept'"
	if k.dsn != "" {
		conn, err := pgx.Connect(t.Context(), k.dsn)
		must(t, err)
		_, err = conn.Exec(t.Context(), rename)
		must(t, errors.Join(err, conn.Close(t.Context())))
		return
	}
	db, err := sql.Open("sqlite", filepath.Join(k.data, "planlatch.db"))
	must(t, err)
	_, err = db.ExecContext(t.Context(), rename+"; VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")
	must(t, errors.Join(err, db.Close()))
}

// dump writes the database as statements that any client can send.
func (k *keeper) dump(file string) {
	t := k.t
	program, err := exec.LookPath("pg_dump")
	if err != nil {
		found, err := filepath.Glob("/usr/lib/postgresql/*/bin/pg_dump")
		must(t, err)
		if len(found) == 0 {
			t.Fatal("pg_dump is missing: install PostgreSQL's client programs")
		}
		program = found[len(found)-1]
	}
	out, err := exec.CommandContext(t.Context(), program, "--no-owner", "--no-privileges", "--inserts", "--dbname", k.dsn).Output()
	must(t, err)
	var text bytes.Buffer
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, `\`) { // words to psql alone
			text.WriteString(line)
		}
	}
	must(t, os.WriteFile(file, text.Bytes(), 0o600))
}
