// Package app wires planlatch together: the command line, the server, the demo. It is the only package that imports all others.
//
// It promises that Run does all that the program does, so that tests start the very same thing, and that every command ends with one of the
// exit codes 0 (done), 1 (the work said no), 2 (usage or configuration) and 3 (something broke).
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/planlatch/planlatch/config"
)

// The exit codes of every command.
const (
	exitDone   = 0
	exitNo     = 1
	exitUsage  = 2
	exitBroken = 3
)

// coded is an error with the exit code it ends the program with.
type coded struct {
	code int
	err  error
}

func (e *coded) Error() string { return e.err.Error() }
func (e *coded) Unwrap() error { return e.err }

func usage(err error) error { return &coded{exitUsage, err} }

// Environment returns the process's variables by name: the one place that reads them.
func Environment() map[string]string {
	env := map[string]string{}
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	return env
}

// terminal is where a command speaks: results to out, words for people to err.
type terminal struct {
	out, err io.Writer
	env      map[string]string
}

type commands struct {
	Serve   serveCmd   `cmd:"" help:"Run the server."`
	Demo    demoCmd    `cmd:"" help:"Show the whole story on this machine: no account, no configuration."`
	Doctor  doctorCmd  `cmd:"" help:"Check configuration, tools, sandbox, database, hosts and webhooks; name each fix."`
	Plan    planCmd    `cmd:"" help:"Plan what your work tree changes, judge it, and print what the pull request would say."`
	Explain explainCmd `cmd:"" help:"Say which projects your work tree changes and why, and why others are left out."`
	Policy  policyCmd  `cmd:"" help:"Test policies, and judge a plan with them."`
	Pause   pauseCmd   `cmd:"" help:"Freeze applies on a server: none starts any more."`
	Resume  resumeCmd  `cmd:"" help:"End a freeze: what waited goes on."`
	Runs    runsCmd    `cmd:"" help:"List the runs of a server, or show one."`
	Locks   locksCmd   `cmd:"" help:"List what is held or worked on, by whom and why."`
	Apply   applyCmd   `cmd:"" help:"Apply the plan of a push, which has no pull request where anybody could say so."`
	Cancel  cancelCmd  `cmd:"" help:"Stop a run."`
	Unlock  unlockCmd  `cmd:"" help:"Free what a pull request holds, or settle a run that waits for a person."`
	Audit   auditCmd   `cmd:"" help:"Show who did what, and what came of it."`
	State   stateCmd   `cmd:"" help:"Repair what an apply could not save."`
	Keys    keysCmd    `cmd:"" help:"Change the key that encrypts what is stored, and say what needs which."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// Run executes one command line and returns its exit code.
func Run(ctx context.Context, args []string, env map[string]string, stdout, stderr io.Writer) int {
	t := &terminal{out: stdout, err: stderr, env: env}
	code := -1
	var c commands
	parser, err := kong.New(&c,
		kong.Name("planlatch"),
		kong.Description("Turns pull requests into reviewed, policy-checked, exactly-once plans and applies of OpenTofu and Terraform."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(n int) { code = n }),
		kong.DefaultEnvars("PLANLATCH"),
		kong.Resolvers(environment(env)),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(t),
		kong.UsageOnError(),
	)
	if err != nil {
		fmt.Fprintln(stderr, "planlatch:", err)
		return exitBroken
	}
	parsed, err := parse(parser, args)
	if code >= 0 {
		return code
	}
	if err != nil {
		fmt.Fprintf(stderr, "planlatch: %v\n\nplanlatch --help lists the commands.\n", err)
		return exitUsage
	}
	return t.exit(parsed.Run())
}

// exited unwinds the parser when --help has been printed: kong goes on parsing after its Exit hook returns.
type exited struct{}

func parse(parser *kong.Kong, args []string) (parsed *kong.Context, err error) {
	exit := parser.Exit
	parser.Exit = func(n int) { exit(n); panic(exited{}) }
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(exited); !ok {
				panic(r)
			}
			parsed, err = nil, nil
		}
	}()
	if len(args) == 0 {
		args = []string{"--help"}
	}
	return parser.Parse(args)
}

// environment resolves flags from the injected environment, where kong alone would read the process's.
func environment(env map[string]string) kong.Resolver {
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		for _, name := range flag.Envs {
			if v, ok := env[name]; ok {
				return v, nil
			}
		}
		return nil, nil //nolint:nilnil // kong's way to say that nothing is known
	})
}

// exit prints what went wrong and returns its code.
func (t *terminal) exit(err error) int {
	if err == nil {
		return exitDone
	}
	code := exitBroken
	var c *coded
	var faults *config.Error
	switch {
	case errors.As(err, &c):
		code = c.code
	case errors.As(err, &faults):
		code = exitUsage
	}
	fmt.Fprintf(t.err, "planlatch: %s\n", visibleLines(err.Error())) // servers and tools quote what pull requests brought
	return code
}
