package notify_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planlatch/planlatch/facts"
	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/notify"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/store"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/views"
)

const head, older, base = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "cccccccccccccccccccccccccccccccccccccccc"

// host is a VCS host that remembers what was said to it. What it is not asked for here it does not have.
type host struct {
	vcs.Host
	mu       sync.Mutex
	comments map[string]string     // id → body
	statuses map[string]vcs.Status // commit and context → status
	refuse   error                 // answer to every write, once
	said     chan struct{}
}

func (h *host) Limits() vcs.Limits { return vcs.Limits{Comment: 65000} }

func (h *host) Pull(context.Context, vcs.Repo, int) (vcs.Pull, error) {
	return vcs.Pull{Number: 7, State: vcs.PullOpen, Head: vcs.Ref{SHA: head}, Base: vcs.Ref{Branch: "main"}, Mergeable: vcs.Yes}, nil
}

func (h *host) Branch(context.Context, vcs.Repo, string) (string, error) { return base, nil }

func (h *host) Remote(context.Context, vcs.Repo) (vcs.Remote, error) {
	return vcs.Remote{}, errors.New("there is no repository here")
}

func (h *host) write(f func()) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.refuse; err != nil {
		h.refuse = nil
		return err
	}
	f()
	select {
	case h.said <- struct{}{}:
	default:
	}
	return nil
}

func (h *host) Comment(_ context.Context, _ vcs.Repo, _ int, known, _, body string) (string, error) {
	id := known
	err := h.write(func() {
		if id == "" {
			id = "c" + string(rune('1'+len(h.comments)))
		}
		h.comments[id] = body
	})
	return id, err
}

// told is what was said so far.
func (h *host) told() (comments map[string]string, statuses map[string]vcs.Status) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.comments), maps.Clone(h.statuses)
}

func (h *host) SetStatus(_ context.Context, _ vcs.Repo, sha string, s vcs.Status) error {
	return h.write(func() { h.statuses[sha+" "+s.Context] = s })
}

// blobs keeps objects in memory.
type blobs struct{ sync.Map }

func (b *blobs) Get(_ context.Context, key string) ([]byte, error) {
	data, ok := b.Load(key)
	if !ok {
		return nil, errors.New("no such object")
	}
	return data.([]byte), nil //nolint:forcetypeassert // only Put stores
}

func (b *blobs) Put(_ context.Context, key string, data []byte) error {
	b.Store(key, data)
	return nil
}

type desk struct {
	t     *testing.T
	store *store.Store
	host  *host
	pull  run.Pull
	repo  run.Repo

	notifier *notify.Notifier
}

// open starts a notifier on a real store with one open pull request.
func open(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, host: &host{comments: map[string]string{}, statuses: map[string]vcs.Status{}, said: make(chan struct{}, 1)}}
	var err error
	if d.store, err = store.Open(t.Context(), store.Options{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.store.Close() })
	if d.repo, err = d.store.SaveRepo(t.Context(), run.Repo{Host: "h", HostID: "1", Name: "acme/infra", DefaultBranch: "main"}); err != nil {
		t.Fatal(err)
	}
	if d.pull, err = d.store.SavePull(t.Context(), run.Pull{Repo: d.repo.ID, Number: 7, State: "open", HeadSHA: head, BaseBranch: "main"}); err != nil {
		t.Fatal(err)
	}
	hosts := map[string]vcs.Host{"h": d.host}
	log := slog.New(slog.DiscardHandler)
	gatherer := &facts.Gatherer{Hosts: hosts, Store: d.store, Git: git.New(git.Options{Dir: filepath.Join(t.TempDir(), "mirrors")}), Log: log}
	viewer := &views.Viewer{
		Store: d.store, Facts: gatherer, Blobs: &blobs{},
		Look: func(string, string) views.Look {
			return views.Look{Prefix: "planlatch", Mode: run.ApplyBeforeMerge, Style: report.StyleFull, Statuses: 50}
		},
	}
	n := &notify.Notifier{Store: d.store, Views: viewer, Hosts: hosts, Log: log}
	d.notifier = n
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx, d.store.Kicks()) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
	return d
}

