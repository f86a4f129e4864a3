package chaos_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/planlatch/planlatch/blob"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/store"
	"github.com/planlatch/planlatch/vcs/fakehost"
)

// invariant is one line of the table.
type invariant struct {
	name   string
	looked int
	broken []string
}

func (i *invariant) wrong(format string, args ...any) {
	i.broken = append(i.broken, fmt.Sprintf(format, args...))
}

// ledger is what the tool wrote down, which knows nothing of planlatch.
type ledger struct {
	overlaps []string
	applies  map[string]int // digest of a plan → how often its apply began
	made     map[string]int // value → how often the world changed
}

func (w *world) ledger() ledger {
	l := ledger{applies: map[string]int{}, made: map[string]int{}}
	text, err := os.ReadFile(w.journal)
	if errors.Is(err, fs.ErrNotExist) {
		return l
	}
	w.check(err)
	for line := range strings.Lines(string(text)) {
		switch f := strings.Fields(line); {
		case len(f) == 3 && f[0] == "overlap":
			l.overlaps = append(l.overlaps, f[1]+" "+f[2])
		case len(f) == 3 && f[0] == "apply":
			l.applies[f[2]]++
		case len(f) == 2 && f[0] == "made":
			l.made[f[1]]++
		default:
			w.t.Errorf("the journal has the line %q", line)
		}
	}
	return l
}

// invariants looks at everything once all servers have stopped.
func (w *world) invariants(ctx context.Context, c *crowd) []*invariant {
	o := store.Options{DSN: w.dsn}
	if w.dsn == "" {
		o.Dir = filepath.Join(w.servers[0].Dir, "data")
	}
	s, err := store.Open(ctx, o)
	w.check(err)
	defer func() { w.check(s.Close()) }()
	runs := w.runs(ctx, s)
	l := w.ledger()
	w.history = w.lives(ctx, s, runs)
	return append([]*invariant{
		c.everybodyGotTheirWay(),
		w.deliveriesHandled(ctx, s),
		c.commandsOnce(ctx, s),
		nothingUnderWay(runs),
		appliesOnce(l, runs),
		&invariant{"never two executions in one project at once", len(runs), l.overlaps},
		c.statesRight(),
		c.locksFree(ctx, s),
		w.nothingLeft(),
		w.blobsThere(ctx, runs),
		w.everythingPosted(ctx, s),
		c.statusesFinal(),
		w.quicklyBack(),
	}, c.summariesTrue(ctx, s))
}

