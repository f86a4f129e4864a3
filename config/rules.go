package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/planlatch/planlatch/meant"
	"github.com/planlatch/planlatch/selector"
	"github.com/planlatch/planlatch/vcs"
)

// Rules returns what holds for a repository: the defaults, overlaid key by key with each entry of repos: that matches, in their order.
func (c *Config) Rules(host, repo string) Rules {
	out := c.Defaults
	for _, r := range c.Repos {
		if r.Match.MatchRepo(host, repo) {
			r.overlay(&out)
		}
	}
	return out
}

// NetworkOf is what runs of a repository can reach: the network of the last entry of repos: that matches and has one, else the server's.
func (c *Config) NetworkOf(host, repo string) Network {
	n := c.Execution.Network
	for _, r := range c.Repos {
		if r.Network.Mode != "" && r.Match.MatchRepo(host, repo) {
			n = r.Network
		}
	}
	return n
}

// Wrote says whether an entry of repos: or defaults sets a key for a repository on purpose: with an atlantis.yaml and no own setting the
// default of apply is another one.
func (c *Config) Wrote(host, repo, key string) bool {
	return c.wrote[key] || slices.ContainsFunc(c.Repos, func(r RepoRules) bool {
		return r.set[key] && r.Match.MatchRepo(host, repo)
	})
}

// note remembers which keys of the entry were written.
func (r *RepoRules) note(path string, written func(string) bool) {
	if r.set != nil {
		return
	}
	r.set = wroteRules(path, written)
}

// Override makes an entry in code: the named keys of rules count.
func Override(match selector.Selector, rules Rules, keys ...string) RepoRules {
	r := RepoRules{Match: match, Rules: rules, set: map[string]bool{}}
	for _, k := range keys {
		r.set[k] = true
	}
	return r
}

func wroteRules(path string, written func(string) bool) map[string]bool {
	set := map[string]bool{}
	for _, key := range keys(reflect.TypeFor[Rules]()) {
		if written(join(path, key)) {
			set[key] = true
		}
	}
	return set
}

func (r *RepoRules) overlay(out *Rules) {
	from, to := reflect.ValueOf(r.Rules), reflect.ValueOf(out).Elem()
	for i := range from.NumField() {
		if r.set[from.Type().Field(i).Tag.Get("yaml")] {
			to.Field(i).Set(from.Field(i))
		}
	}
}

// Branch says whether pull requests into a branch of a repository count. "default" is the default branch and no branch that somebody calls so:
// whoever can make branches could have rules of their own judge them there.
func (r Rules) Branch(branch, defaultBranch string) bool {
	return slices.ContainsFunc(r.Branches, func(pattern string) bool {
		if pattern == "default" {
			return branch == defaultBranch
		}
		return pattern == branch || doublestar.MatchUnvalidated(pattern, branch)
	})
}

// Host returns a host by its name.
func (c *Config) Host(name string) (Host, bool) {
	i := slices.IndexFunc(c.VCS, func(h Host) bool { return h.Name == name })
	if i < 0 {
		return Host{}, false
	}
	return c.VCS[i], true
}

// Allows says whether the allow-list of a host has a repository. An unknown host allows nothing.
func (c *Config) Allows(host, repo string) bool {
	h, ok := c.Host(host)
	return ok && h.Allows(repo)
}

// Allows says whether the allow-list has a repository, written owner/name. The last pattern that matches decides; names match in any case,
// as hosts have it.
func (h Host) Allows(repo string) bool {
	allowed := false
	for _, p := range h.Repos {
		pattern, exclude := strings.CutPrefix(strings.ToLower(p), "!")
		if doublestar.MatchUnvalidated(pattern, strings.ToLower(repo)) {
			allowed = !exclude
		}
	}
	return allowed
}

// Subject is who commands: what the host says of them at the time of the command.
type Subject struct {
	Login  string
	Access vcs.Permission
	// Member says whether they belong to a team, written "org/team". A look-up that fails means no.
	Member func(team string) (bool, error)
}

// Decision is an answer about a permission. Reason is for the person who asked, whether they may or not; Err is a look-up that failed,
// for the log.
type Decision struct {
	Allowed bool
	Reason  string
	Err     error
}

// defaultAccess is who may do what when no rule decides. Owners of policy sets decide on approve by themselves.
var defaultAccess = map[string]vcs.Permission{
	"help": vcs.PermissionNone, "explain": vcs.PermissionRead, "approve": vcs.PermissionRead,
	"plan": vcs.PermissionWrite, "apply": vcs.PermissionWrite, "unlock": vcs.PermissionWrite, "cancel": vcs.PermissionWrite,
}

// Permitted says whether who may command a project: the first rule whose commands and projects match decides alone; without one, the
// permission on the repository decides: write may plan, apply, unlock and cancel, admin everything. It answers no to what it cannot tell.
func (c *Config) Permitted(command string, t selector.Target, who Subject) Decision {
	for _, p := range c.Permissions {
		if slices.Contains(p.Commands, command) && p.Projects.Match(t) {
			return p.decide(command, t, who)
		}
	}
	need, ok := defaultAccess[command]
	if !ok {
		need = vcs.PermissionAdmin
	}
	if who.Access >= need {
		return Decision{Allowed: true, Reason: fmt.Sprintf("%s has %s permission", who.Login, accessName(who.Access))}
	}
	return Decision{Reason: fmt.Sprintf("%s needs %s permission on the repository", command, accessName(need))}
}

