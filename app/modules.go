package app

import (
	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/runner"
	"github.com/planlatch/planlatch/selector"
)

// lendModules adds what init of a project may fetch private modules with.
func lendModules(cfg *config.Config, t selector.Target, g *runner.Grant) error {
	modules, err := cfg.ModulesFor(t)
	for _, m := range modules {
		g.Lends = append(g.Lends, executor.Lend{Name: m.Name, Kind: executor.LendKind(m.Kind), URL: m.URL, InsteadOf: m.InsteadOf, Header: m.Header})
		g.Secrets.Lent = append(g.Secrets.Lent, m.Value.Reveal())
	}
	return err
}
