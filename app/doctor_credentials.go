package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/credential"
	"github.com/planlatch/planlatch/redact"
	"github.com/planlatch/planlatch/selector"
)

// binds warns of paths that the plan of one pull request can write to although other projects read them.
func (d *doctor) binds(_ context.Context, cfg *config.Config) {
	for _, b := range cfg.Execution.Binds {
		wide := slices.IndexFunc(b.Projects, func(s selector.Selector) bool { return literal(s).Dir == "" })
		if !b.Write || !slices.Contains(b.Phases, config.PhasePlan) || wide < 0 {
			continue
		}
		d.warn("binds", fmt.Sprintf("%s: the plan of any pull request can write to it, in every project of %s", b.Path, b.Projects[wide]),
			"give each project a bind of its own, or plans one without write and phases: [apply] the other")
	}
}

// credentials warns of secrets too short to be withheld from logs by their value, and asks each command once.
func (d *doctor) credentials(ctx context.Context, cfg *config.Config) {
	c := newCredentials(cfg, d.t.env, slog.New(slog.DiscardHandler))
	for _, p := range cfg.ProviderConfigs {
		for _, phase := range []struct {
			name     string
			identity config.Identity
			argv     []string
		}{{"plan", p.Plan, p.Command.Plan}, {"apply", p.Apply, p.Command.Apply}} {
			d.short(p.Name+" "+phase.name, phase.identity)
			if len(phase.argv) > 0 {
				d.command(ctx, c, p, phase.name, phase.argv)
			}
		}
	}
}

func (d *doctor) short(what string, i config.Identity) {
	for _, secrets := range []map[string]config.Secret{i.Env, i.Files} {
		for _, name := range slices.Sorted(maps.Keys(secrets)) {
			if n := utf8.RuneCountInString(strings.TrimSpace(secrets[name].Reveal())); n < redact.MinLength {
				d.warn("credentials", fmt.Sprintf("%s: %s has %d characters, too few to be withheld from logs", what, name, n), "use a longer secret")
			}
		}
	}
}

// command runs a credential command as a run would have it run, and shows nothing of what it prints but names and how long it lasts.
func (d *doctor) command(ctx context.Context, c *credentials, p config.ProviderConfig, phase string, argv []string) {
	what := p.Name + " " + phase
	began := time.Now()
	bound := config.BoundCommand{Config: p.Name, Argv: argv, TTL: p.Command.TTL, Environment: p.Command.Environment}
	answer, err := c.asker.Ask(ctx, c.command(bound), question(literal(p.Projects[0]), phase, "doctor"), c.need(phase))
	if no, ok := errors.AsType[*credential.Error](err); ok {
		if no.Detail != "" {
			err = fmt.Errorf("%w: %s", err, strings.Join(strings.Fields(no.Detail), " "))
		}
	}
	if err != nil {
		d.bad("credentials", fmt.Errorf("%s: %w", what, err), "run it by hand as the user of the server; docs/credentials.md says what it is given and must print")
		return
	}
	i := identityOf(answer)
	names := slices.Sorted(maps.Keys(i.Env))
	names = slices.Concat(names, slices.Sorted(maps.Keys(i.Values)), slices.Sorted(maps.Keys(i.Files)))
	d.good("credentials", "%s: its command answered in %s, for %s: %s", what, time.Since(began).Round(time.Millisecond),
		time.Until(answer.Expires).Round(time.Minute), strings.Join(names, " "))
	d.short(what, i)
}

// literal is a project that a selector may be about: as much of it as has no pattern in it. Dir is empty if it is about several.
func literal(s selector.Selector) selector.Target {
	plain := func(text string) string {
		if strings.ContainsAny(text, `*?[{\`) {
			return ""
		}
		return text
	}
	place, below, _ := strings.Cut(s.String(), "//")
	host, repo, _ := strings.Cut(place, "/")
	dir, workspace := below, ""
	if i := strings.LastIndexByte(below, ':'); i >= 0 {
		dir, workspace = below[:i], below[i+1:]
	}
	return selector.Target{Host: plain(host), Repo: plain(repo), Dir: plain(dir), Workspace: plain(workspace)}
}
