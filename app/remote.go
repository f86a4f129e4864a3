package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/planlatch/planlatch/client"
	"github.com/planlatch/planlatch/report"
)

// remote is a server that a command speaks to.
type remote struct {
	Server string `required:"" help:"Address of the server." placeholder:"URL"`
	Token  string `required:"" help:"Admin token, or file:PATH; better in PLANLATCH_TOKEN than on the command line." placeholder:"TOKEN"`
}

// printed is how a command answers.
type printed struct {
	JSON bool `name:"json" help:"Print the server's JSON instead of a table."`
}

func (r remote) dial() (*client.Client, error) {
	token := r.Token
	if file, ok := strings.CutPrefix(token, "file:"); ok {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, usage(fmt.Errorf("--token: %w", err))
		}
		token = string(text)
	}
	if token = strings.TrimSpace(token); token == "" {
		return nil, usage(errors.New("--token is empty"))
	}
	c, err := client.New(r.Server, token)
	if err != nil {
		return nil, usage(fmt.Errorf("--server: %w", err))
	}
	return c, nil
}

// answered gives a server's no its exit code: a wrong request or token is usage, another no is the work's, and silence is broken.
func answered(err error) error {
	var p *client.Problem
	switch {
	case err == nil:
		return nil
	case errors.As(err, &p) && p.Status == http.StatusUnauthorized:
		return usage(fmt.Errorf("%w Is it the admin_token of this server?", err))
	case errors.As(err, &p) && p.Status == http.StatusBadRequest, errors.Is(err, client.ErrAmbiguous):
		return usage(err)
	case errors.As(err, &p) && p.Status < http.StatusInternalServerError:
		return &coded{exitNo, err}
	}
	return err
}

// print writes the server's JSON, or else what text writes.
func (p printed) print(t *terminal, raw []byte, text func()) error {
	if p.JSON {
		_, err := t.out.Write(raw)
		return err
	}
	text()
	return nil
}

// table prints lines whose cells are apart by tabs, as columns. Cells are escaped: they show what pull requests brought.
func (t *terminal) table(head string, rows [][]string) {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, head)
	for _, cells := range rows {
		for i := range cells {
			cells[i] = visible(cells[i])
		}
		fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	_ = w.Flush() // a terminal that is gone is told nothing more
}

