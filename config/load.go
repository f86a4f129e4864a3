package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
	"github.com/planlatch/planlatch/yamlnode"
)

// Options say where a configuration comes from.
type Options struct {
	// File names it in messages. Default server.yaml.
	File string
	// Dir is where its relative paths begin. Empty: they are left as they are.
	Dir string
	// Lookup returns an environment variable. Nil: none is set.
	Lookup func(name string) (value string, ok bool)
	// NoHosts says that vcs may be missing, because nothing is served.
	NoHosts bool
}

// Load reads a configuration file. Relative paths in it begin at its directory. Errors: *Error.
func Load(path string, lookup func(name string) (string, bool)) (*Config, error) {
	return load(path, Options{Lookup: lookup})
}

// LoadLocal is Load for commands that serve nothing: vcs may be missing. Errors: *Error.
func LoadLocal(path string, lookup func(name string) (string, bool)) (*Config, error) {
	return load(path, Options{Lookup: lookup, NoHosts: true})
}

func load(path string, o Options) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		why := err
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			why = pe.Err
		}
		return nil, &Error{[]run.Problem{{File: path, Message: fmt.Sprintf("cannot be read: %v", why), Fix: "name the file with --config or PLANLATCH_CONFIG"}}}
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("find the directory of %s: %w", path, err)
	}
	o.File, o.Dir = path, dir
	return Parse(text, o)
}

// Parse reads the text of a configuration file. Errors: *Error.
func Parse(text []byte, o Options) (*Config, error) {
	if o.File == "" {
		o.File = "server.yaml"
	}
	if o.Lookup == nil {
		o.Lookup = func(string) (string, bool) { return "", false }
	}
	d := &decoder{
		refs:    references{lookup: o.Lookup, dir: o.Dir},
		file:    o.File,
		at:      map[string]yamlnode.Place{},
		anchors: map[string]ast.Node{},
	}
	c := Default("/var/lib/planlatch")
	d.parse(text, c)
	c.fill(d.written)
	c.anchor(d.refs.absolute)
	problems := d.problems
	if len(c.VCS) == 0 && !o.NoHosts && !d.faulty("") {
		problems = append(problems, d.locate(run.Problem{Key: "vcs", Message: "is missing", Fix: "list at least one VCS host"}))
	}
	for _, p := range c.faults() {
		if !d.faulty(p.Key) { // one message per fault: what could not be read is not judged
			problems = append(problems, d.locate(p))
		}
	}
	if len(problems) > 0 {
		sortProblems(problems)
		return nil, &Error{problems}
	}
	return c, nil
}

// Validate judges a configuration that was made in code. Errors: *Error, without lines.
func (c *Config) Validate() error {
	c.fill(func(string) bool { return false })
	if ps := c.faults(); len(ps) > 0 {
		return &Error{ps}
	}
	return nil
}

// written says whether the file has a key.
func (d *decoder) written(path string) bool {
	_, ok := d.at[path]
	return ok
}

// locate gives a problem the place of its key, or of the nearest key around it.
func (d *decoder) locate(p run.Problem) run.Problem {
	p.File = d.file
	for path := p.Key; path != ""; path = path[:max(strings.LastIndexAny(path, ".["), 0)] {
		if at, ok := d.at[path]; ok {
			p.Line, p.Column = at.Line, at.Column
			break
		}
	}
	return p
}

// everyProject is what a rule without projects is about.
func everyProject() selector.List {
	s, err := selector.Parse("//**")
	if err != nil {
		panic(err) // a constant
	}
	return selector.List{s}
}

