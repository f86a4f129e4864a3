package app

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/planlatch/planlatch/client"
)

type runsCmd struct {
	remote
	printed
	ID      string   `arg:"" optional:"" name:"run" help:"Only this run, or how its id begins: with its gates and why it failed."`
	Repo    string   `help:"Of a repository, as in github/acme/infra." placeholder:"HOST/OWNER/NAME"`
	Pull    int      `help:"Of a pull request; needs --repo." placeholder:"N"`
	Project string   `short:"p" help:"Of a project: its name or directory." placeholder:"PROJECT"`
	State   []string `help:"In a state; several: --state planned --state confirmed." placeholder:"STATE"`
	Limit   int      `help:"How many." default:"30"`
	Before  string   `help:"Those older than this run: the next page." placeholder:"RUN"`
}

// Run lists runs, or shows one.
func (c *runsCmd) Run(ctx context.Context, t *terminal) error {
	s, err := c.dial()
	if err != nil {
		return err
	}
	if c.ID != "" {
		return c.one(ctx, t, s)
	}
	if err := whole(c.Repo, c.Pull); err != nil {
		return err
	}
	runs, next, raw, err := s.Runs(ctx, client.Filter{
		Repo: c.Repo, Pull: c.Pull, Project: c.Project, States: c.State, Limit: c.Limit, Before: c.Before,
	})
	if err != nil {
		return answered(err)
	}
	return c.print(t, raw, func() {
		var rows [][]string
		for _, r := range runs {
			rows = append(rows, []string{r.ID, state(r), r.Project, r.Host + "/" + of(r.Repo, r.Pull), changes(r), age(&r.Created), r.Reason})
		}
		if len(rows) == 0 {
			fmt.Fprintln(t.err, "No run fits.")
			return
		}
		t.table("RUN\tSTATE\tPROJECT\tOF\tCHANGES\tAGE\tREASON", rows)
		if next != "" {
			fmt.Fprintf(t.err, "There are more: --before %s\n", next)
		}
	})
}

func (c *runsCmd) one(ctx context.Context, t *terminal, s *client.Client) error {
	id, err := s.Find(ctx, c.ID)
	if err != nil {
		return answered(err)
	}
	d, raw, err := s.Run(ctx, id)
	if err != nil {
		return answered(err)
	}
	return c.print(t, raw, func() {
		var rows [][]string
		say := func(name, value string) {
			if value != "" {
				rows = append(rows, []string{name, value})
			}
		}
		say("state", state(d.Run))
		say("reason", d.Reason)
		say("project", d.Project)
		say("of", d.Host+"/"+of(d.Repo, d.Pull))
		say("commit", d.Head)
		say("changes", changes(d.Run))
		say("tool", d.Tool)
		say("confirmed by", d.ConfirmedBy)
		say("waits for", d.HeldBy)
		if d.State == "queued" || d.State == "confirmed" {
			say("ahead", strconv.Itoa(d.Ahead))
		}
		say("waits", d.Waits)
		for _, text := range d.Removed {
			say("removed", text)
		}
		for _, g := range d.Gates {
			mark := "[ ] "
			if g.Holds {
				mark = "[x] "
			}
			say("gate", mark+g.Text)
		}
		for line := range strings.Lines(d.Failure) {
			say("failure", strings.TrimRight(line, "\n"))
		}
		say("page", d.URL)
		t.table("run\t"+d.ID, rows)
	})
}

// state says a run's state as people need it.
func state(r client.Run) string {
	if !r.StateSaved {
		return "state not saved"
	}
	return r.State
}

func changes(r client.Run) string {
	if r.Planned == nil {
		return ""
	}
	var parts []string
	for _, c := range []struct {
		n    int
		word string
	}{{r.Counts.Add, "add"}, {r.Counts.Change, "change"}, {r.Counts.Replace, "replace"}, {r.Counts.Destroy, "destroy"}} {
		if c.n > 0 {
			parts = append(parts, strconv.Itoa(c.n)+" "+c.word)
		}
	}
	return strings.Join(parts, ", ")
}

// whole checks how a repository and a pull request of it are named.
func whole(repo string, pull int) error {
	switch {
	case repo != "" && strings.Count(repo, "/") < 2:
		return usage(fmt.Errorf("--repo %q: write it as github/acme/infra, with the host's name from server.yaml", repo))
	case pull != 0 && repo == "":
		return usage(errors.New("--pull needs --repo: every repository has its own numbers"))
	}
	return nil
}

type auditCmd struct {
	remote
	Repo    string `help:"Of a repository, as in github/acme/infra." placeholder:"HOST/OWNER/NAME"`
	Pull    int    `help:"Of a pull request; needs --repo." placeholder:"N"`
	Run_    string `name:"run" help:"Of a run, or how its id begins." placeholder:"RUN"` //nolint:revive // Run is the method that kong calls
	Actor   string `help:"By a person; admin is the admin token." placeholder:"NAME"`
	Action  string `help:"Of a kind: command, confirm, claim_apply, unconfirm, override, unlock, pause, …" placeholder:"ACTION"`
	Outcome string `help:"done or refused." placeholder:"OUTCOME"`
	Since   string `help:"From a day or a time on, as 2026-11-22 or 2026-11-22T10:00:00Z." placeholder:"TIME"`
	Until   string `help:"Before a day or a time." placeholder:"TIME"`
	Limit   int    `help:"How many; with --json all of them." default:"30"`
	JSON    bool   `name:"json" help:"Print all rows, one JSON object a line."`
}

// Run shows who did what.
func (c *auditCmd) Run(ctx context.Context, t *terminal) error {
	s, err := c.dial()
	if err != nil {
		return err
	}
	if err := whole(c.Repo, c.Pull); err != nil {
		return err
	}
	f := client.Filter{Repo: c.Repo, Pull: c.Pull, Actor: c.Actor, Action: c.Action, Outcome: c.Outcome, Since: c.Since, Until: c.Until}
	if c.Run_ != "" {
		if f.Run, err = s.Find(ctx, c.Run_); err != nil {
			return answered(err)
		}
	}
	if c.JSON {
		return answered(s.Export(ctx, f, t.out))
	}
	f.Limit = c.Limit
	rows, next, err := s.Audit(ctx, f)
	if err != nil {
		return answered(err)
	}
	var cells [][]string
	for _, a := range rows {
		at := a.Host
		if a.Repo != "" {
			at += "/" + a.Repo
		}
		if a.Pull != 0 {
			at += "#" + strconv.Itoa(a.Pull)
		}
		cells = append(cells, []string{a.At.UTC().Format(time.DateTime), a.Actor, a.Action, a.Outcome, at, a.Run, a.Detail})
	}
	if len(cells) == 0 {
		fmt.Fprintln(t.err, "No row fits.")
		return nil
	}
	t.table("TIME (UTC)\tACTOR\tACTION\tOUTCOME\tOF\tRUN\tDETAIL", cells)
	if next != 0 {
		fmt.Fprintln(t.err, "There are more: raise --limit, narrow it with --until, or take all with --json.")
	}
	return nil
}
