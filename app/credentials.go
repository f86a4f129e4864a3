package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/planlatch/planlatch/blob"
	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/credential"
	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/redact"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/runner"
	"github.com/planlatch/planlatch/selector"
)

// Credentials must last for so long when a phase starts, or for its time limit where that is shorter. What is shorter than this would end in
// the middle of most runs; asking for the whole limit would refuse the usual hour for an apply that may take two.
const (
	planLasts  = 5 * time.Minute
	applyLasts = 15 * time.Minute
)

// credentials gives projects what their provider configurations say, asking the commands in them.
type credentials struct {
	cfg   *config.Config
	env   map[string]string
	asker *credential.Asker
}

func newCredentials(cfg *config.Config, env map[string]string, log *slog.Logger) *credentials {
	base := passed(cfg, env)
	for _, name := range []string{"PATH", "HOME"} {
		if value := env[name]; value != "" && !slices.Contains(cfg.Execution.Environment, name) {
			base = append(base, name+"="+value)
		}
	}
	return &credentials{cfg: cfg, env: env, asker: credential.New(credential.Options{
		Environment: base, Check: config.CheckVariable, Redact: redact.String(secretsOf(cfg, env)), Log: log,
	})}
}

// grant is what the provider configurations of a project give to a run of it in a phase, now.
func (c *credentials) grant(ctx context.Context, t selector.Target, phase string, id run.ID) (runner.Grant, error) {
	all, err := c.cfg.Credentials(t, config.Phase(phase))
	if err != nil {
		return runner.Grant{}, err
	}
	for _, bound := range all.Commands {
		answer, err := c.asker.Ask(ctx, c.command(bound), question(t, phase, id), c.need(phase))
		if err != nil {
			return runner.Grant{}, err
		}
		if err := all.Add(bound.Config, identityOf(answer)); err != nil {
			return runner.Grant{}, err
		}
	}
	g := grantOf(all)
	err = lendModules(c.cfg, t, &g)
	return g, err
}

// fixed is as much of it as is written in the configuration.
func (c *credentials) fixed(t selector.Target, phase string) (g runner.Grant, whole bool, err error) {
	all, err := c.cfg.Credentials(t, config.Phase(phase))
	if err != nil {
		return g, false, err
	}
	g = grantOf(all)
	err = lendModules(c.cfg, t, &g)
	return g, len(all.Commands) == 0, err
}

func (c *credentials) command(b config.BoundCommand) credential.Command {
	out := credential.Command{Config: b.Config, Argv: b.Argv, TTL: b.TTL}
	for _, name := range b.Environment {
		if value, ok := c.env[name]; ok {
			out.Environment = append(out.Environment, name+"="+value)
		}
	}
	return out
}

// need says how long credentials must last. Those of an apply are always new: it starts once, and whatever changed since is known by then.
func (c *credentials) need(phase string) credential.Need {
	if phase == string(config.PhaseApply) {
		return credential.Need{Least: min(applyLasts, c.cfg.Execution.ApplyTimeout)}
	}
	return credential.Need{Least: min(planLasts, c.cfg.Execution.PlanTimeout), Reuse: c.cfg.Execution.PlanTimeout}
}

func question(t selector.Target, phase string, id run.ID) credential.Question {
	return credential.Question{Host: t.Host, Repo: t.Repo, Dir: t.Dir, Workspace: t.Workspace, Phase: phase, Run: string(id)}
}

func identityOf(a credential.Answer) config.Identity {
	secret := func(texts map[string]string) map[string]config.Secret {
		out := map[string]config.Secret{}
		for name, text := range texts {
			out[name] = config.NewSecret(text)
		}
		return out
	}
	return config.Identity{Env: secret(a.Env), Values: a.Values, Files: secret(a.Files)}
}

func grantOf(c config.Credentials) runner.Grant {
	var g runner.Grant
	for _, name := range slices.Sorted(maps.Keys(c.Values)) {
		g.Values = append(g.Values, name+"="+c.Values[name])
	}
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		g.Secrets.Env = append(g.Secrets.Env, name+"="+c.Env[name].Reveal())
	}
	for _, name := range slices.Sorted(maps.Keys(c.Files)) {
		g.Secrets.Files = append(g.Secrets.Files, executor.SecretFile{Variable: name, Content: []byte(c.Files[name].Reveal())})
	}
	return g
}

// seal keeps what the runner remembers of credentials.
type seal struct{ *blob.Sealer }

func (s seal) Open(ctx context.Context, sealed []byte) ([]byte, error) {
	plain, err := s.Sealer.Open(ctx, sealed)
	if errors.Is(err, blob.ErrKey) || errors.Is(err, blob.ErrDamaged) {
		return nil, fmt.Errorf("%w: %w", runner.ErrUnsealed, err)
	}
	return plain, err
}
