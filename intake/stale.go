package intake

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/views"
)

// Stale plans an open pull request again if its head or base has changed what one of its plans is made from. Key is a pull id.
func (i *Intake) Stale(ctx context.Context, key string) error {
	id, err := strconv.ParseInt(key, 10, 64)
	if err != nil {
		return nil //nolint:nilerr // not a job of ours
	}
	_, err = i.again(ctx, run.PullID(id), math.MaxInt)
	return err
}

// again plans an open pull request again if it must be and has at most room projects. It returns how many it has queued.
func (i *Intake) again(ctx context.Context, id run.PullID, room int) (int, error) {
	pull, err := i.Store.Pull(ctx, id)
	if errors.Is(err, run.ErrNotFound) {
		return 0, nil
	}
	if err != nil || pull.State != string(vcs.PullOpen) {
		return 0, err
	}
	repo, err := i.Store.Repo(ctx, pull.Repo)
	if err != nil {
		return 0, err
	}
	host, ok := i.Hosts[repo.Host]
	if !ok || !i.Config.Allows(repo.Host, repo.Name) {
		return 0, nil
	}
	defer i.one(pull.Repo, pull.Number)()
	if busy, err := i.whenSettled(ctx, pull.ID); err != nil || busy {
		return 0, err
	}
	p, err := i.see(ctx, place{host: host, name: repo.Host, repo: repo, rules: i.Config.Rules(repo.Host, repo.Name)}, pull.Number)
	if err != nil || p.snap.State != vcs.PullOpen || !p.rules.Branch(p.snap.Base.Branch, repo.DefaultBranch) {
		return 0, err
	}
	return i.moved(ctx, p, room)
}

// whenSettled puts the look at a pull request off while one of its plans is being made: that is not stopped for a base that moved.
func (i *Intake) whenSettled(ctx context.Context, pull run.PullID) (bool, error) {
	planning, err := i.Store.Runs(ctx, run.Filter{Pull: pull, States: []run.State{run.Planning}})
	if err != nil || len(planning) == 0 {
		return false, err
	}
	busy := false
	_, err = i.Store.Advance(ctx, run.Scope{Pull: pull}, func(s run.Snapshot) (run.Change, error) {
		c := run.Recheck(s)
		busy = len(c.Runs) > 0
		return c, nil
	})
	return busy, err
}

// moved plans a pull request that was just read again, if its head or base asks for it.
func (i *Intake) moved(ctx context.Context, p place, room int) (int, error) {
	rev, runs, err := i.Views.Current(ctx, p.pull)
	if errors.Is(err, views.ErrNothing) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if err := i.refresh(ctx, p.pull); err != nil {
		return 0, err
	}
	if rev.Head != p.snap.Head.SHA || rev.Branch != p.snap.Base.Branch { // its own event is late, or lost
		_, err := i.open(ctx, p, "head:"+p.snap.Head.SHA+":"+p.snap.Base.Branch)
		return 0, err
	}
	// What stands for an older head, because it needs a person, is no word for this one.
	if !slices.ContainsFunc(runs, func(r run.Run) bool { return r.Revision == rev.ID }) {
		return 0, i.unplanned(ctx, p, rev)
	}
	stale, tip, err := i.Facts.Stale(ctx, p.repo, p.snap, runs)
	if err != nil || len(stale) == 0 || len(runs) > room {
		return 0, err
	}
	if ok, err := i.mayGoOn(ctx, p); err != nil || !ok {
		return 0, err
	}
	_, err = i.revise(ctx, p, request{
		cause: "base:" + tip, idle: true,
		why: fmt.Sprintf("%s moved to %s and changed what %s is made from", p.snap.Base.Branch, short(tip), stale[0].Label),
	})
	return len(runs), err
}

// Base looks, after a branch has moved, at the open pull requests into it, the most recently active first, and plans those again whose plans
// it made stale, up to mostStale projects; the others when somebody asks. Key is repository id/branch. A tip is looked at once.
func (i *Intake) Base(ctx context.Context, key string) error {
	number, branch, _ := strings.Cut(key, "/")
	id, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return nil //nolint:nilerr // not a job of ours
	}
	repo, err := i.Store.Repo(ctx, run.RepoID(id))
	if errors.Is(err, run.ErrNotFound) {
		return nil
	}
	host, ok := i.Hosts[repo.Host]
	if err != nil || !ok || !i.Config.Allows(repo.Host, repo.Name) {
		return err
	}
	tip, err := host.Branch(ctx, vcsRepo(repo), branch)
	if errors.Is(err, vcs.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("ask where %s points to: %w", branch, err)
	}
	mark := "base:" + key
	if last, err := i.Store.Marked(ctx, mark); err != nil || last == tip {
		return err
	}
	pulls, err := i.Store.OpenPulls(ctx, repo.ID)
	if err != nil {
		return err
	}
	pulls = slices.DeleteFunc(pulls, func(p run.Pull) bool { return p.BaseBranch != branch })
	slices.SortStableFunc(pulls, func(a, b run.Pull) int { return b.Updated.Compare(a.Updated) })
	room := mostStale
	for _, pull := range pulls[:min(len(pulls), mostLooked)] {
		n, err := i.again(ctx, pull.ID, room)
		if err != nil { // it has its own tries, so that the others are not planned anew with each of them
			i.Log.Warn("look at a pull request whose base moved", "repo", repo.Name, "pull", pull.Number, "error", err)
			if err := i.Store.Enqueue(ctx, staleJob(pull.ID)); err != nil {
				return err
			}
		}
		if room -= n; room <= 0 {
			break
		}
	}
	return i.Store.Mark(ctx, mark, tip)
}

const (
	// mostStale is how many projects a push to the base plans again; the others are when somebody asks.
	mostStale = 20
	// mostLooked is how many pull requests it looks at.
	mostLooked = 100
)