// lives tells what became of each run, by project, for whoever looks for the cause of a violation.
func (w *world) lives(ctx context.Context, s *store.Store, runs []run.Run) string {
	var lines []string
	for _, r := range runs {
		p, err := s.Pull(ctx, r.Pull)
		w.check(err)
		rev, err := s.Revision(ctx, r.Revision)
		w.check(err)
		at := func(t time.Time) string { return t.Format("15:04:05.0") }
		lines = append(lines, fmt.Sprintf("%s %s #%d %s %.7s on %.7s %s (%s) by %s: planned %s, confirmed %s by %q, applying %s, ended %s, attempt %d, reviewed %s, %s",
			r.Label, at(r.Created), p.Number, r.Kind, rev.Head, rev.Base, r.State, r.Reason, r.Cause, at(r.Planned), at(r.Confirmed), r.ConfirmedBy, at(r.ApplyStarted), at(r.Finished),
			r.Attempt, r.Reviewed, r.ID))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (w *world) runs(ctx context.Context, s *store.Store) []run.Run {
	all, err := s.Runs(ctx, run.Filter{Limit: 100_000})
	w.check(err)
	return all
}

func (c *crowd) everybodyGotTheirWay() *invariant {
	return &invariant{"every pull request comes to its end", len(c.changes), c.stuck}
}

func (w *world) deliveriesHandled(ctx context.Context, s *store.Store) *invariant {
	i := &invariant{name: "every acknowledged delivery is handled"}
	for _, id := range w.door.acknowledged() {
		said := w.door.taken[id]
		if strings.HasPrefix(said[0], "ignored") {
			continue
		}
		i.looked++
		stored := 0
		for _, answer := range said {
			if strings.HasPrefix(answer, "stored") {
				stored++
			}
		}
		if stored > 1 {
			i.wrong("delivery %s was taken for new %d times", id, stored)
		}
		switch d, err := s.Delivery(ctx, "github", id); {
		case err != nil:
			i.wrong("delivery %s: %v", id, err)
		case d.Outcome == "":
			i.wrong("delivery %s was acknowledged and nothing came of it", id)
		}
	}
	return i
}

// commandsOnce compares what people said with what was written down.
func (c *crowd) commandsOnce(ctx context.Context, s *store.Store) *invariant {
	i := &invariant{name: "every command is carried out or refused once"}
	for _, ch := range c.changes {
		p, err := c.pull(ctx, s, ch)
		if err != nil {
			i.wrong("%v", err)
			continue
		}
		rows, err := s.AuditRows(ctx, run.AuditFilter{Pull: p.ID, Action: "command", Limit: 10_000})
		c.w.check(err)
		i.looked += ch.commands
		if len(rows) != ch.commands {
			var said []string
			for _, r := range rows {
				said = append(said, r.At.Format("15:04:05.000")+" "+r.Outcome+" "+r.Detail)
			}
			i.wrong("%s#%d: %d commands, %d rows of audit:\n%s\nof\n%s", ch.repo.name, ch.number, ch.commands, len(rows), strings.Join(said, "\n"), strings.Join(ch.story, "\n"))
		}
	}
	return i
}

func (c *crowd) pull(ctx context.Context, s *store.Store, ch *change) (run.Pull, error) {
	r, err := s.RepoByName(ctx, "github", ch.repo.name)
	if err != nil {
		return run.Pull{}, err
	}
	return s.PullByNumber(ctx, r.ID, ch.number)
}

func nothingUnderWay(runs []run.Run) *invariant {
	i := &invariant{name: "every run is final or waits for a person", looked: len(runs)}
	for _, r := range runs {
		if !r.State.Final() && r.State != run.Planned && r.State != run.Interrupted {
			i.wrong("run %s of %s is %s", r.ID, r.Label, r.State)
		}
	}
	return i
}

// appliesOnce compares the plans that were applied with the runs that were reviewed.
func appliesOnce(l ledger, runs []run.Run) *invariant {
	i := &invariant{name: "a plan is applied at most once, and only a reviewed one"}
	known := map[string]run.Run{}
	for _, r := range runs {
		if other, twice := known[r.PlanDigest]; twice {
			i.wrong("runs %s and %s have one plan: %+v\n%+v", r.ID, other.ID, r, other)
		}
		if r.PlanDigest != "" {
			known[r.PlanDigest] = r
		}
		if n := l.applies[r.PlanDigest]; r.State == run.Applied && n != 1 {
			i.wrong("run %s is applied, and its plan was %d times", r.ID, n)
		}
	}
	for digest, n := range l.applies {
		i.looked++
		r, ok := known[digest]
		switch {
		case n > 1:
			i.wrong("plan %.12s of run %s was applied %d times", digest, r.ID, n)
		case !ok:
			i.wrong("plan %.12s was applied and belongs to no run", digest)
		case r.ApplyStarted.IsZero() || r.Confirmed.IsZero():
			i.wrong("plan %.12s of run %s was applied, and the run says it was not: %+v", digest, r.ID, r)
		}
	}
	return i
}

// statesRight looks whether each merged change is in the states of its projects, and nothing of what was closed.
func (c *crowd) statesRight() *invariant {
	i := &invariant{name: "the states have what was applied"}
	inputs := map[string]map[string]string{}
	for _, ch := range c.changes {
		for _, p := range ch.projects {
			if inputs[p] == nil {
				inputs[p] = c.w.inputs(p)
			}
			i.looked++
			if got := inputs[p][ch.branch]; ch.done && got != ch.value {
				i.wrong("%s in %s is %q, want %q (%s#%d)", ch.branch, p, got, ch.value, ch.repo.name, ch.number)
			} else if ch.closed && got != "" {
				i.wrong("%s in %s is %q, and %s#%d was closed", ch.branch, p, got, ch.repo.name, ch.number)
			}
		}
	}
	return i
}

// inputs reads a project's state: resource → its input.
func (w *world) inputs(project string) map[string]string {
	text, err := os.ReadFile(w.state(project))
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]string{}
	}
	w.check(err)
	var state struct {
		Resources []struct {
			Name      string
			Instances []struct {
				Status     string
				Attributes struct{ Input struct{ Value string } }
			}
		}
	}
	w.check(json.Unmarshal(text, &state))
	all := map[string]string{}
	for _, r := range state.Resources {
		for _, instance := range r.Instances {
			all[r.Name] = instance.Attributes.Input.Value + instance.Status
		}
	}
	return all
}

