package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/hashicorp/go-version"

	"github.com/planlatch/planlatch/executor/reach"
	"github.com/planlatch/planlatch/meant"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
)

// judge collects what is wrong with values that could be read.
type judge struct {
	problems []run.Problem
	hosts    []string // names of the configured VCS hosts
}

func (j *judge) add(key, message, fix string) {
	j.problems = append(j.problems, run.Problem{Key: key, Message: message, Fix: fix})
}

// faults judges a filled configuration as a whole.
func (c *Config) faults() []run.Problem {
	j := &judge{}
	for _, h := range c.VCS {
		j.hosts = append(j.hosts, h.Name)
	}
	j.server(c)
	j.vcs(c.VCS)
	j.execution(c)
	j.tools(c)
	j.rules("defaults", c.Defaults)
	for i, r := range c.Repos {
		key := fmt.Sprintf("repos[%d]", i)
		j.selectors(key+".match", selector.List{r.Match})
		if !r.Match.RepoOnly() {
			j.add(key+".match", fmt.Sprintf("%q names a directory or workspace", r.Match), "rules hold for whole repositories: write host/owner/repo")
		}
		j.rules(key, r.Rules)
		if r.set["requirements"] && r.Rules.Requirements.Apply == nil {
			j.add(key+".requirements", "has no apply, so that nothing would be asked for", "write apply: [approved, mergeable, up_to_date] or fewer; apply: [] asks for nothing")
		}
		if r.Network.Mode == "" && len(r.Network.Allow)+len(r.Network.Deny) > 0 {
			j.add(key+".network", "has no mode, and nothing of execution.network is added to it", "write mode: open, allow_list or none")
			continue
		}
		j.network(key+".network", r.Network)
	}
	j.commands(c.Commands)
	for i, e := range c.Environments {
		key := fmt.Sprintf("environments[%d]", i)
		j.name(key+".name", e.Name)
		j.selectors(key+".match", e.Match)
	}
	j.permissions(c.Permissions)
	j.providerConfigs(c.ProviderConfigs)
	j.moduleCredentials(c.ModuleCredentials)
	j.policies(c.Policies)
	j.notify(c.Notify)
	j.duplicates(c)
	j.kept(c)
	if e := c.Telemetry.OTLPEndpoint; e != "" {
		j.webURL("telemetry.otlp_endpoint", e)
	}
	return j.problems
}

// repeated is how long hosts let people deliver a webhook again.
const repeated = 3 * day

// kept judges how long and how much is kept.
func (j *judge) kept(c *Config) {
	if d := c.Retention.Deliveries; d > 0 && d < repeated {
		j.add("retention.deliveries", "is so short that a delivery which a host repeats would be taken for a new one", "write 3d or more, or 0 to keep them for ever")
	}
	if c.Disk.Blobs > 0 && c.Blobs != "" && !strings.HasPrefix(c.Blobs, "file:") {
		j.add("disk.blobs", "is only for blobs in files", "remove it, and bound the bucket where it is")
	}
}

func (j *judge) server(c *Config) {
	if _, port, err := net.SplitHostPort(c.Listen); err != nil || !isPort(port) {
		j.add("listen", fmt.Sprintf("%q is not an address to listen on", c.Listen), "write host:port, as in 127.0.0.1:8090 or :8090")
	}
	j.webURL("url", c.URL)
	if c.Data == "" {
		j.add("data", "is empty", "name the directory where everything is kept")
	}
	if key := c.EncryptionKey.Reveal(); key != "" {
		j.scheme("encryption_key", key, "base64key", "awskms", "gcpkms", "azurekeyvault")
	}
	for n, key := range c.OldEncryptionKeys {
		j.scheme(fmt.Sprintf("old_encryption_keys[%d]", n), key.Reveal(), "base64key", "awskms", "gcpkms", "azurekeyvault")
	}
	if len(c.OldEncryptionKeys) > 0 && c.EncryptionKey.IsZero() {
		j.add("old_encryption_keys", "needs encryption_key", "write the new key under encryption_key; a generated one is changed by planlatch keys rotate --generate")
	}
	if c.Blobs != "" {
		j.scheme("blobs", c.Blobs, "file", "s3", "gs", "azblob")
	}
	if c.Database.IsZero() {
		return
	}
	if !j.scheme("database", c.Database.Reveal(), "postgres", "postgresql") {
		return
	}
	if u, err := url.Parse(c.Database.Reveal()); err != nil {
		j.add("database", "is not a URL", "write postgres://user:password@host/name, with odd characters of the password percent-encoded")
	} else if strings.Trim(u.Path, "/") == "" && u.Query().Get("dbname") == "" {
		j.add("database", "names no database", "write postgres://user:password@host/name")
	}
	const why = ", because PostgreSQL is for several replicas, and each would generate its own"
	if c.EncryptionKey.IsZero() {
		j.add("database", "needs encryption_key as well"+why, "write encryption_key: file:/path, holding base64key://<32 random bytes in base64>, or a KMS URL")
	}
	if c.Blobs == "" {
		j.add("database", "needs blobs as well"+why, "write blobs: s3://…, gs://…, azblob://… or file:///shared/directory")
	}
	if c.AdminToken.IsZero() {
		j.add("database", "needs admin_token as well"+why, "write admin_token: ${PLANLATCH_ADMIN_TOKEN} and set that variable")
	}
}