func staleJob(pull run.PullID) run.Job {
	return run.Job{Kind: JobStale, Key: strconv.FormatInt(int64(pull), 10)}
}

func baseJob(repo run.RepoID, branch string) run.Job {
	return run.Job{Kind: JobBase, Key: fmt.Sprintf("%d/%s", repo, branch)}
}

// unplanned looks again at a revision that could not be planned: a base that moved may have ended the conflict, or mended its own rules. One
// that touches no project, or waits for a maintainer, is left to the next push to the pull request.
func (i *Intake) unplanned(ctx context.Context, p place, rev run.Revision) error {
	if len(rev.Problems) == 0 {
		return nil
	}
	tip, err := p.host.Branch(ctx, vcsRepo(p.repo), p.snap.Base.Branch)
	if err != nil || tip == rev.Base {
		return err
	}
	ok, err := i.trusted(ctx, p)
	if err != nil {
		return err
	}
	_, err = i.revise(ctx, p, request{cause: "base:" + tip, why: fmt.Sprintf("%s moved to %s", p.snap.Base.Branch, short(tip)), waits: !ok, idle: true})
	return err
}

// Reconcile looks at what webhooks may have lost on one host: pull requests that changed, that were merged or closed while nobody listened,
// and comments without an answer. Key is the host's name.
func (i *Intake) Reconcile(ctx context.Context, key string) error {
	host, ok := i.Hosts[key]
	if !ok {
		return nil
	}
	began := i.Now()
	repos, err := host.List(ctx)
	if err != nil {
		return fmt.Errorf("list repositories of %s: %w", key, err)
	}
	var faults []error
	for _, r := range repos {
		if !i.Config.Allows(key, r.Name) {
			continue
		}
		if err := i.reconcile(ctx, key, r, began); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", r.Name, err))
		}
	}
	return errors.Join(faults...)
}

// firstLook is how far back a repository that was never reconciled is looked at, and overlap how much two looks share, since clocks differ.
const (
	firstLook = 7 * 24 * time.Hour
	overlap   = 5 * time.Minute
)

func (i *Intake) reconcile(ctx context.Context, name string, r vcs.Repo, began time.Time) error {
	repo, err := i.repo(ctx, name, r)
	if err != nil {
		return err
	}
	mark := fmt.Sprintf("reconciled:%d", repo.ID)
	since := began.Add(-firstLook)
	first := true
	if text, err := i.Store.Marked(ctx, mark); err != nil {
		return err
	} else if last, err := time.Parse(time.RFC3339, text); err == nil {
		since, first = last.Add(-overlap), false
	}
	commented, err := i.commandsSince(ctx, repo, began, since)
	if err != nil {
		return err
	}
	host := i.Hosts[name]
	changed, err := host.UpdatedSince(ctx, vcsRepo(repo), since)
	if err != nil {
		return fmt.Errorf("list pull requests: %w", err)
	}
	numbers := map[int]bool{}
	for _, p := range changed {
		if first && p.State != vcs.PullOpen { // what ended before we were set up is not ours
			continue
		}
		numbers[p.Number] = true
	}
	open, err := i.Store.OpenPulls(ctx, repo.ID)
	if err != nil {
		return err
	}
	for _, p := range open {
		numbers[p.Number] = true
		if err := i.Store.Enqueue(ctx, baseJob(repo.ID, p.BaseBranch)); err != nil { // a push whose webhook was lost
			return err
		}
	}
	var faults []error
	for number := range numbers {
		if err := i.lookAgain(ctx, name, repo, number, commented); err != nil {
			faults = append(faults, fmt.Errorf("#%d: %w", number, err))
		}
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	return i.Store.Mark(ctx, mark, began.UTC().Format(time.RFC3339))
}

// commandsSince is from when on comments count: never from before we first looked at the repository, because they were said to somebody else.
func (i *Intake) commandsSince(ctx context.Context, repo run.Repo, began, since time.Time) (time.Time, error) {
	mark := fmt.Sprintf("first_look:%d", repo.ID)
	text, err := i.Store.Marked(ctx, mark)
	if err != nil {
		return time.Time{}, err
	}
	first, err := time.Parse(time.RFC3339, text)
	if err != nil {
		first = began
		if err := i.Store.Mark(ctx, mark, began.UTC().Format(time.RFC3339)); err != nil {
			return time.Time{}, err
		}
		i.Log.Info("first look at a repository; comments from before are no commands", "host", repo.Host, "repo", repo.Name)
	}
	if since.Before(first) {
		return first, nil
	}
	return since, nil
}

// lookAgain handles a pull request as if it had been delivered, and keeps the comments that came since.
func (i *Intake) lookAgain(ctx context.Context, name string, repo run.Repo, number int, since time.Time) error {
	host := i.Hosts[name]
	p := place{host: host, name: name, repo: repo, rules: i.Config.Rules(name, repo.Name)}
	if _, err := i.pull(ctx, p, number, fmt.Sprintf("reconcile:%d", i.Now().Unix())); err != nil {
		return err
	}
	comments, err := host.CommentsSince(ctx, vcsRepo(repo), number, since)
	if err != nil {
		return err
	}
	for _, c := range comments {
		e := vcs.Event{Kind: vcs.EventComment, Repo: vcsRepo(repo), Number: number, Sender: c.Author, Comment: &c, At: c.Created}
		if _, err := i.Store.Delivery(ctx, name, commentKey(e)); err == nil {
			continue // every look finds what the last one found; only what is new is worth a write
		} else if !errors.Is(err, run.ErrNotFound) {
			return err
		}
		if err := i.keepComment(ctx, name, e); err != nil {
			return err
		}
	}
	return nil
}