func (c *crowd) locksFree(ctx context.Context, s *store.Store) *invariant {
	i := &invariant{name: "no lock is left"}
	locks, err := s.Locks(ctx)
	c.w.check(err)
	i.looked = len(c.changes)
	for _, l := range locks {
		i.wrong("project %s: run %q has its slot, pull %d holds it", l.Project.Label, l.Run, l.Pull)
	}
	backend, _ := filepath.Glob(filepath.Join(c.w.dir, "states", ".*.lock.info"))
	for _, file := range backend {
		i.wrong("the backend's lock %s is left", filepath.Base(file))
	}
	return i
}

func (w *world) nothingLeft() *invariant {
	i := &invariant{name: "no process and no directory is left"}
	for _, s := range w.servers {
		for _, pid := range s.workers() {
			line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			i.wrong("%s: process %d: %s", s.name, pid, strings.ReplaceAll(string(line), "\x00", " "))
		}
		for _, dir := range []string{"executions/runs", "executions/trash"} {
			entries, err := os.ReadDir(filepath.Join(s.Dir, "data", dir))
			w.check(err)
			i.looked++
			for _, e := range entries {
				i.wrong("%s: %s/%s", s.name, dir, e.Name())
			}
		}
		inputs, err := os.ReadDir(filepath.Join(s.Dir, "data", "work", "inputs"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.t.Fatal(err)
		}
		for _, e := range inputs {
			i.wrong("%s: work/inputs/%s", s.name, e.Name())
		}
	}
	return i
}

// blobsThere looks that every stored plan is there, and that what else is there belongs to a run that ended: of those the hourly sweep takes
// what a kill left between a blob and its row.
func (w *world) blobsThere(ctx context.Context, runs []run.Run) *invariant {
	i := &invariant{name: "no stored plan is missing, none belongs to nobody"}
	b, err := blob.Open(ctx, blob.Options{URL: w.blobs, Key: key})
	w.check(err)
	defer func() { w.check(b.Close()) }()
	there := map[string]bool{}
	w.check(b.List(ctx, "", func(o blob.Object) error {
		there[o.Key] = true
		return nil
	}))
	i.looked = len(there)
	known := map[string]bool{}
	for _, r := range runs {
		known[string(r.ID)] = true
		for name, k := range r.Blobs {
			if !there[k] {
				i.wrong("run %s has no %s any more", r.ID, name)
			}
		}
	}
	for k := range there {
		if parts := strings.Split(k, "/"); len(parts) < 2 || !known[parts[1]] {
			i.wrong("%s belongs to no run", k)
		}
	}
	return i
}

func (w *world) everythingPosted(ctx context.Context, s *store.Store) *invariant {
	i := &invariant{name: "everything that people wait for was posted"}
	all, err := s.Postings(ctx, run.PostingFilter{Limit: 100_000})
	w.check(err)
	i.looked = len(all)
	for _, p := range all {
		if p.Posted != p.Wanted || p.Dead {
			i.wrong("%s of %s: posted %d of %d, dead %t: %s", p.Kind, p.Key, p.Posted, p.Wanted, p.Dead, p.Error)
		}
	}
	return i
}

// quicklyBack looks that a server that was killed answers again soon. Machines that are lost with their disks are up again as quickly; the
// plans that they had begun wait for node_timeout.
func (w *world) quicklyBack() *invariant {
	bound := max(30*time.Second, 10*w.started) // on a machine that takes so long for the first time
	i := &invariant{name: fmt.Sprintf("a server that was killed is back within %s", bound.Round(time.Second))}
	for _, s := range w.servers {
		back := s.Back()
		i.looked += len(back)
		for _, took := range back {
			if took > bound {
				i.wrong("%s took %s", s.name, took)
			}
		}
	}
	return i
}

// statusesFinal looks that nothing is pending on what is merged or closed.
func (c *crowd) statusesFinal() *invariant {
	i := &invariant{name: "no status is left pending"}
	for _, ch := range c.changes {
		shas := []string{ch.head}
		if ch.merge != "" {
			shas = append(shas, ch.merge)
		}
		for _, sha := range shas {
			all, err := c.w.host.Statuses(ch.repo.name, sha)
			c.w.check(err)
			for _, s := range all {
				i.looked++
				// What was closed without apply keeps on its commit that it was not applied.
				if s.State == "pending" && (!ch.closed || !strings.HasPrefix(s.Context, "planlatch/apply")) {
					i.wrong("%s#%d at %.7s: %s is pending: %s\n%s\n%s", ch.repo.name, ch.number, sha, s.Context, s.Description, strings.Join(ch.story, "\n"), c.page(ch))
				}
			}
		}
	}
	return i
}

// summariesTrue looks that each pull request has one summary, that it is the last we rendered, and that it says what happened; and that no
// result was said twice.
func (c *crowd) summariesTrue(ctx context.Context, s *store.Store) *invariant {
	i := &invariant{name: "every pull request says the final truth, once"}
	for _, ch := range c.changes {
		i.looked++
		at := fmt.Sprintf("%s#%d", ch.repo.name, ch.number)
		entries, err := c.w.host.Timeline(ch.repo.name, ch.number)
		c.w.check(err)
		p, err := c.pull(ctx, s, ch)
		c.w.check(err)
		var summaries []fakehost.Entry
		said := map[string]int{}
		for _, e := range entries {
			if e.Kind != fakehost.EntryComment || e.Deleted || e.Actor != c.w.bot.Login {
				continue
			}
			if strings.Contains(e.Body, "<!-- planlatch:summary -->") {
				summaries = append(summaries, e)
			} else if strings.Contains(e.Body, "<!-- planlatch:apply:") {
				said[e.Body]++
			}
		}
		if len(summaries) != 1 {
			i.wrong("%s has %d summaries", at, len(summaries))
			continue
		}
		body := summaries[0].Body
		sum := sha256.Sum256([]byte(body))
		posted, err := s.Postings(ctx, run.PostingFilter{Kind: run.PostSummary, Repo: p.Repo, Key: fmt.Sprint(p.ID)})
		c.w.check(err)
		if len(posted) != 1 || !strings.HasPrefix(hex.EncodeToString(sum[:]), posted[0].Digest) && posted[0].Digest != "" {
			i.wrong("%s does not show what was posted last (%d postings)", at, len(posted))
		}
		if ch.done && !strings.Contains(body, "pplied") && !strings.Contains(body, "nothing to do") || slices.ContainsFunc([]string{"planning", "applying", "queued"}, func(word string) bool { return strings.Contains(body, word) }) {
			i.wrong("%s says:\n%s", at, body)
		}
		for text, n := range said {
			if n > 1 {
				i.wrong("%s was told %d times:\n%s", at, n, text)
			}
		}
	}
	return i
}

// table prints the invariants for the reader.
func table(all []*invariant) (text string, violations int) {
	var b strings.Builder
	fmt.Fprintf(&b, "%-60s %8s %10s\n", "invariant", "looked at", "violations")
	for _, i := range all {
		fmt.Fprintf(&b, "%-60s %8d %10d\n", i.name, i.looked, len(i.broken))
		violations += len(i.broken)
	}
	return b.String(), violations
}
