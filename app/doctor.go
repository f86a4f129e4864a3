package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/disk"
	"github.com/planlatch/planlatch/executor/local"
	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/store"
	"github.com/planlatch/planlatch/vcs"
)

type doctorCmd struct {
	Config string `required:"" type:"path" help:"Path of server.yaml." placeholder:"server.yaml"`
}

// Run checks everything a server needs and names each fix. It exits with 1 if something would keep the server from working.
func (c *doctorCmd) Run(ctx context.Context, t *terminal) error {
	d := &doctor{t: t, file: c.Config}
	cfg, err := config.Load(c.Config, t.lookup)
	if err != nil {
		return usage(err)
	}
	t.withhold(cfg)
	d.good("configuration", "%s", c.Config)
	for _, check := range []func(context.Context, *config.Config){
		d.unused, d.data, d.disk, d.port, d.database, d.blobs, d.keys, d.git, d.tools, d.providers, d.policies, d.sandbox, d.stopping, d.hosts, d.chat,
		d.binds, d.credentials,
	} {
		check(ctx, cfg)
	}
	return d.verdict()
}

type doctor struct {
	t    *terminal
	file string // of the configuration
	ill  int
}

func (d *doctor) good(what, format string, args ...any) {
	fmt.Fprintf(d.t.out, "ok    %-14s %s\n", what, fmt.Sprintf(format, args...))
}

func (d *doctor) warn(what, text, fix string) {
	fmt.Fprintf(d.t.out, "warn  %-14s %s\n", what, text)
	d.fix(fix)
}

func (d *doctor) bad(what string, err error, fix string) {
	d.ill++
	fmt.Fprintf(d.t.out, "FAIL  %-14s %v\n", what, err)
	d.fix(fix)
}

func (d *doctor) fix(fix string) {
	if fix != "" {
		fmt.Fprintf(d.t.out, "      %-14s fix: %s\n", "", fix)
	}
}

func (d *doctor) verdict() error {
	if d.ill == 0 {
		return nil
	}
	return &coded{exitNo, fmt.Errorf("%d checks failed", d.ill)}
}

func (d *doctor) unused(_ context.Context, cfg *config.Config) {
	for _, text := range withoutEffect(cfg) {
		d.warn("configuration", text, "")
	}
}

func (d *doctor) data(_ context.Context, cfg *config.Config) {
	if err := ownDirectory(cfg.Data); err != nil {
		d.bad("data", err, "")
		return
	}
	d.good("data", "%s is writable", cfg.Data)
}

// disk tells what is left, and what takes the rest.
func (d *doctor) disk(ctx context.Context, cfg *config.Config) {
	space, err := disk.Of(cfg.Data)
	if err != nil {
		return // the line before says what is wrong with it
	}
	sizes := measure(ctx, cfg.Data)
	var used []string
	for _, part := range slices.SortedFunc(maps.Keys(sizes), func(a, b string) int { return cmp.Compare(sizes[b], sizes[a]) }) {
		if sizes[part] >= 1<<20 {
			used = append(used, part+" "+disk.Text(sizes[part]))
		}
	}
	text := fmt.Sprintf("%s free of %s, %s wanted", disk.Text(space.Free), disk.Text(space.Total), disk.Text(int64(cfg.Disk.Free)))
	if len(used) > 0 {
		text += "; " + strings.Join(used, ", ")
	}
	if space.Free < int64(cfg.Disk.Free) {
		d.bad("disk", errors.New(text+": no run starts"), "make room, or lower disk.free; docs/operating.md says what may go")
		return
	}
	d.good("disk", "%s", text)
}

func (d *doctor) port(_ context.Context, cfg *config.Config) {
	l, err := net.Listen("tcp", cfg.Listen) //nolint:noctx // at once or not at all
	if err != nil {
		d.warn("listen", err.Error(), "fine if planlatch itself runs there; else choose another address under listen:")
		return
	}
	defer l.Close()
	d.good("listen", "%s is free", cfg.Listen)
}

func (d *doctor) database(ctx context.Context, cfg *config.Config) {
	s, err := openStore(ctx, cfg, ServerOptions{Log: slog.New(slog.DiscardHandler)}, nil)
	if errors.Is(err, store.ErrInUse) {
		d.warn("database", err.Error(), "fine if planlatch itself runs there; its schema is not checked beside it")
		return
	}
	if err != nil {
		d.bad("database", err, "")
		return
	}
	defer s.Close()
	if err := s.Ping(ctx); err != nil {
		d.bad("database", err, "")
		return
	}
	name := "SQLite in " + cfg.Data
	if cfg.Database.Reveal() != "" {
		name = "PostgreSQL"
	}
	d.good("database", "%s answers, schema is current", name)
}