// revise writes a revision of the pull request with one queued run of each project.
func (d *desk) revise(sha string, projects ...string) []run.Run {
	d.t.Helper()
	rev := run.Revision{Repo: d.repo.ID, Pull: d.pull.ID, Branch: "main", Head: sha, Base: base, Tree: "t", Kind: run.KindChange}
	var runs []run.Run
	for _, label := range projects {
		saved, err := d.store.SaveProjects(d.t.Context(), []run.Project{{Repo: d.repo.ID, Dir: label, Workspace: "default", Label: label}})
		if err != nil {
			d.t.Fatal(err)
		}
		runs = append(runs, run.Run{
			Repo: d.repo.ID, Pull: d.pull.ID, Project: saved[0].ID, Label: label, Dir: label, Work: "default", Kind: run.KindChange, Cause: "test",
			State: run.Queued, Settings: run.Settings{Apply: run.ApplyBeforeMerge},
		})
		rev.Selection = append(rev.Selection, run.Selected{Project: saved[0].ID, Dir: label, Workspace: "default", Label: label})
	}
	res, err := d.store.Advance(d.t.Context(), run.Scope{Pull: d.pull.ID}, func(s run.Snapshot) (run.Change, error) {
		return run.Revise(s, rev, runs, "superseded")
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return res.Runs
}

// fails settles a queued run as failed.
func (d *desk) fails(id run.ID) {
	d.t.Helper()
	for _, decide := range []func(run.Snapshot) (run.Change, error){
		func(s run.Snapshot) (run.Change, error) {
			return run.ClaimPlan(s, id, run.Owner{Node: "n", Deadline: s.Now.Add(time.Hour)})
		},
		func(s run.Snapshot) (run.Change, error) {
			return run.SettlePlan(s, id, run.PlanOutcome{Failed: "plan failed"})
		},
	} {
		if _, err := d.store.Advance(d.t.Context(), run.Scope{Runs: []run.At{{ID: id}}}, decide); err != nil {
			d.t.Fatal(err)
		}
	}
}

// until waits until the host was told what ok looks for.
func (d *desk) until(what string, ok func(h *host) bool) {
	d.t.Helper()
	deadline := time.After(2 * time.Minute)
	for {
		d.host.mu.Lock()
		done := ok(d.host)
		d.host.mu.Unlock()
		if done {
			return
		}
		select {
		case <-d.host.said:
		case <-deadline:
			comments, statuses := d.host.told()
			d.t.Fatalf("the host was never told %s: comments %q, statuses %v", what, comments, statuses)
		}
	}
}

func TestTheSummaryIsOneCommentThatStaysCurrent(t *testing.T) {
	t.Parallel()
	d := open(t)
	runs := d.revise(head, "network")
	d.until("that the run is queued", func(h *host) bool { return strings.Contains(h.comments["c1"], "queued") })
	d.fails(runs[0].ID)
	d.until("that the plan failed", func(h *host) bool { return strings.Contains(h.comments["c1"], "**failed**") })
	if comments, _ := d.host.told(); len(comments) != 1 {
		t.Errorf("%d comments, want the one that is edited: %q", len(comments), comments)
	}
}

func TestAFlushReturnsWhenAllThatWasDueHasLeft(t *testing.T) {
	t.Parallel()
	d := open(t)
	runs := d.revise(head, "network", "dns")
	d.fails(runs[0].ID) // while the other still goes on edits come a second apart
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d.notifier.Flush(ctx)
	if comments, _ := d.host.told(); len(comments) != 1 || !strings.Contains(comments["c1"], "plan failed") || ctx.Err() != nil {
		t.Errorf("comments %q after %v, want the one that tells the failure", comments, ctx.Err())
	}
}

func TestARefusedPostingIsSentAgain(t *testing.T) {
	t.Parallel()
	d := open(t)
	d.host.mu.Lock()
	d.host.refuse = &vcs.RetryError{After: 50 * time.Millisecond, Err: errors.New("slow down")}
	d.host.mu.Unlock()
	d.revise(head, "network")
	d.until("the summary and the statuses", func(h *host) bool {
		return len(h.comments) == 1 && h.statuses[head+" planlatch/plan"].State == vcs.StatusPending
	})
}

func TestAPullRequestWithoutProjectsGetsStatusesAndNoComment(t *testing.T) {
	t.Parallel()
	d := open(t)
	d.revise(head)
	d.until("three green statuses", func(h *host) bool {
		for _, context := range []string{"planlatch/plan", "planlatch/policy", "planlatch/apply"} {
			if h.statuses[head+" "+context].State != vcs.StatusSuccess {
				return false
			}
		}
		return true
	})
	if comments, _ := d.host.told(); len(comments) > 0 {
		t.Errorf("comments %q, want none", comments)
	}
}

func TestNothingStaysPendingOnACommitThatIsNoLongerLookedAt(t *testing.T) {
	t.Parallel()
	d := open(t)
	d.revise(older, "network")
	d.until("that the older head is pending", func(h *host) bool { return h.statuses[older+" planlatch/plan"].State == vcs.StatusPending })
	d.revise(head, "network")
	d.until("that the older head is superseded", func(h *host) bool {
		s := h.statuses[older+" planlatch/plan"]
		return s.State == vcs.StatusError && strings.Contains(s.Description, "superseded") && h.statuses[head+" planlatch/plan"].State == vcs.StatusPending
	})
}

func TestAnAnswerIsSaidOnce(t *testing.T) {
	t.Parallel()
	d := open(t)
	answer := run.Posting{Kind: run.PostReply, Repo: d.repo.ID, Pull: d.pull.ID, Key: "reply:1:1", Body: "Not done."}
	for range 2 {
		if err := d.store.Want(t.Context(), answer); err != nil {
			t.Fatal(err)
		}
	}
	d.until("the answer", func(h *host) bool { return strings.HasPrefix(h.comments["c1"], "Not done.") })
	if err := d.store.Want(t.Context(), answer, run.Posting{Kind: run.PostReply, Repo: d.repo.ID, Pull: d.pull.ID, Key: "reply:2:1", Body: "Another."}); err != nil {
		t.Fatal(err)
	}
	d.until("the other answer", func(h *host) bool { return strings.HasPrefix(h.comments["c2"], "Another.") })
	if comments, _ := d.host.told(); len(comments) != 2 {
		t.Errorf("%d comments, want one per answer: %q", len(comments), comments)
	}
}