// visible shows text of others on a terminal: no control or invisible character of it has an effect.
func visible(s string) string {
	if !slices.ContainsFunc([]rune(s), func(r rune) bool { return !strconv.IsPrint(r) }) {
		return s
	}
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// visibleLines is visible for text of several lines.
func visibleLines(s string) string {
	lines := strings.SplitAfter(s, "\n")
	for i, l := range lines {
		text := strings.TrimSuffix(l, "\n")
		cells := strings.Split(text, "\t")
		for j := range cells {
			cells[j] = visible(cells[j])
		}
		lines[i] = strings.Join(cells, "\t") + l[len(text):]
	}
	return strings.Join(lines, "")
}

func age(at *time.Time) string {
	if at == nil || at.IsZero() {
		return ""
	}
	return report.Took(max(0, time.Since(*at)))
}

// of writes where something is: acme/infra#12.
func of(repo string, pull *client.Pull) string {
	if pull == nil {
		return repo
	}
	return fmt.Sprintf("%s#%d", repo, pull.Number)
}

// pullOf reads host/owner/repo#12.
func pullOf(text string) (repo string, pull int, err error) {
	repo, number, ok := strings.Cut(text, "#")
	if pull, err = strconv.Atoi(number); !ok || err != nil || pull < 1 || strings.Count(repo, "/") < 2 {
		return "", 0, usage(fmt.Errorf("%q is neither a run nor a pull request; write a pull request as github/acme/infra#12, with the host's name from server.yaml", text))
	}
	return repo, pull, nil
}

type pauseCmd struct {
	remote
	printed
	Match  string `help:"Selector of the projects, as in //prod/** or github/acme/infra; without it, all." placeholder:"SELECTOR"`
	Reason string `help:"Why; everybody who waits reads it." placeholder:"TEXT"`
	List   bool   `help:"Only list what is paused."`
}

// Run freezes applies.
func (c *pauseCmd) Run(ctx context.Context, t *terminal) error {
	s, err := c.dial()
	if err != nil {
		return err
	}
	if c.List {
		all, raw, err := s.Pauses(ctx)
		if err != nil {
			return answered(err)
		}
		return c.print(t, raw, func() { t.pauses(all) })
	}
	if strings.TrimSpace(c.Reason) == "" {
		return usage(errors.New(`--reason is missing: say why, as in planlatch pause --reason "release week"; --list shows what is paused`))
	}
	p, raw, err := s.Pause(ctx, c.Match, c.Reason)
	if err != nil {
		return answered(err)
	}
	return c.print(t, raw, func() {
		fmt.Fprintf(t.out, "Paused %s: no apply starts any more, those that run go on, plans are made as ever.\n", visible(p.Match))
		fmt.Fprintf(t.out, "End it with: planlatch resume --match '%s'\n", visible(p.Match))
	})
}

func (t *terminal) pauses(all []client.Pause) {
	if len(all) == 0 {
		fmt.Fprintln(t.err, "Nothing is paused.")
		return
	}
	var rows [][]string
	for _, p := range all {
		rows = append(rows, []string{p.Match, p.Actor, age(&p.At), strconv.Itoa(p.Waiting), p.Reason})
	}
	t.table("MATCH\tBY\tSINCE\tWAITING\tREASON", rows)
}

type resumeCmd struct {
	remote
	Match string `help:"Selector, exactly as it was paused; without it, the pause of everything." placeholder:"SELECTOR"`
}

// Run ends a freeze.
func (c *resumeCmd) Run(ctx context.Context, t *terminal) error {
	s, err := c.dial()
	if err != nil {
		return err
	}
	if err := s.Resume(ctx, c.Match); err != nil {
		return answered(err)
	}
	fmt.Fprintln(t.out, "Resumed. What waited goes on by itself.")
	return nil
}

type locksCmd struct {
	remote
	printed
}

// Run lists who keeps whom from what.
func (c *locksCmd) Run(ctx context.Context, t *terminal) error {
	s, err := c.dial()
	if err != nil {
		return err
	}
	holds, slots, raw, err := s.Locks(ctx)
	if err != nil {
		return answered(err)
	}
	return c.print(t, raw, func() {
		var rows [][]string
		for _, l := range holds {
			rows = append(rows, []string{l.Project, l.Host + "/" + of(l.Repo, l.Pull), "", age(l.Since), "held until merged, closed or unlocked"})
		}
		for _, l := range slots {
			rows = append(rows, []string{l.Project, l.Host + "/" + of(l.Repo, l.Pull), l.Run, age(l.Since), l.Why})
		}
		if len(rows) == 0 {
			fmt.Fprintln(t.err, "Nothing is held, and nothing runs.")
			return
		}
		t.table("PROJECT\tBY\tRUN\tSINCE\tWHY", rows)
	})
}

type unlockCmd struct {
	remote
	printed
	Target  string `arg:"" help:"A pull request (github/acme/infra#12) whose locks are to go, or a run that was interrupted or could not save its state."`
	Project string `short:"p" help:"Only this project; for a run, its project's name to confirm." placeholder:"PROJECT"`
}

// Run frees what a pull request holds, or settles a run that waits for a person.
func (c *unlockCmd) Run(ctx context.Context, t *terminal) error {
	s, err := c.dial()
	if err != nil {
		return err
	}
	if !strings.Contains(c.Target, "#") {
		return c.acknowledge(ctx, t, s)
	}
	repo, pull, err := pullOf(c.Target)
	if err != nil {
		return err
	}
	freed, kept, raw, err := s.Unlock(ctx, repo, pull, c.Project)
	if err != nil {
		return answered(err)
	}
	return c.print(t, raw, func() {
		fmt.Fprintf(t.out, "Freed: %s\n", visible(strings.Join(freed, ", ")))
		if len(kept) > 0 {
			fmt.Fprintf(t.out, "Kept, because a run uses it or left it in doubt: %s\n", visible(strings.Join(kept, ", ")))
		}
	})
}

func (c *unlockCmd) acknowledge(ctx context.Context, t *terminal, s *client.Client) error {
	id, err := s.Find(ctx, c.Target)
	if err != nil {
		return answered(err)
	}
	if c.Project == "" {
		d, _, err := s.Run(ctx, id)
		if err != nil {
			return answered(err)
		}
		return usage(fmt.Errorf("run %s of %s is %s; once you have looked at what it left behind, confirm with: planlatch unlock %s -p %s",
			id, visible(d.Project), visible(d.State), id, visible(d.Project)))
	}
	r, raw, err := s.Acknowledge(ctx, id, c.Project)
	if err != nil {
		return answered(err)
	}
	return c.print(t, raw, func() { fmt.Fprintf(t.out, "Settled: %s of %s is free. Plan it again.\n", r.ID, visible(r.Project)) })
}

// find dials the server and completes the id of a run.
func (r remote) find(ctx context.Context, prefix string) (*client.Client, string, error) {
	s, err := r.dial()
	if err != nil {
		return nil, "", err
	}
	id, err := s.Find(ctx, prefix)
	if err != nil {
		return nil, "", answered(err)
	}
	return s, id, nil
}

type applyCmd struct {
	remote
	printed
	ID string `arg:"" name:"run" help:"The run, or how its id begins."`
}

// Run confirms the plan of a push.
func (c *applyCmd) Run(ctx context.Context, t *terminal) error {
	s, id, err := c.find(ctx, c.ID)
	if err != nil {
		return err
	}
	r, raw, err := s.Apply(ctx, id)
	if err != nil {
		return answered(err)
	}
	return c.print(t, raw, func() {
		fmt.Fprintf(t.out, "Confirmed: %s of %s applies as soon as it is its turn.\n", r.ID, visible(r.Project))
	})
}

type cancelCmd struct {
	remote
	printed
	ID string `arg:"" name:"run" help:"The run, or how its id begins."`
}

// Run stops a run.
func (c *cancelCmd) Run(ctx context.Context, t *terminal) error {
	s, id, err := c.find(ctx, c.ID)
	if err != nil {
		return err
	}
	r, raw, err := s.Cancel(ctx, id)
	if err != nil {
		return answered(err)
	}
	return c.print(t, raw, func() {
		if r.State == "canceled" {
			fmt.Fprintf(t.out, "Canceled: %s of %s.\n", r.ID, visible(r.Project))
			return
		}
		fmt.Fprintf(t.out, "Stopping: %s of %s is %s; its tool is interrupted and ends in its own time.\n", r.ID, visible(r.Project), visible(r.State))
	})
}
