// Package intake turns deliveries into work: it reads the pull request from its host, finds the projects it touches, and writes revisions
// and runs; it carries out comment commands; and it looks again at what webhooks may have lost.
//
// It promises that handling a delivery twice does what handling it once does, that nothing of a pull request is executed here, and that
// a command is carried out for the person who gave it or refused with the reason. An Intake is safe for concurrent use.
package intake

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/facts"
	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/project"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/views"
)

// The kinds of jobs that an Intake handles.
const (
	JobDelivery  = "intake" // key: host/delivery id
	JobStale     = run.JobStale
	JobBase      = "base"      // key: repository id/branch: the branch moved
	JobReconcile = "reconcile" // key: host name
	JobPushed    = "pushed"    // key: repository id/branch/before/after/who pushed
)

// Intake does the work.
type Intake struct {
	Store  run.Store
	Hosts  map[string]vcs.Host
	Config *config.Config
	Git    *git.Mirrors
	Facts  *facts.Gatherer
	Views  *views.Viewer
	Log    *slog.Logger
	Now    func() time.Time

	// Select finds the projects of a change, for tests that break a rule; nil: project.Select.
	Select func(ctx context.Context, in project.Input) project.Selection

	busy [64]sync.Mutex // one pull request at a time; several share a lock, which costs a wait and nothing else
}

// one waits until nobody else here handles a pull request and returns how to let go of it. Two replicas that handle one at the same time
// do double work and no harm.
func (i *Intake) one(repo run.RepoID, number int) (done func()) {
	m := &i.busy[(int(repo)*31+number)%len(i.busy)]
	m.Lock()
	return m.Unlock
}

// vcsRepo is a stored repository as its host's adapter knows it.
func vcsRepo(r run.Repo) vcs.Repo { return facts.VCS(r) }

// place is one pull request as it is being handled.
type place struct {
	host  vcs.Host
	name  string // of the host
	repo  run.Repo
	rules config.Rules
	pull  run.Pull
	was   run.Pull // as stored before; zero if it is new
	snap  vcs.Pull
}

// advance writes a decision about a pull request, unless another replica has written meanwhile that it was merged, closed, reopened or pushed
// to: then what was seen is out of date, and the job looks again.
func (i *Intake) advance(ctx context.Context, p place, scope run.Scope, decide func(run.Snapshot) (run.Change, error)) error {
	was := cmp.Or(p.was.State, string(vcs.PullOpen))
	_, err := i.Store.Advance(ctx, scope, func(s run.Snapshot) (run.Change, error) {
		if s.Pull.State != was || s.Pull.HeadSHA != p.pull.HeadSHA {
			return run.Change{}, &vcs.RetryError{After: again, Err: fmt.Errorf("pull request #%d: %w", p.pull.Number, run.ErrMoved)}
		}
		return decide(s)
	})
	return err
}

// again is how soon a job looks again that met another replica at its work.
const again = 200 * time.Millisecond

// Delivery handles one stored delivery. Key is host/delivery id.
func (i *Intake) Delivery(ctx context.Context, key string) error {
	name, id, _ := strings.Cut(key, "/")
	d, err := i.Store.Delivery(ctx, name, id)
	if errors.Is(err, run.ErrNotFound) {
		return nil
	}
	if err != nil || d.Outcome != "" {
		return err
	}
	var e vcs.Event
	if err := json.Unmarshal(d.Event, &e); err != nil {
		return i.Store.Delivered(ctx, name, id, "unreadable: "+err.Error())
	}
	outcome, err := i.event(ctx, name, d, e)
	if err != nil {
		return fmt.Errorf("handle %s of %s: %w", e.Kind, e.Repo.Name, err)
	}
	i.Log.Info("handled a delivery", "host", name, "delivery", id, "kind", e.Kind, "repo", e.Repo.Name, "pull", e.Number, "outcome", outcome)
	return i.Store.Delivered(ctx, name, id, outcome)
}

func (i *Intake) event(ctx context.Context, name string, d run.Delivery, e vcs.Event) (string, error) {
	host, ok := i.Hosts[name]
	if !ok {
		return "ignored: host is not configured any more", nil
	}
	repo, err := i.repo(ctx, name, e.Repo)
	if errors.Is(err, errNotAllowed) {
		return "ignored: " + err.Error(), nil
	}
	if err != nil {
		return "", err
	}
	p := place{host: host, name: name, repo: repo, rules: i.Config.Rules(name, repo.Name)}
	switch e.Kind {
	case vcs.EventPull:
		return i.pull(ctx, p, e.Number, "delivery:"+d.ID)
	case vcs.EventReview:
		if e.Comment != nil {
			if err := i.keepComment(ctx, name, e); err != nil {
				return "", err
			}
		}
		return i.review(ctx, p, e.Number)
	case vcs.EventComment:
		if e.Comment == nil {
			return "ignored: comment without a body", nil
		}
		if d.ID != commentKey(e) { // as the host delivered it, under whatever id
			return "comment kept", i.keepComment(ctx, name, e)
		}
		return i.comment(ctx, p, e)
	case vcs.EventPush:
		return i.push(ctx, p, e)
	case vcs.EventQueue:
		return i.queue(ctx, p, e)
	case vcs.EventStatus:
		return i.status(ctx, p, e.SHA)
	}
	return "ignored: kind " + string(e.Kind), nil
}