func (p Permission) decide(command string, t selector.Target, who Subject) Decision {
	if slices.ContainsFunc(p.Users, func(u string) bool { return u != "" && strings.EqualFold(u, who.Login) }) {
		return Decision{Allowed: true, Reason: who.Login + " is listed"}
	}
	if p.Access != "" && who.Access >= accessByName(p.Access) {
		return Decision{Allowed: true, Reason: fmt.Sprintf("%s has %s permission", who.Login, accessName(who.Access))}
	}
	var failed error
	for _, team := range p.Teams {
		if who.Member == nil {
			break
		}
		in, err := who.Member(team)
		if err != nil {
			failed = fmt.Errorf("look up %s in %s: %w", who.Login, team, err)
			continue
		}
		if in {
			return Decision{Allowed: true, Reason: who.Login + " is a member of " + team}
		}
	}
	var may []string
	may = append(may, p.Teams...)
	may = append(may, p.Users...)
	if p.Access != "" {
		may = append(may, "anyone with "+p.Access+" permission")
	}
	d := Decision{Reason: fmt.Sprintf("%s of %s is for %s", command, t.Dir, meant.OneOf(may)), Err: failed}
	if failed != nil {
		d.Reason += "; a team could not be looked up, which counts as no"
	}
	return d
}

func accessByName(name string) vcs.Permission {
	switch name {
	case "read":
		return vcs.PermissionRead
	case "write":
		return vcs.PermissionWrite
	}
	return vcs.PermissionAdmin
}

func accessName(p vcs.Permission) string {
	switch p {
	case vcs.PermissionAdmin:
		return "admin"
	case vcs.PermissionWrite:
		return "write"
	case vcs.PermissionRead:
		return "read"
	case vcs.PermissionNone:
	}
	return "no"
}

// EnvironmentOf returns the environment of a project, or "" if it has none. The first that matches counts.
func (c *Config) EnvironmentOf(t selector.Target) string {
	for _, e := range c.Environments {
		if e.Match.Match(t) {
			return e.Name
		}
	}
	return ""
}

// PoliciesFor lists the policy sets that judge a project.
func (c *Config) PoliciesFor(t selector.Target) []Policy {
	var out []Policy
	for _, p := range c.Policies {
		if p.Projects.Match(t) {
			out = append(out, p)
		}
	}
	return out
}

// BindsFor lists the paths that a phase of a project may see.
func (c *Config) BindsFor(t selector.Target, phase Phase) []Bind {
	var out []Bind
	for _, b := range c.Execution.Binds {
		if b.Projects.Match(t) && slices.Contains(b.Phases, phase) {
			out = append(out, b)
		}
	}
	return out
}

// Credentials are what the provider configurations of a project give to one phase, together.
type Credentials struct {
	Env      map[string]Secret
	Values   map[string]string
	Files    map[string]Secret
	Commands []BoundCommand // what they print is joined by Add

	from map[string]string // name of the provider configuration by variable
	dir  string
}

// BoundCommand is a credential command of one provider configuration.
type BoundCommand struct {
	Config      string // name of the provider configuration
	Argv        []string
	TTL         time.Duration
	Environment []string // names
}

// Credentials returns what a phase of a project gets. Two provider configurations that set one variable are an error, because no order
// between them could be guessed safely.
func (c *Config) Credentials(t selector.Target, phase Phase) (Credentials, error) {
	out := Credentials{Env: map[string]Secret{}, Values: map[string]string{}, Files: map[string]Secret{}, from: map[string]string{}, dir: t.Dir}
	for _, p := range c.ProviderConfigs {
		if !p.Projects.Match(t) {
			continue
		}
		identity, argv := p.Plan, p.Command.Plan
		if phase == PhaseApply {
			identity, argv = p.Apply, p.Command.Apply
		}
		if err := out.Add(p.Name, identity); err != nil {
			return Credentials{}, err
		}
		if len(argv) > 0 {
			out.Commands = append(out.Commands, BoundCommand{Config: p.Name, Argv: argv, TTL: p.Command.TTL, Environment: p.Command.Environment})
		}
	}
	return out, nil
}

// Add joins what a provider configuration gives besides. After an error nothing of the whole may be used.
func (c *Credentials) Add(config string, i Identity) error {
	for _, name := range i.names() {
		switch other, ok := c.from[name]; {
		case ok && other == config:
			return fmt.Errorf("provider configuration %s sets %s itself and by its command for %s; keep one of the two", config, name, c.dir)
		case ok:
			return fmt.Errorf("provider configurations %s and %s both set %s for %s; narrow the projects of one", other, config, name, c.dir)
		}
		c.from[name] = config
	}
	maps.Copy(c.Env, i.Env)
	maps.Copy(c.Values, i.Values)
	maps.Copy(c.Files, i.Files)
	return nil
}

// names lists the variables an identity sets, sorted; one that is set twice is listed twice.
func (i Identity) names() []string {
	out := slices.Collect(maps.Keys(i.Env))
	out = slices.AppendSeq(out, maps.Keys(i.Values))
	out = slices.AppendSeq(out, maps.Keys(i.Files))
	slices.Sort(out)
	return out
}
