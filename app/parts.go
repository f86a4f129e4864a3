package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/facts"
	"github.com/planlatch/planlatch/policy"
	"github.com/planlatch/planlatch/provider"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/runner"
	"github.com/planlatch/planlatch/selector"
	"github.com/planlatch/planlatch/tool"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/gitea"
	"github.com/planlatch/planlatch/vcs/github"
	"github.com/planlatch/planlatch/vcs/gitlab"
	"github.com/planlatch/planlatch/views"
)

// openHosts builds the adapter of each configured host. It asks no network.
func openHosts(cfg *config.Config) (map[string]vcs.Host, error) {
	hosts := map[string]vcs.Host{}
	var faults []error
	for _, h := range cfg.VCS {
		host, err := openHost(h)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		hosts[h.Name] = host
	}
	return hosts, errors.Join(faults...)
}

func openHost(h config.Host) (vcs.Host, error) {
	switch h.Kind {
	case "gitea":
		return gitea.New(gitea.Options{Name: h.Name, URL: h.URL, Token: h.Token.Reveal(), WebhookSecret: h.WebhookSecret.Reveal()})
	case "gitlab":
		return gitlab.New(gitlab.Options{Name: h.Name, URL: h.URL, Token: h.Token.Reveal(), WebhookSecret: h.WebhookSecret.Reveal()})
	case "github":
		if h.App.ID != 0 {
			return nil, fmt.Errorf("vcs %s: app: this version speaks to GitHub with a token; set token: instead", h.Name)
		}
		return github.New(github.Options{
			Name: h.Name, URL: h.URL, APIURL: h.APIURL, Token: h.Token.Reveal(), WebhookSecret: h.WebhookSecret.Reveal(),
		})
	}
	return nil, fmt.Errorf("vcs %s: kind %s is not supported by this version; it speaks gitea, github and gitlab", h.Name, h.Kind)
}

// loadPolicies loads every configured set; a set that cannot be used stops the start with all its faults.
func loadPolicies(ctx context.Context, cfg *config.Config) (*policy.Engine, error) {
	sets := make([]policy.Set, len(cfg.Policies))
	for n, p := range cfg.Policies {
		var projects []string
		for _, s := range p.Projects {
			projects = append(projects, s.String())
		}
		sets[n] = policy.Set{
			Name: p.Name, Source: p.Source, Level: p.Level, Projects: projects, Rego: p.Rego, Settings: p.Settings, On: policy.Stage(p.On),
			Owners: run.Owners{Users: p.Owners.Users, Teams: p.Owners.Teams, Approvals: p.Owners.Approvals},
		}
	}
	engine, err := policy.Load(ctx, sets, policy.Options{})
	if err != nil {
		return nil, fmt.Errorf("policies: %w", err)
	}
	return engine, nil
}

// openTools finds the tools of this machine and our cache, and downloads others if that is allowed.
func openTools(cfg *config.Config, env map[string]string) (*tool.Finder, error) {
	fixed := map[string]string{}
	for name, variable := range map[string]string{"tofu": "PLANLATCH_TOFU", "terraform": "PLANLATCH_TERRAFORM"} {
		if path := env[variable]; path != "" {
			fixed[name] = path
		}
	}
	o := tool.Options{
		Path: filepath.SplitList(env["PATH"]), Cache: filepath.Join(cfg.Data, "tools"), Allow: cfg.Tools.Allow, Fixed: fixed,
		Default: tool.Want{Name: cfg.Tools.Default.Name, Version: cfg.Tools.Default.Version},
	}
	if cfg.Tools.Download {
		o.Download = &tool.Download{Mirror: cfg.Tools.Mirror}
	}
	return tool.New(o)
}

// openProviders opens the store of providers. Fetches are walled and connected like any run.
func openProviders(cfg *config.Config, exec executor.Executor, environment []string, log *slog.Logger) (*provider.Store, error) {
	o := provider.Options{
		Dir: filepath.Join(cfg.Data, "providers"), Mirror: cfg.Tools.ProviderMirror, Exec: exec, Network: network(cfg), Limits: limits(cfg),
		Environment: environment, Log: log,
	}
	for _, b := range cfg.Execution.Binds {
		everybody := slices.ContainsFunc(b.Projects, func(s selector.Selector) bool { return s.String() == "//**" })
		if everybody && !b.Write { // certificates, for instance
			o.Binds = append(o.Binds, executor.Bind{Path: b.Path})
		}
	}
	return provider.New(o)
}