func (d *doctor) blobs(ctx context.Context, cfg *config.Config) {
	key, err := wrappingOf(cfg)
	if err != nil {
		d.bad("encryption", err, "")
		return
	}
	b, err := key.blobs(ctx, cfg)
	if err != nil {
		d.bad("blobs", err, "")
		return
	}
	defer b.Close()
	if err := b.Check(ctx); err != nil {
		d.bad("blobs", err, "")
		return
	}
	d.good("blobs", "written, read back and deleted, encrypted")
}

func (d *doctor) git(ctx context.Context, cfg *config.Config) {
	version, err := git.New(git.Options{Dir: filepath.Join(cfg.Data, "mirrors")}).Check(ctx)
	if err != nil {
		d.bad("git", err, "")
		return
	}
	d.good("git", "%s", version)
}

func (d *doctor) policies(ctx context.Context, cfg *config.Config) {
	if _, err := loadPolicies(ctx, cfg); err != nil {
		d.bad("policies", err, "")
		return
	}
	if len(cfg.Policies) == 0 {
		d.warn("policies", "none is configured: the baseline advises and stops nothing", "add policies: with source: builtin:baseline")
		return
	}
	d.good("policies", "all compile: %d", len(cfg.Policies))
}

func (d *doctor) sandbox(ctx context.Context, cfg *config.Config) {
	x, err := local.New(local.Options{Dir: filepath.Join(cfg.Data, "executions"), Sandbox: local.Sandbox(cfg.Execution.Sandbox)})
	if err != nil {
		d.bad("sandbox", err, "")
		return
	}
	d.walls(cfg, "sandbox", slices.DeleteFunc(x.Walls(ctx), func(w local.Wall) bool { return w.Name == "network" && !usesOpen(cfg) }))
	if err := x.Refusal(ctx); err != nil {
		return // the lines above say what is missing
	}
	d.network(ctx, cfg, x)
	verdicts, err := x.Prove(ctx, cfg.Data)
	if err != nil {
		d.bad("break-out", err, "")
	}
	d.walls(cfg, "break-out", x.Proven(verdicts))
}

func (d *doctor) walls(cfg *config.Config, what string, walls []local.Wall) {
	for _, w := range walls {
		switch {
		case w.Force:
			d.good(what, "%s: %s", w.Name, w.Detail)
		case cfg.Execution.Sandbox == "required":
			d.bad(what, fmt.Errorf("%s: %s", w.Name, w.Detail), w.Fix)
		default:
			d.warn(what, w.Name+": "+w.Detail, w.Fix)
		}
	}
}

func (d *doctor) hosts(ctx context.Context, cfg *config.Config) {
	hosts, err := openHosts(cfg)
	if err != nil {
		d.bad("vcs", err, "")
	}
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		d.host(ctx, cfg, name, hosts[name])
	}
	if len(cfg.VCS) == 0 {
		d.bad("vcs", errors.New("no host is configured"), "add one under vcs:, see docs/getting-started.md")
	}
}

func (d *doctor) host(ctx context.Context, cfg *config.Config, name string, host vcs.Host) {
	self, err := host.Self(ctx)
	if err != nil {
		d.bad("vcs "+name, err, "check url: and token: of this host")
		return
	}
	configured, _ := cfg.Host(name)
	kind := configured.Kind
	d.clock(ctx, configured)
	repos, err := host.List(ctx)
	if err != nil {
		d.bad("vcs "+name, err, "the token must be able to read repositories")
		return
	}
	allowed := 0
	for _, r := range repos {
		if !cfg.Allows(name, r.Name) {
			continue
		}
		allowed++
		access, err := host.Permission(ctx, r, self.Login)
		switch {
		case err != nil:
			d.bad("vcs "+name, fmt.Errorf("%s: %w", r.Name, err), "the account must be able to read who may do what here")
		case kind == "gitea" && access < vcs.PermissionAdmin:
			d.bad("vcs "+name, fmt.Errorf("%s does not administer %s", self.Login, r.Name), "make it an administrator: Gitea tells nobody else who may do what")
		case kind == "gitlab" && access < vcs.PermissionAdmin:
			d.bad("vcs "+name, fmt.Errorf("%s is no Maintainer of %s", self.Login, r.Name), "make it one: GitLab lets nobody else set statuses on a protected branch")
		case access < vcs.PermissionWrite:
			d.bad("vcs "+name, fmt.Errorf("%s cannot write to %s", self.Login, r.Name), "give it write permission: it sets statuses and comments")
		}
	}
	if allowed == 0 {
		d.bad("vcs "+name, fmt.Errorf("%s sees %d repositories and repos: allows none of them", self.Login, len(repos)), "check repos: and where the account is a member")
		return
	}
	d.good("vcs "+name, "speaks as %s; repositories allowed: %d. Their webhook goes to %s/webhooks/%s", self.Login, allowed, cfg.URL, name)
}