// commentKey is the delivery id under which a comment is handled: one per comment, however often it was delivered or found.
func commentKey(e vcs.Event) string {
	kind := "c"
	if e.Comment.Review {
		kind = "r"
	}
	return run.CommentDelivery + e.Repo.ID + "." + kind + e.Comment.ID
}

// keepComment stores a comment as a delivery of its own, so that a webhook and a reconcile that both saw it make one command.
func (i *Intake) keepComment(ctx context.Context, host string, e vcs.Event) error {
	e.Kind = vcs.EventComment
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = i.Store.Deliver(ctx, run.Delivery{Host: host, ID: commentKey(e), Event: body, Received: i.Now()})
	return err
}

var errNotAllowed = errors.New("repository is not in the allow-list")

// repo returns the stored row of a repository that the allow-list has.
func (i *Intake) repo(ctx context.Context, host string, r vcs.Repo) (run.Repo, error) {
	if !i.Config.Allows(host, r.Name) {
		return run.Repo{}, fmt.Errorf("%s: %w", r.Name, errNotAllowed)
	}
	if r.DefaultBranch == "" {
		full, err := i.Hosts[host].Repo(ctx, r.Name)
		if err != nil {
			return run.Repo{}, fmt.Errorf("read repository %s: %w", r.Name, err)
		}
		r = full
	}
	return i.Store.SaveRepo(ctx, run.Repo{Host: host, HostID: r.ID, Name: r.Name, DefaultBranch: r.DefaultBranch})
}

// review refreshes the checklist of a pull request.
func (i *Intake) review(ctx context.Context, p place, number int) (string, error) {
	pull, err := i.Store.PullByNumber(ctx, p.repo.ID, number)
	if errors.Is(err, run.ErrNotFound) {
		return "ignored: pull request was never looked at", nil
	}
	if err != nil {
		return "", err
	}
	return "checklist refreshed", i.refresh(ctx, pull)
}

// status refreshes the checklists of the pull requests whose head got a check.
func (i *Intake) status(ctx context.Context, p place, sha string) (string, error) {
	pulls, err := i.Store.PullsAt(ctx, p.repo.ID, sha)
	if err != nil {
		return "", err
	}
	for _, pull := range pulls {
		if err := i.refresh(ctx, pull); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d checklists refreshed", len(pulls)), nil
}

func (i *Intake) refresh(ctx context.Context, pull run.Pull) error {
	return i.Store.Want(ctx, run.Posting{Kind: run.PostSummary, Repo: pull.Repo, Pull: pull.ID, Key: strconv.FormatInt(int64(pull.ID), 10)})
}

// push has the open pull requests into a branch that moved looked at (semantics 19).
func (i *Intake) push(ctx context.Context, p place, e vcs.Event) (string, error) {
	push := e.Push
	if push == nil || !p.rules.Branch(push.Branch, p.repo.DefaultBranch) {
		return "ignored: branch does not plan", nil
	}
	if err := i.Store.Enqueue(ctx, baseJob(p.repo.ID, push.Branch)); err != nil {
		return "", err
	}
	return "open pull requests are looked at", i.Store.Enqueue(ctx, pushed(p.repo, e, i.Now()))
}

// subject asks the host what a person may do here, now. An error is the caller's to take as no.
func (i *Intake) subject(ctx context.Context, p place, who string) (config.Subject, error) {
	access, err := p.host.Permission(ctx, vcsRepo(p.repo), who)
	if err != nil {
		return config.Subject{}, fmt.Errorf("look up the permission of %s: %w", who, err)
	}
	return config.Subject{Login: who, Access: access, Member: func(team string) (bool, error) { return p.host.Member(ctx, team, who) }}, nil
}

// trusted says whether a pull request's code may run without a maintainer's word: not from a fork, and by an author who can write.
func (i *Intake) trusted(ctx context.Context, p place) (bool, error) {
	if p.snap.Fork {
		return false, nil
	}
	access, err := p.host.Permission(ctx, vcsRepo(p.repo), p.snap.Author.Login)
	if err != nil {
		return false, fmt.Errorf("look up the permission of the author: %w", err)
	}
	return access >= vcs.PermissionWrite, nil
}

// mayGoOn says whether a head that was planned may be planned again without another word: its author is trusted, still, or somebody else
// asked for a plan of this very head.
func (i *Intake) mayGoOn(ctx context.Context, p place) (bool, error) {
	ok, err := i.trusted(ctx, p)
	if err != nil || ok {
		return ok, err
	}
	runs, err := i.Store.Runs(ctx, run.Filter{Pull: p.pull.ID, Head: p.snap.Head.SHA, Kind: run.KindChange})
	return slices.ContainsFunc(runs, func(r run.Run) bool { return r.Actor != "" && !strings.EqualFold(r.Actor, p.snap.Author.Login) }), err
}