// name is for what stands in URLs, statuses and audit rows.
var name = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{0,62}$`)

func (j *judge) name(key, s string) {
	if s != "" && !name.MatchString(s) {
		j.add(key, fmt.Sprintf("%q cannot be a name", s), "use up to 63 lower case letters, digits, dots and dashes")
	}
}

func (j *judge) vcs(hosts []Host) {
	for i, h := range hosts {
		key := fmt.Sprintf("vcs[%d]", i)
		j.name(key+".name", h.Name)
		if h.URL == "" && h.Kind != "" {
			j.add(key+".url", "is missing", "write the web address of the host, as in https://git.example.com")
		} else if h.URL != "" {
			j.webURL(key+".url", h.URL)
		}
		if h.APIURL != "" {
			j.webURL(key+".api_url", h.APIURL)
		}
		j.access(key, h)
		for n, p := range h.Repos {
			pattern := strings.TrimPrefix(p, "!")
			if at := fmt.Sprintf("%s.repos[%d]", key, n); !doublestar.ValidatePattern(pattern) || (!strings.Contains(pattern, "/") && pattern != "**") {
				j.add(at, fmt.Sprintf("%q is not owner/name or a pattern of it", p), `write acme/infra, acme/*, "!acme/legacy" or "**"`)
			}
		}
		if len(h.Repos) > 0 && !slices.ContainsFunc(h.Repos, func(p string) bool { return !strings.HasPrefix(p, "!") }) {
			j.add(key+".repos", "only excludes, so no repository is allowed", `list what is allowed first, as in ["acme/*", "!acme/legacy"]`)
		}
	}
}

func (j *judge) access(key string, h Host) {
	app := h.App.ID != 0 || !h.App.PrivateKey.IsZero() || h.App.InstallationID != 0
	switch {
	case app && !h.Token.IsZero():
		j.add(key+".token", "is given beside app", "keep one of the two")
	case app && h.Kind != "github":
		j.add(key+".app", "is only for kind github", "give a token")
	case app && (h.App.ID <= 0 || h.App.PrivateKey.IsZero()):
		j.add(key+".app", "is not complete", "give id and private_key: file:/path/to/key.pem")
	case !app && h.Token.IsZero():
		fix := "write token: file:/path/to/token or ${VARIABLE}"
		if h.Kind == "github" {
			fix += ", or app: {id: …, private_key: file:…}"
		}
		j.add(key+".token", "is missing", fix)
	}
}

// endsWithin is how long a plan may go on, its grace aside, after the database last heard of its server.
const endsWithin = 40 * time.Second

func (j *judge) execution(c *Config) {
	e := c.Execution
	for i, n := range e.Environment {
		j.variable(fmt.Sprintf("execution.environment[%d]", i), n)
	}
	if least := e.CancelGrace.Plan + endsWithin; e.NodeTimeout < least {
		j.add("execution.node_timeout", fmt.Sprintf("%s is too short: a plan that lost its server may need %s to end, and would be planned again beside it", e.NodeTimeout, least),
			fmt.Sprintf("set %s or more, or a shorter cancel_grace.plan", least))
	}
	j.network("execution.network", e.Network)
	for i, b := range e.Binds {
		key := fmt.Sprintf("execution.binds[%d]", i)
		j.selectors(key+".projects", b.Projects)
		switch {
		case b.Path == "":
		case !filepath.IsAbs(b.Path) || filepath.Clean(b.Path) != b.Path || b.Path == "/":
			j.add(key+".path", fmt.Sprintf("%q is not an absolute, clean path below /", b.Path), "write it from the root, without .. and trailing slash")
		case within(b.Path, c.Data) || within(c.Data, b.Path):
			j.add(key+".path", "would show the data directory, with other runs and secrets, to runs", "bind a directory beside "+c.Data)
		}
	}
}

func (j *judge) network(key string, n Network) {
	for i, text := range n.Allow {
		at := fmt.Sprintf("%s.allow[%d]", key, i)
		e, err := reach.Parse(text)
		switch {
		case err != nil:
			j.add(at, err.Error(), reach.Fix())
		case !e.Exact() && n.Mode != "allow_list":
			j.add(at, fmt.Sprintf("%q names many places, which mode %s cannot hold", text, n.Mode), "write mode: allow_list, or list each host:port")
		}
	}
	for i, text := range n.Deny {
		if _, err := reach.ParseDeny(text); err != nil {
			j.add(fmt.Sprintf("%s.deny[%d]", key, i), err.Error(), "write it as in 10.0.0.0/8, fd00::/8 or 192.0.2.7")
		}
	}
}

// within says whether path is dir or below it.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

func (j *judge) tools(c *Config) {
	t := c.Tools
	for key, constraint := range map[string]string{"tools.default.version": t.Default.Version, "tools.allow": t.Allow} {
		if constraint == "" {
			continue
		}
		if _, err := version.NewConstraint(constraint); err != nil {
			j.add(key, fmt.Sprintf("%q is not a version or constraint", constraint), `write "1.12.6", "~> 1.12" or ">= 1.5, < 2"`)
		}
	}
	if t.Mirror != "" {
		j.webURL("tools.mirror", t.Mirror)
	}
	const key = "tools.provider_mirror"
	switch dir := t.ProviderMirror; {
	case dir == "":
	case strings.HasPrefix(dir, "http://"):
		j.add(key, "is not encrypted, and the tools take providers from https alone", "write https://…, or a directory")
	case strings.Contains(dir, "://"):
		j.webURL(key, dir)
	case dir == "/" || within(dir, c.Data) || within(c.Data, dir):
		j.add(key, "would show the data directory, with other runs and secrets, to runs", "use a directory beside "+c.Data)
	}
}

func (j *judge) rules(key string, r Rules) {
	for i, b := range r.Branches {
		if b == "" || !doublestar.ValidatePattern(b) {
			j.add(fmt.Sprintf("%s.branches[%d]", key, i), fmt.Sprintf("%q is not a branch or a pattern of branches", b), `write main, "release/*" or default`)
		}
	}
	j.steps(key+".steps", run.Steps(r.Steps))
	for i, p := range r.EffectIgnore {
		if strings.TrimSpace(p) == "" || strings.Trim(p, "*.") == "" {
			j.add(fmt.Sprintf("%s.effect_ignore[%d]", key, i), fmt.Sprintf("%q names no attribute, so every difference would be ignored", p), `name one, as in "*.tags.deployed_at"`)
		}
	}
}

func (j *judge) steps(key string, s run.Steps) {
	for _, k := range run.StepKeys {
		if s.Of(k) == nil {
			continue
		}
		if message, fix := run.StepFault(k, s.Of(k)); message != "" {
			j.add(key+"."+k, message, fix)
		}
	}
}

var prefix = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)

var flag = regexp.MustCompile(`^-[a-z][a-z-]*$`)

// refusedFlags would move a run off its own code, state, lock or outputs, so that no server may allow them.
var refusedFlags = []string{
	"-chdir", "-plugin-dir", "-out", "-state", "-state-out", "-backup", "-lock", "-lock-timeout", "-input", "-json", "-detailed-exitcode",
	"-backend", "-backend-config", "-from-module", "-auto-approve", "-destroy", "-generate-config-out", "-reconfigure", "-migrate-state",
}

func (j *judge) commands(c Commands) {
	for i, p := range c.Prefixes {
		if !prefix.MatchString(p) {
			j.add(fmt.Sprintf("commands.prefixes[%d]", i), fmt.Sprintf("%q is not one word", p), "use letters, digits and dashes, as in planlatch")
		}
	}
	for i, f := range c.Flags {
		key := fmt.Sprintf("commands.flags[%d]", i)
		switch {
		case !flag.MatchString(f):
			j.add(key, fmt.Sprintf("%q is not the name of a tool flag", f), "write it as in -compact-warnings")
		case slices.Contains(refusedFlags, f):
			j.add(key, f+" is never taken from a comment, because planlatch sets it or safety rests on it", "remove it")
		}
	}
}

func (j *judge) permissions(ps []Permission) {
	for i, p := range ps {
		key := fmt.Sprintf("permissions[%d]", i)
		j.selectors(key+".projects", p.Projects)
		j.teams(key+".teams", p.Teams)
		if len(p.Users)+len(p.Teams) == 0 && p.Access == "" {
			j.add(key, "lets nobody command", "add users, teams or access: write")
		}
	}
}

func (j *judge) teams(key string, teams []string) {
	for i, t := range teams {
		if org, team, ok := strings.Cut(t, "/"); !ok || org == "" || team == "" || strings.HasPrefix(t, "@") {
			j.add(fmt.Sprintf("%s[%d]", key, i), fmt.Sprintf("%q is not a team", t), "write org/team")
		}
	}
}

func (j *judge) providerConfigs(ps []ProviderConfig) {
	for i, p := range ps {
		key := fmt.Sprintf("provider_configs[%d]", i)
		j.name(key+".name", p.Name)
		j.selectors(key+".projects", p.Projects)
		if len(p.Plan.names())+len(p.Apply.names())+len(p.Command.Plan)+len(p.Command.Apply) == 0 {
			j.add(key, "gives nothing", "fill in plan, apply or command")
		}
		j.identity(key+".plan", p.Plan)
		j.identity(key+".apply", p.Apply)
		for n, name := range p.Command.Environment {
			if !variableName.MatchString(name) {
				j.add(fmt.Sprintf("%s.command.environment[%d]", key, n), fmt.Sprintf("%q cannot be the name of a variable", name), "list names alone, without values")
			}
		}
	}
}

func (j *judge) identity(key string, i Identity) {
	if len(i.Argv) > 0 {
		j.add(key+".command", "is given twice, here and in command:", "keep one of the two")
	}
	last := ""
	for _, n := range i.names() {
		if n == last {
			j.add(key, fmt.Sprintf("sets %s twice", n), "keep it in one of env, values and files")
			continue
		}
		last = n
		part := "env"
		if _, ok := i.Values[n]; ok {
			part = "values"
		} else if _, ok := i.Files[n]; ok {
			part = "files"
		}
		j.variable(join(key, part+"."+n), n)
	}
}

// reserved are variables that would change how a run starts instead of what it can reach.
var reserved = regexp.MustCompile(`^(PLANLATCH_.*|TF_CLI.*|TF_PLUGIN_CACHE.*|TF_REATTACH_PROVIDERS|TF_DATA_DIR|TF_WORKSPACE|TF_INPUT|TF_IN_AUTOMATION|TF_LOG.*|` +
	`TF_STATE_PERSIST_INTERVAL|TF_SKIP_.*|TOFU_CLI.*|CHECKPOINT_DISABLE|LD_.*|PATH|HOME|TMPDIR|SHELL|IFS|BASH_ENV|ENV)$`)

func (j *judge) variable(key, n string) {
	if what, fix := variableFault(n); what != "" {
		j.add(key, what, fix)
	}
}

func variableFault(n string) (what, fix string) {
	switch {
	case !variableName.MatchString(n):
		return fmt.Sprintf("%q cannot be the name of a variable", n), "use letters, digits and underscores"
	case reserved.MatchString(n):
		return n + " is not for runs to be given: planlatch sets it itself or keeps it from them", "remove it"
	}
	return "", ""
}

// CheckVariable refuses names that no run may be given, whoever says so.
func CheckVariable(name string) error {
	if what, _ := variableFault(name); what != "" {
		return errors.New(what)
	}
	return nil
}

func (j *judge) policies(ps []Policy) {
	for i, p := range ps {
		key := fmt.Sprintf("policies[%d]", i)
		j.name(key+".name", p.Name)
		j.selectors(key+".projects", p.Projects)
		j.teams(key+".owners.teams", p.Owners.Teams)
		if p.Level == run.Soft && len(p.Owners.Users)+len(p.Owners.Teams) == 0 {
			j.add(key+".owners", "is missing, and a soft set that nobody may override is a hard one", "name users or teams, or write level: hard")
		}
		if n := len(p.Owners.Users); len(p.Owners.Teams) == 0 && n > 0 && p.Owners.Approvals > n {
			j.add(key+".owners.approvals", fmt.Sprintf("asks for %d owners of %d", p.Owners.Approvals, n), "ask for fewer or name more")
		}
		if builtin, ok := strings.CutPrefix(p.Source, "builtin:"); ok && builtin == "" {
			j.add(key+".source", "names no built-in set", "write builtin:baseline")
		}
		if repo, ok := strings.CutPrefix(p.Source, "git::"); ok {
			j.scheme(key+".source", repo, "https", "ssh")
		} else if strings.Contains(p.Source, "://") {
			j.add(key+".source", "is a URL of no known kind", "write builtin:baseline, a directory or git::https://…?ref=…")
		}
	}
}

func (j *judge) notify(ns []Notify) {
	for i, n := range ns {
		key := fmt.Sprintf("notify[%d]", i)
		j.name(key+".name", n.Name)
		j.selectors(key+".projects", n.Projects)
		if !n.URL.IsZero() {
			j.scheme(key+".url", n.URL.Reveal(), "https", "http")
		}
		if n.APIURL != "" {
			j.webURL(key+".api_url", n.APIURL)
			if n.Kind != "slack" || n.Token.IsZero() {
				j.add(key+".api_url", "is only for slack with a token", "remove it")
			}
		}
		if !n.Secret.IsZero() && n.Kind != "webhook" {
			j.add(key+".secret", "is only for webhook", "remove it")
		}
		if u, err := url.Parse(n.URL.Reveal()); n.Kind == "teams" && err == nil && retired(u.Hostname()) {
			j.add(key+".url", "is a connector of Microsoft 365, which Microsoft has retired", "make a workflow in the channel instead, see docs/notify.md")
		}
		switch slack := n.Kind == "slack"; {
		case n.Kind != "slack" && n.Kind != "teams" && n.Kind != "webhook":
		case slack && !n.Token.IsZero() && !n.URL.IsZero():
			j.add(key+".url", "is given beside token", "keep one of the two")
		case slack && !n.Token.IsZero() && n.Channel == "":
			j.add(key+".channel", "is missing", `a bot token needs one: write channel: "#infra"`)
		case slack && n.Token.IsZero() && n.URL.IsZero():
			j.add(key+".token", "is missing", "give token and channel, or url: an incoming webhook")
		case !slack && n.URL.IsZero():
			j.add(key+".url", "is missing", "write url: file:/path or ${VARIABLE} with the address to post to")
		case !slack && !n.Token.IsZero():
			j.add(key+".token", "is only for slack", "remove it")
		}
	}
}

// retired says whether a host was one of Office connectors, which no longer post anything.
func retired(host string) bool {
	host = strings.ToLower(host)
	return strings.HasSuffix(host, ".webhook.office.com") || host == "outlook.office.com" || host == "outlook.office365.com"
}

// duplicates refuses two entries of one name.
func (j *judge) duplicates(c *Config) {
	check := func(list string, n int, at func(int) string) {
		first := map[string]int{}
		for i := range n {
			name := at(i)
			if before, ok := first[name]; ok && name != "" {
				j.add(fmt.Sprintf("%s[%d].name", list, i), fmt.Sprintf("%q is also the name of %s[%d]", name, list, before), "choose another")
				continue
			}
			first[name] = i
		}
	}
	check("vcs", len(c.VCS), func(i int) string { return c.VCS[i].Name })
	check("environments", len(c.Environments), func(i int) string { return c.Environments[i].Name })
	check("provider_configs", len(c.ProviderConfigs), func(i int) string { return c.ProviderConfigs[i].Name })
	check("module_credentials", len(c.ModuleCredentials), func(i int) string { return c.ModuleCredentials[i].Name })
	check("policies", len(c.Policies), func(i int) string { return c.Policies[i].Name })
	check("notify", len(c.Notify), func(i int) string { return c.Notify[i].Name })
}

// selectors refuses those that name a host nobody configured: a rule that silently matches nothing protects nothing.
func (j *judge) selectors(key string, list selector.List) {
	for i, s := range list {
		if s.String() == "" || len(j.hosts) == 0 || slices.ContainsFunc(j.hosts, s.MatchHost) {
			continue
		}
		at := key
		if !strings.HasSuffix(key, ".match") || len(list) > 1 {
			at = fmt.Sprintf("%s[%d]", key, i)
		}
		j.add(at, fmt.Sprintf("%q is about no configured host", s), fmt.Sprintf("selectors begin with a name from vcs: (%s) or with //", strings.Join(j.hosts, ", ")))
	}
}

func (j *judge) webURL(key, s string) {
	u, err := url.Parse(s)
	switch {
	case err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "":
		if strings.Contains(s, "@") { // may hold a password
			s = "the value"
		}
		j.add(key, fmt.Sprintf("%q is not a web address", s), "write it as in https://planlatch.example.com")
	case u.User != nil:
		j.add(key, "has a user or password in it", "give credentials in their own keys")
	case u.RawQuery != "" || u.Fragment != "":
		j.add(key, fmt.Sprintf("%q has a query or fragment", s), "write only scheme, host and path")
	}
}

// scheme holds a URL to some schemes, without repeating it: it may be a secret as a whole.
func (j *judge) scheme(key, s string, schemes ...string) bool {
	if got, _, ok := strings.Cut(s, "://"); ok && slices.Contains(schemes, got) {
		return true
	}
	j.add(key, "is not a URL of a known kind", "it begins with "+meant.OneOf(schemes)+", then ://")
	return false
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n <= 65535
}