// fill gives defaults that depend on other keys or belong to list entries. written says whether a key is in the file.
func (c *Config) fill(written func(path string) bool) {
	if written("listen") && !written("url") {
		c.URL = "http://" + dialable(c.Listen)
	}
	c.URL = strings.TrimRight(c.URL, "/")
	if written("execution.apply_timeout") && !written("execution.shutdown_wait") {
		c.Execution.ShutdownWait = c.Execution.ApplyTimeout
	}
	for i := range c.VCS {
		h := &c.VCS[i]
		if h.URL == "" {
			h.URL = publicURL(h.Kind)
		}
		h.URL, h.APIURL = strings.TrimRight(h.URL, "/"), strings.TrimRight(h.APIURL, "/")
	}
	if c.wrote == nil {
		c.wrote = wroteRules("defaults", written)
	}
	for i := range c.Repos {
		c.Repos[i].note(fmt.Sprintf("repos[%d]", i), written)
	}
	for i := range c.Commands.Prefixes {
		c.Commands.Prefixes[i] = strings.ToLower(c.Commands.Prefixes[i])
	}
	var lists []*selector.List
	for i := range c.Permissions {
		lists = append(lists, &c.Permissions[i].Projects)
	}
	for i := range c.Execution.Binds {
		b := &c.Execution.Binds[i]
		lists = append(lists, &b.Projects)
		if b.Phases == nil {
			b.Phases = []Phase{PhasePlan, PhaseApply}
		}
	}
	for i := range c.Policies {
		p := &c.Policies[i]
		lists = append(lists, &p.Projects)
		if p.Rego == "" {
			p.Rego = "v1"
		}
		if p.Owners.Approvals == 0 {
			p.Owners.Approvals = 1
		}
	}
	for i := range c.Notify {
		n := &c.Notify[i]
		lists = append(lists, &n.Projects)
		if n.Events == nil {
			n.Events = strings.Fields(tagOf(*n, "events", "oneof"))
		}
	}
	for _, l := range lists {
		if *l == nil {
			*l = everyProject()
		}
	}
	for i := range c.ProviderConfigs {
		c.ProviderConfigs[i].fill()
	}
}

// fill brings both ways to write a command together.
func (p *ProviderConfig) fill() {
	if p.Command.TTL == 0 {
		p.Command.TTL = time.Hour
	}
	if p.Command.Plan == nil {
		p.Command.Plan, p.Plan.Argv = p.Plan.Argv, nil
	}
	if p.Command.Apply == nil {
		p.Command.Apply, p.Apply.Argv = p.Apply.Argv, nil
	}
}

// anchor makes relative paths absolute.
func (c *Config) anchor(absolute func(string) string) {
	c.Data = absolute(c.Data)
	for i := range c.Policies {
		if p := &c.Policies[i]; !strings.HasPrefix(p.Source, "builtin:") && !strings.Contains(p.Source, "://") {
			p.Source = absolute(p.Source)
		}
	}
	for i := range c.ProviderConfigs { // a program without a slash is looked for along PATH
		for _, argv := range [][]string{c.ProviderConfigs[i].Command.Plan, c.ProviderConfigs[i].Command.Apply} {
			if len(argv) > 0 && strings.Contains(argv[0], "/") {
				argv[0] = absolute(argv[0])
			}
		}
	}
	if c.Tools.ProviderMirror != "" && !strings.Contains(c.Tools.ProviderMirror, "://") {
		c.Tools.ProviderMirror = absolute(c.Tools.ProviderMirror)
	}
}

// dialable turns an address to listen on into one that this machine can reach.
func dialable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// publicURL is where the hosts live that are one place for all.
func publicURL(kind string) string {
	switch kind {
	case "github":
		return "https://github.com"
	case "gitlab":
		return "https://gitlab.com"
	case "bitbucket_cloud":
		return "https://bitbucket.org"
	case "azuredevops":
		return "https://dev.azure.com"
	}
	return ""
}

// tagOf returns a struct tag of the field with a key.
func tagOf(v any, key, tag string) string {
	for f := range reflect.TypeOf(v).Fields() {
		if f.Tag.Get("yaml") == key {
			return f.Tag.Get(tag)
		}
	}
	return ""
}
