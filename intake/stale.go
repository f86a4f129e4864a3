package intake

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/views"
)

// Stale plans an open pull request again if its base branch has changed what one of its plans was made from. Key is a pull id.
func (i *Intake) Stale(ctx context.Context, key string) error {
	id, err := strconv.ParseInt(key, 10, 64)
	if err != nil {
		return nil // not a job of ours
	}
	pull, err := i.Store.Pull(ctx, run.PullID(id))
	if errors.Is(err, run.ErrNotFound) {
		return nil
	}
	if err != nil || pull.State != string(vcs.PullOpen) {
		return err
	}
	repo, err := i.Store.Repo(ctx, pull.Repo)
	if err != nil {
		return err
	}
	host, ok := i.Hosts[repo.Host]
	if !ok || !i.Config.Allows(repo.Host, repo.Name) {
		return nil
	}
	defer i.one(pull.Repo, pull.Number)()
	p, err := i.see(ctx, place{host: host, name: repo.Host, repo: repo, rules: i.Config.Rules(repo.Host, repo.Name)}, pull.Number)
	if err != nil || p.snap.State != vcs.PullOpen || !p.rules.Branch(p.snap.Base.Branch, repo.DefaultBranch) {
		return err
	}
	return i.moved(ctx, p)
}

// moved plans a pull request that was just read again, if its base asks for it.
func (i *Intake) moved(ctx context.Context, p place) error {
	rev, runs, err := i.Views.Current(ctx, p.pull)
	if errors.Is(err, views.ErrNothing) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := i.refresh(ctx, p.pull); err != nil {
		return err
	}
	if rev.Head != p.snap.Head.SHA {
		return nil // whether a new head may run at all is asked when its own event, or a reconcile, is handled
	}
	if len(runs) == 0 {
		return i.unplanned(ctx, p, rev)
	}
	moments, err := i.Facts.Moments(ctx, i.Now(), p.pull, &p.snap, runs)
	if err != nil {
		return err
	}
	for _, m := range moments {
		if m.Fresh == vcs.No && !m.Run.State.Running() && m.Run.State != run.Applied && m.Run.State != run.Interrupted {
			tip, err := p.host.Branch(ctx, vcsRepo(p.repo), p.snap.Base.Branch)
			if err != nil {
				return err
			}
			_, err = i.revise(ctx, p, request{
				cause: "base:" + tip, why: fmt.Sprintf("%s moved to %s and changed what %s is made from", p.snap.Base.Branch, short(tip), m.Run.Label),
			})
			return err
		}
	}
	return nil
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
	_, err = i.revise(ctx, p, request{cause: "base:" + tip, why: fmt.Sprintf("%s moved to %s", p.snap.Base.Branch, short(tip)), waits: !ok})
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
	if err := i.Store.Enqueue(ctx, i.staleJob(ctx, repo, number)); err != nil {
		return err
	}
	comments, err := host.CommentsSince(ctx, vcsRepo(repo), number, since)
	if err != nil {
		return err
	}
	for _, c := range comments {
		e := vcs.Event{Kind: vcs.EventComment, Repo: vcsRepo(repo), Number: number, Sender: c.Author, Comment: &c, At: c.Created}
		if err := i.keepComment(ctx, name, e); err != nil {
			return err
		}
	}
	return nil
}

func (i *Intake) staleJob(ctx context.Context, repo run.Repo, number int) run.Job {
	pull, err := i.Store.PullByNumber(ctx, repo.ID, number)
	if err != nil {
		return run.Job{Kind: JobStale, Key: "0"}
	}
	return run.Job{Kind: JobStale, Key: strconv.FormatInt(int64(pull.ID), 10)}
}
