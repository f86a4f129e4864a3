package redteam_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/intake"
	"github.com/planlatch/planlatch/runner"
)

// wall is something that a server can go without, to show what it is for.
type wall string

// The walls. Those that configuration can take down are taken down by it, as a careless operator would; the others by seams for tests.
const (
	upright     wall = ""                                     // all of them stand
	sandbox     wall = "sandbox"                              // execution.sandbox: off, and the server lets others of its user look at it
	environment wall = "allow-list of the environment"        // execution.environment names the canary
	network     wall = "closed network"                       // execution.network.allow names the traps and the server
	perProject  wall = "selectors of provider configurations" // projects: ["//**"]
	perPhase    wall = "identity per phase"                   // plan: has what apply: has
	redaction   wall = "redaction"                            // secrets are given as plain values
	cliConfig   wall = "our own CLI configuration"            // the environment of steps names none
	limits      wall = "limits"                               // all 0
	flags       wall = "allow-list of flags"                  // commands.flags names what the attack gives
	permissions wall = "permissions"                          // whoever may read may do everything
	shell       wall = "argv"                                 // every step runs through a shell
	signature   wall = "signature"                            // the door takes what nobody signed
	once        wall = "one answer to one comment"            // the door takes every delivery, and its comment, for new
	bounds      wall = "bounds of what is read"               // the door reads everything, for as long as it takes
	extraction  wall = "files as they were committed"         // sources are checked out and archived by git
	paths       wall = "paths stay inside the repository"     // what planlatch.yaml names is joined to the source, and never refused
	links       wall = "links stay inside the repository"     // sandbox: off, and links lead wherever they lead
	escapes     wall = "escapes"                              // what was written is read with every escape undone
	marks       wall = "marks of sensitive values"            // a plan's JSON comes without them
)

// The walls around who decides. The first is taken down by configuration.
const (
	owners      wall = "owners of policy sets"    // everybody owns every set
	reviews     wall = "reviews as they are"      // whoever reviewed approves this commit, and nobody wrote it
	baseBranch  wall = "rules of the base branch" // the head's rules judge it, and nothing was moved
	closedFails wall = "a broken policy is a no"  // a set that cannot be used is left out, and may take its time
)

// crumbled is no missing wall either but a server whose policy sets broke while it ran.
const crumbled wall = "whole policy sets"

// cramped is no missing wall but a server whose limits are small, so that it does not take long to reach them.
const (
	cramped wall = "room"
	policed wall = "policy" // nor this: it has a policy and more channels, whose words are looked at
)

// configure changes what a server is configured to do.
func (w wall) configure(c *settings) {
	switch w {
	case sandbox:
		c.Sandbox = "off"
	case environment:
		c.Environment = append(c.Environment, canaryEnv)
	case network:
		c.Allow = c.Traps
	case perProject:
		c.OnlyVault = "//**"
	case perPhase:
		c.PlanIdentity = c.ApplyIdentity
	case redaction:
		c.Secret = "values"
	case limits:
		c.Limits, c.PlanTimeout = "{memory: 0, processes: 0, disk: 0, log: 0}", "30m"
	case cramped:
		c.Limits, c.PlanTimeout = "{memory: 512MiB, processes: 150, disk: 64MiB, log: 1MiB}", "40s"
	case flags:
		c.Extra += "commands: {flags: [-compact-warnings]}\n"
	case permissions:
		c.Extra += "permissions: [{commands: [plan, apply, approve, unlock, cancel], access: read}]\n"
	case products, bound, news, digests, savedPlans, seals, ownNames, patienceWithHosts, ownStates:
	case owners:
		c.Owners = []string{c.Stranger, c.Owner, c.Other}
	case baseBranch:
		c.Defaults = "allow_repo_config: [projects, requirements.add, apply, steps]"
	case reviews, closedFails, crumbled:
	case upright, cliConfig, marks, shell:
	case links:
		c.Sandbox = "off"
	case policed, escapes:
		withPolicy(c)
	case signature, once, bounds, extraction, paths:
	}
}

// demolish takes down, in the server's process, what no configuration can.
func demolish(w wall, o *app.ServerOptions) {
	switch w {
	case sandbox:
		o.Parts = func(p *runner.Parts) { p.Exec = talkative{p.Exec} }
	case cliConfig:
		o.Parts = func(p *runner.Parts) { p.Exec = changed{p.Exec, withoutCLIConfig} }
	case marks:
		o.Parts = func(p *runner.Parts) { p.Exec = unmarked{p.Exec} }
	case shell:
		o.Parts = func(p *runner.Parts) { p.Exec = changed{p.Exec, throughShell} }
	case signature:
		o.Door = signed(o)
	case once:
		o.Door = forgetful
	case bounds:
		o.Door = unbounded
	case policed, escapes:
	case paths:
		o.Intake, o.Parts = ruleless, joined
	case links:
		o.Parts = linked(o)
	case extraction:
		o.Parts = archived(o)
	case products, bound, news, digests, savedPlans, seals, ownNames, patienceWithHosts, ownStates:
		o.Parts = rebuilt[w]
	case reviews:
		o.Parts = believeEverybody
	case baseBranch:
		o.Intake = func(i *intake.Intake) { i.Select = byTheHead }
	case crumbled:
		o.Parts = func(p *runner.Parts) { p.Policy = brokenSets(true) }
	case closedFails:
		o.Parts = func(p *runner.Parts) { p.Policy = brokenSets(false) }
	case flags, permissions, owners:
	case upright, cramped, environment, network, perProject, perPhase, redaction, limits:
	default:
		panic(fmt.Sprintf("unknown wall %q", w))
	}
}

// talkative lets every process of its user look at the server.
type talkative struct{ executor.Executor }

func (x talkative) Start(ctx context.Context, s executor.Spec, secrets executor.Secrets) error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
		return err
	}
	return x.Executor.Start(ctx, s, secrets)
}

// changed changes what is executed.
type changed struct {
	executor.Executor
	change func(*executor.Spec)
}

func (x changed) Start(ctx context.Context, s executor.Spec, secrets executor.Secrets) error {
	x.change(&s)
	return x.Executor.Start(ctx, s, secrets)
}

// unmarked hides from the server what a plan marks as sensitive.
type unmarked struct{ executor.Executor }

var mark = regexp.MustCompile(`"((before|after)_)?sensitive(_values)?":(true|\{[^{}]*\})`)

func (x unmarked) Open(ctx context.Context, n executor.Name, output string) (io.ReadCloser, error) {
	f, err := x.Executor.Open(ctx, n, output)
	if err != nil || output != "plan.json" {
		return f, err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	return io.NopCloser(bytes.NewReader(mark.ReplaceAll(text, []byte(`"${1}sensitive${3}":false`)))), err
}

// throughShell gives every step to a shell, as a line.
func throughShell(s *executor.Spec) {
	for n, step := range s.Steps {
		words := slices.Clone(step.Argv)
		for i, word := range words {
			words[i] = `"` + word + `"`
		}
		s.Steps[n].Argv = []string{"/bin/sh", "-c", strings.Join(words, " ")}
	}
}

// withoutCLIConfig has the tool look for its settings where a person's tool does.
func withoutCLIConfig(s *executor.Spec) {
	var env []string
	for _, pair := range s.Env {
		switch name, _, _ := strings.Cut(pair, "="); name {
		case "TF_CLI_CONFIG_FILE":
		case "HOME":
			env = append(env, "HOME="+path.Join("/src", s.Source.Work))
		default:
			env = append(env, pair)
		}
	}
	s.Env = env
}