// network is what our own executions reach: fetching providers, and what a person starts.
func network(cfg *config.Config) executor.Network { return networkOf(cfg.Execution.Network) }

func networkOf(n config.Network) executor.Network {
	return executor.Network{Mode: executor.NetworkMode(n.Mode), Allow: n.Allow, Deny: n.Deny}
}

func limits(cfg *config.Config) executor.Limits {
	l := cfg.Execution.Limits
	return executor.Limits{
		Memory: int64(l.Memory), Processes: l.Processes, Files: l.Files, Disk: int64(l.Disk), Inodes: l.Inodes, Log: int64(l.Log),
	}
}

// withoutEffect names the settings that are read and checked, and that this version does nothing with: nobody should rely on them unawares.
func withoutEffect(cfg *config.Config) []string {
	var out []string
	say := func(yes bool, text string) {
		if yes {
			out = append(out, text+" has no effect in this version")
		}
	}
	for _, text := range eventsWithoutEffect(cfg) {
		say(true, text)
	}
	say(cfg.Telemetry.OTLPEndpoint != "", "telemetry.otlp_endpoint")
	return out
}

// passed are the variables of the server that runs and git get, as NAME=value.
func passed(cfg *config.Config, env map[string]string) []string {
	var pairs []string
	for _, name := range cfg.Execution.Environment {
		if value, ok := env[name]; ok {
			pairs = append(pairs, name+"="+value)
		}
	}
	return pairs
}

// look says how a repository wants to be reported.
func look(cfg *config.Config) func(host, repo string) views.Look {
	return func(host, repo string) views.Look {
		rules := cfg.Rules(host, repo)
		return views.Look{
			Prefix: cfg.Commands.Prefixes[0], Mode: rules.Apply, Style: report.Style(rules.Comment), Statuses: rules.ProjectStatuses,
		}
	}
}

func (s *Server) runnerOptions(node run.Node, keys keys, hosts map[string]vcs.Host, env map[string]string) runner.Options {
	cfg := s.cfg
	credentials := newCredentials(cfg, env, s.log)
	x := cfg.Execution
	return runner.Options{
		Node: node, Workers: workers(cfg), Dir: workDir(cfg),
		PlanTimeout: x.PlanTimeout, ApplyTimeout: x.ApplyTimeout, PlanGrace: x.CancelGrace.Plan, ApplyGrace: x.CancelGrace.Apply,
		LockTimeout: x.LockTimeout, NodeTimeout: x.NodeTimeout,
		Limits:  limits(cfg),
		Network: network(cfg),
		Networks: func(t selector.Target) executor.Network {
			return networkOf(cfg.NetworkOf(t.Host, t.Repo))
		},
		Environment: passed(cfg, env),
		EffectKey:   keys.effect,
		Secrets:     unguessable(s.secrets),
		Style:       func(host, repo string) report.Style { return report.Style(cfg.Rules(host, repo).Comment) },
		Grants:      credentials.grant,
		Fixed:       credentials.fixed,
		Binds: func(t selector.Target, phase string) []executor.Bind {
			var binds []executor.Bind
			for _, b := range cfg.BindsFor(t, config.Phase(phase)) {
				binds = append(binds, executor.Bind{Path: b.Path, Write: b.Write})
			}
			return binds
		},
		Permitted: permitted(cfg, hosts),
		Room:      s.caretaker.room,
	}
}

// permitted asks the host what a user may do now and lets the configuration decide.
func permitted(cfg *config.Config, hosts map[string]vcs.Host) func(ctx context.Context, repo run.Repo, user, command string, t selector.Target) (bool, error) {
	return func(ctx context.Context, repo run.Repo, user, command string, t selector.Target) (bool, error) {
		host, ok := hosts[repo.Host]
		if !ok {
			return false, nil
		}
		access, err := host.Permission(ctx, facts.VCS(repo), user)
		if err != nil {
			return false, fmt.Errorf("look up the permission of %s: %w", user, err)
		}
		d := cfg.Permitted(command, t, config.Subject{
			Login: user, Access: access, Member: func(team string) (bool, error) { return host.Member(ctx, team, user) },
		})
		return d.Allowed, d.Err
	}
}

// randomText returns n random characters that survive every shell and URL.
func randomText(n int) string {
	return strings.ToLower(rand.Text() + rand.Text())[:n]
}
