package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planlatch/planlatch/facts"
	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/notify"
	"github.com/planlatch/planlatch/notify/hook"
	"github.com/planlatch/planlatch/notify/notifytest"
	"github.com/planlatch/planlatch/notify/slack"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
	"github.com/planlatch/planlatch/store"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/views"
)

var allEvents = []report.Event{
	report.EventStateNotSaved, report.EventInterrupted, report.EventApplyFailed, report.EventApplied, report.EventMergeDiffers, report.EventPlanFailed,
	report.EventPolicyFailed, report.EventNeedsApproval,
}

// receiver is a webhook that remembers what it was told.
type receiver struct {
	url    string
	mu     sync.Mutex
	news   []report.News
	ids    []string
	refuse int // so many calls
	told   chan struct{}
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{told: make(chan struct{}, 1)}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		defer func() {
			select {
			case r.told <- struct{}{}:
			default:
			}
		}()
		if r.refuse > 0 {
			r.refuse--
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		var n report.News
		if err := json.Unmarshal(body, &n); err != nil {
			t.Errorf("body %s: %v", body, err)
		}
		r.news, r.ids = append(r.news, n), append(r.ids, req.Header.Get(hook.HeaderDelivery))
	}))
	t.Cleanup(s.Close)
	r.url = s.URL
	return r
}

func (r *receiver) events() []report.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []report.Event
	for _, n := range r.news {
		all = append(all, n.Event)
	}
	return all
}

// chatDesk is a desk with a Slack channel and a webhook.
type chatDesk struct {
	*desk
	slack *notifytest.Slack
	hook  *receiver
	start func(channels ...notify.Channel) (stop func())
	blobs *blobs
	style report.Style // set before start

	viewer *views.Viewer
}

func (d *chatDesk) channels() []notify.Channel {
	return []notify.Channel{
		{Name: "ops", Sink: slack.NewBot(d.slack.Token, "#infra", d.slack.URL), Edits: true, Pace: time.Millisecond, Events: allEvents},
		{Name: "hook", Sink: hook.New(d.hook.url, "s"), Every: true, Events: allEvents},
	}
}

func openChat(t *testing.T) *chatDesk {
	t.Helper()
	d := &chatDesk{
		desk:  &desk{t: t, host: &host{comments: map[string]string{}, statuses: map[string]vcs.Status{}, said: make(chan struct{}, 1)}},
		slack: notifytest.NewSlack(t, "#infra"), hook: newReceiver(t), blobs: &blobs{}, style: report.StyleFull,
	}
	var err error
	if d.store, err = store.Open(t.Context(), store.Options{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.store.Close() })
	if d.repo, err = d.store.SaveRepo(t.Context(), run.Repo{Host: "h", HostID: "1", Name: "acme/infra", DefaultBranch: "main"}); err != nil {
		t.Fatal(err)
	}
	if d.pull, err = d.store.SavePull(t.Context(), run.Pull{
		Repo: d.repo.ID, Number: 7, State: "open", HeadSHA: head, BaseBranch: "main", Title: "Add a <!channel> bucket", URL: "https://h.example/acme/infra/pulls/7", Author: "alice",
	}); err != nil {
		t.Fatal(err)
	}
	hosts := map[string]vcs.Host{"h": d.host}
	log := slog.New(slog.DiscardHandler)
	gatherer := &facts.Gatherer{Hosts: hosts, Store: d.store, Git: git.New(git.Options{Dir: filepath.Join(t.TempDir(), "mirrors")}), Log: log}
	viewer := &views.Viewer{
		Store: d.store, Facts: gatherer, Blobs: d.blobs,
		Look: func(string, string) views.Look {
			return views.Look{Prefix: "planlatch", Mode: run.ApplyBeforeMerge, Style: d.style, Statuses: 50}
		},
		Link: func(_ run.Repo, id run.ID, _ bool) string { return "https://x.example/runs/" + string(id) },
	}
	d.viewer = viewer
	d.start = func(channels ...notify.Channel) func() {
		n := &notify.Notifier{Store: d.store, Views: viewer, Hosts: hosts, Log: log, Channels: channels}
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- n.Run(ctx, d.store.Kicks()) }()
		var once sync.Once
		end := func() {
			once.Do(func() {
				stop()
				if err := <-ended; err != nil {
					t.Errorf("Run() = %v", err)
				}
			})
		}
		t.Cleanup(end)
		return end
	}
	return d
}

func (d *chatDesk) advance(decide func(run.Snapshot) (run.Change, error), ids ...run.ID) {
	d.t.Helper()
	var scope run.Scope
	for _, id := range ids {
		scope.Runs = append(scope.Runs, run.At{ID: id})
	}
	if _, err := d.store.Advance(d.t.Context(), scope, decide); err != nil {
		d.t.Fatal(err)
	}
}

func (d *chatDesk) claims(id run.ID) {
	d.t.Helper()
	d.advance(func(s run.Snapshot) (run.Change, error) {
		return run.ClaimPlan(s, id, run.Owner{Node: "n", Deadline: s.Now.Add(time.Hour)})
	}, id)
}

func (d *chatDesk) settles(id run.ID, o run.PlanOutcome) {
	d.t.Helper()
	d.advance(func(s run.Snapshot) (run.Change, error) { return run.SettlePlan(s, id, o) }, id)
}

// plans settles a queued run as planned.
func (d *chatDesk) plans(id run.ID) {
	d.t.Helper()
	d.claims(id)
	d.settles(id, run.PlanOutcome{Planned: run.Run{EffectDigest: "e" + string(id), PolicyDigest: "p", Counts: run.Counts{Add: 1}}})
}

// applies confirms and applies planned runs.
func (d *chatDesk) applies(outcome map[run.ID]run.ApplyOutcome, ids ...run.ID) {
	d.t.Helper()
	d.advance(func(s run.Snapshot) (run.Change, error) { return run.Confirm(s, ids, "bob") }, ids...)
	for _, id := range ids {
		d.advance(func(s run.Snapshot) (run.Change, error) {
			return run.ClaimApply(s, id, []run.Gate{{Holds: true}}, run.Owner{Node: "n", Deadline: s.Now.Add(time.Hour)})
		}, id)
		d.advance(func(s run.Snapshot) (run.Change, error) { return run.SettleApply(s, id, outcome[id]) }, id)
	}
}

// eventually waits until ok; what is told meanwhile wakes it.
func (d *chatDesk) eventually(what string, ok func() bool) {
	d.t.Helper()
	deadline := time.After(2 * time.Minute)
	for !ok() {
		select {
		case <-d.slack.Said():
		case <-d.hook.told:
		case <-d.host.said:
		case <-time.After(100 * time.Millisecond): // what is recorded is told by nobody
		case <-deadline:
			d.t.Fatalf("never: %s; Slack has %+v, the webhook %v", what, d.slack.Messages("#infra"), d.hook.events())
		}
	}
}

// idle waits until nothing is due any more.
func (d *chatDesk) idle() {
	d.t.Helper()
	d.eventually("nothing is due", func() bool {
		all, err := d.store.Postings(d.t.Context(), run.PostingFilter{})
		if err != nil {
			d.t.Fatal(err)
		}
		return !slices.ContainsFunc(all, func(p run.Posting) bool { return p.Wanted > p.Posted })
	})
}

// message is the one message that stands for itself.
func (d *chatDesk) message() (message notifytest.SlackMessage, replies []notifytest.SlackMessage) {
	d.t.Helper()
	found := 0
	for _, m := range d.slack.Messages("#infra") {
		if m.Thread != "" {
			replies = append(replies, m)
			continue
		}
		message, found = m, found+1
	}
	if found != 1 {
		d.t.Fatalf("%d messages stand for themselves, want one: %+v", found, d.slack.Messages("#infra"))
	}
	return message, replies
}

func TestAPullRequestIsOneMessageThatIsEdited(t *testing.T) {
	t.Parallel()
	d := openChat(t)
	d.start(d.channels()...)
	runs := d.revise(head, "network", "database")
	a, b := runs[0].ID, runs[1].ID
	d.idle()
	if all := d.slack.Messages("#infra"); len(all) > 0 || len(d.hook.events()) > 0 {
		t.Fatalf("told %+v and %v before there was anything to tell", all, d.hook.events())
	}

	d.plans(a)
	d.claims(b)
	d.settles(b, run.PlanOutcome{Failed: "init failed"})
	d.eventually("the plan failed", func() bool { return len(d.slack.Messages("#infra")) == 2 && len(d.hook.events()) == 1 })
	m, replies := d.message()
	if !strings.Contains(m.Blocks, "plan failed") || strings.Contains(m.Blocks, "<!channel>") || len(replies) != 1 || replies[0].Thread != m.TS || replies[0].Broadcast {
		t.Fatalf("message %+v, replies %+v, want the failure, and quietly in the thread", m, replies)
	}

	again := d.revise(newer, "network", "database")
	a, b = again[1].ID, again[2].ID // behind the one that it superseded
	d.plans(a)
	d.plans(b)
	d.idle()
	if m, replies = d.message(); len(replies) != 1 || m.Edits == 0 || strings.Contains(m.Blocks, "failed") {
		t.Errorf("message %+v, replies %+v, want it edited after the next push", m, replies)
	}

	d.applies(map[run.ID]run.ApplyOutcome{a: {Applied: true}, b: {Reason: "exited with 1"}}, a, b)
	d.eventually("the apply failed", func() bool {
		return slices.Contains(d.hook.events(), report.EventApplyFailed) && len(d.slack.Messages("#infra")) == 3
	})
	d.idle()
	m, replies = d.message()
	if !strings.Contains(m.Blocks, "apply failed") || len(replies) != 2 || !replies[1].Broadcast || !strings.Contains(replies[1].Blocks, "database") {
		t.Errorf("message %+v, replies %+v, want the failed apply first and shown to all", m, replies)
	}
	got := d.hook.events()
	slices.Sort(got)
	if want := []report.Event{report.EventApplied, report.EventApplyFailed, report.EventPlanFailed}; !slices.Equal(got, want) {
		t.Errorf("the webhook was told %v, want %v", got, want)
	}
}

// TestAnApplyInDoubtIsToldToEverybody lets an apply vanish, and another fail to save its state.
func TestAnApplyInDoubtIsToldToEverybody(t *testing.T) {
	t.Parallel()
	for event, c := range map[report.Event]struct {
		out   run.ApplyOutcome
		words string
	}{
		report.EventInterrupted:   {run.ApplyOutcome{Interrupted: true, Reason: "its executor vanished"}, "planlatch unlock -p network"},
		report.EventStateNotSaved: {run.ApplyOutcome{Unsaved: true, Reason: "state not saved"}, "the state was not saved"},
	} {
		t.Run(string(event), func(t *testing.T) {
			t.Parallel()
			d := openChat(t)
			d.start(d.channels()...)
			id := d.revise(head, "network")[0].ID
			d.plans(id)
			d.idle()
			d.applies(map[run.ID]run.ApplyOutcome{id: c.out}, id)
			d.eventually("it is told", func() bool { return slices.Contains(d.hook.events(), event) })
			d.idle()
			m, replies := d.message()
			if last := replies[len(replies)-1]; !last.Broadcast || !strings.Contains(m.Blocks+last.Blocks, c.words) {
				t.Errorf("message %+v, last reply %+v, want it shown to all, with %q", m, last, c.words)
			}
			if got := d.hook.events(); slices.Contains(got, report.EventApplyFailed) || slices.Contains(got, report.EventApplied) {
				t.Errorf("the webhook was told %v, want no other end of the apply", got)
			}
		})
	}
}

const newer = "dddddddddddddddddddddddddddddddddddddddd"

func TestAnEventIsToldOnce(t *testing.T) {
	t.Parallel()
	d := openChat(t)
	stop := d.start(d.channels()...)
	runs := d.revise(head, "network")
	d.fails(runs[0].ID)
	d.idle()
	stop()
	d.start(d.channels()...)
	summary := run.Posting{Kind: run.PostSummary, Repo: d.repo.ID, Pull: d.pull.ID, Key: fmt.Sprint(int64(d.pull.ID))}
	for range 3 {
		if err := d.store.Want(t.Context(), summary); err != nil {
			t.Fatal(err)
		}
		d.idle()
	}
	if got := d.hook.events(); len(got) != 1 {
		t.Errorf("the webhook was told %v, want one event", got)
	}
	if m, replies := d.message(); m.Edits != 0 || len(replies) != 1 {
		t.Errorf("message %+v with replies %+v, want one of each, never edited: nothing changed", m, replies)
	}
}

// dying is a sink whose process is told to stop when its message is out.
type dying struct {
	notify.Sink
	die func()
}

func (s dying) Send(ctx context.Context, m notify.Message, external string) (string, error) {
	id, err := s.Sink.Send(ctx, m, external)
	s.die()
	return id, err
}

func TestAStopBetweenSendingAndRecordingSaysNothingTwice(t *testing.T) {
	t.Parallel()
	d := openChat(t)
	channels := d.channels()
	first := slices.Clone(channels)
	stopped := make(chan struct{})
	var stop func()
	var once sync.Once
	begun := make(chan struct{})
	for i := range first {
		first[i].Sink = dying{first[i].Sink, func() {
			once.Do(func() {
				<-begun
				go func() { stop(); close(stopped) }()
			})
		}}
	}
	stop = d.start(first...)
	close(begun)
	d.fails(d.revise(head, "network")[0].ID)
	<-stopped
	d.start(channels...)
	d.eventually("all is told", func() bool { return len(d.slack.Messages("#infra")) >= 2 && len(d.hook.events()) >= 1 })
	d.idle()
	if _, replies := d.message(); len(replies) != 1 || len(d.hook.events()) != 1 {
		t.Errorf("replies %+v, events %v, want one each", replies, d.hook.events())
	}
}

func TestASlowChannelKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	d := openChat(t)
	d.slack.Answer(func(_ string, w http.ResponseWriter) bool {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	d.start(d.channels()...)
	d.fails(d.revise(head, "network")[0].ID)
	d.eventually("the webhook and the host were told", func() bool {
		d.host.mu.Lock()
		defer d.host.mu.Unlock()
		return len(d.hook.events()) == 1 && strings.Contains(d.host.comments["c1"], "**failed**")
	})
	d.eventually("what Slack does not take is put off", func() bool {
		all, err := d.store.Postings(t.Context(), run.PostingFilter{Kind: run.PostEvent})
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(all, func(p run.Posting) bool {
			return strings.HasPrefix(p.Key, "ops/") && time.Until(p.NextAt) > 50*time.Minute && !p.Dead
		})
	})
}

func TestAThrottledEventArrivesWithTheSameDelivery(t *testing.T) {
	t.Parallel()
	d := openChat(t)
	d.hook.refuse = 1
	d.start(d.channels()[1])
	d.fails(d.revise(head, "network")[0].ID)
	d.eventually("it arrives", func() bool { return len(d.hook.events()) == 1 })
	d.idle()
	if len(d.hook.ids[0]) != 32 {
		t.Errorf("delivery %q, want an id", d.hook.ids[0])
	}
}

// refusing never takes anything.
type refusing struct{ err error }

func (r refusing) Send(context.Context, notify.Message, string) (string, error) { return "", r.err }

func TestAMessageThatIsRefusedDiesAndCanBeSeen(t *testing.T) {
	t.Parallel()
	d := openChat(t)
	retry := &vcs.RetryError{After: time.Millisecond, Err: fmt.Errorf("%w: 400", notify.ErrRefused)}
	d.start(notify.Channel{Name: "bad", Sink: refusing{retry}, Every: true, Events: allEvents})
	d.fails(d.revise(head, "network")[0].ID)
	d.eventually("it is given up", func() bool {
		dead, err := d.store.Postings(t.Context(), run.PostingFilter{Dead: true})
		return err == nil && len(dead) == 1 && dead[0].Kind == run.PostEvent && strings.Contains(dead[0].Error, "tell bad: ")
	})
	stats, err := d.store.Stats(t.Context())
	if err != nil || stats["postings_dead"] != 1 {
		t.Errorf("Stats() = %v, %v, want one dead posting", stats, err)
	}
}

func TestAChannelHearsOnlyOfItsProjectsAndEvents(t *testing.T) {
	t.Parallel()
	d := openChat(t)
	prod := selector.List{parse(t, "//prod/**")}
	base := d.channels()
	base[0].Wants = prod.Match
	base[1].Events = []report.Event{report.EventApplied}
	d.start(base...)
	runs := d.revise(head, "dev/network", "prod/database")
	d.fails(runs[0].ID)
	d.plans(runs[1].ID)
	d.idle()
	if all := d.slack.Messages("#infra"); len(all) > 0 || len(d.hook.events()) > 0 {
		t.Fatalf("told %+v and %v, want nothing: only dev failed", all, d.hook.events())
	}
	d.applies(map[run.ID]run.ApplyOutcome{runs[1].ID: {Applied: true}}, runs[1].ID)
	d.eventually("prod was applied", func() bool { return len(d.slack.Messages("#infra")) == 2 && len(d.hook.events()) == 1 })
	d.idle()
	if m, _ := d.message(); strings.Contains(m.Blocks, "dev/network") || !strings.Contains(m.Blocks, "prod/database") {
		t.Errorf("message %+v, want it about prod alone", m)
	}
}

func parse(t *testing.T, s string) selector.Selector {
	t.Helper()
	sel, err := selector.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return sel
}

func TestAPushWithoutAPullRequestIsToldToo(t *testing.T) {
	t.Parallel()
	d := openChat(t)
	d.start(d.channels()...)
	saved, err := d.store.SaveProjects(t.Context(), []run.Project{{Repo: d.repo.ID, Dir: "network", Workspace: "default", Label: "network"}})
	if err != nil {
		t.Fatal(err)
	}
	res, err := d.store.Advance(t.Context(), run.Scope{Repo: d.repo.ID, Branch: "main"}, func(run.Snapshot) (run.Change, error) {
		return run.Change{
			Action:   run.ActRevise,
			Revision: &run.Revision{Repo: d.repo.ID, Branch: "main", Head: newer, Base: base, Tree: "t", Kind: run.KindMerge},
			New: []run.Run{{
				Repo: d.repo.ID, Project: saved[0].ID, Label: "network", Dir: "network", Work: "default", Kind: run.KindMerge, Cause: "push", State: run.Queued,
				Settings: run.Settings{Apply: run.ApplyAfterMerge},
			}},
		}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	id := res.Runs[0].ID
	d.claims(id)
	d.settles(id, run.PlanOutcome{Planned: run.Run{EffectDigest: "e", PolicyDigest: "p", Counts: run.Counts{Add: 1}}, Waits: "nobody reviewed this push"})
	d.eventually("it waits", func() bool { return len(d.slack.Messages("#infra")) == 2 && len(d.hook.events()) == 1 })
	d.idle()
	m, replies := d.message()
	if !strings.Contains(m.Blocks, "waits for a person") || !strings.Contains(m.Blocks, "acme/infra main at ddddddd") || !replies[0].Broadcast {
		t.Errorf("message %+v, replies %+v", m, replies)
	}
	if got := d.hook.events(); !slices.Equal(got, []report.Event{report.EventMergeDiffers}) || d.hook.news[0].Pull != nil {
		t.Errorf("the webhook was told %v of %v, want merge_differs of a push", got, d.hook.news[0].Pull)
	}
}

func TestAMessageDeletedByHandComesBack(t *testing.T) {
	t.Parallel()
	d := openChat(t)
	d.start(d.channels()[0])
	runs := d.revise(head, "network")
	d.fails(runs[0].ID)
	d.eventually("it is told", func() bool { return len(d.slack.Messages("#infra")) == 2 })
	d.idle()
	m, _ := d.message()
	d.slack.Delete(m.TS)
	d.plans(d.revise(newer, "network")[0].ID) // the failed run is final, and not superseded
	d.eventually("it is back", func() bool {
		return slices.ContainsFunc(d.slack.Messages("#infra"), func(m notifytest.SlackMessage) bool {
			return m.Thread == "" && strings.Contains(m.Blocks, "1 to add")
		})
	})
}

var errNever = errors.New("never")

func TestHideTakesAddressesOutOfErrors(t *testing.T) {
	t.Parallel()
	_, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://x/%zz?sig=secret", nil)
	if got := notify.Hide(fmt.Errorf("post: %w", err)); strings.Contains(got.Error(), "secret") {
		t.Errorf("Hide() = %v", got)
	}
	if got := notify.Hide(errNever); !errors.Is(got, errNever) {
		t.Errorf("Hide() = %v, want it as it was", got)
	}
}

func TestRetryAfterIsReadAndBounded(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "5": 5 * time.Second, "-1": 0, "x": 0, "999999": time.Hour, "Fri, 01 May 2026 12:00:30 GMT": 30 * time.Second, "Fri, 01 May 2026 11:00:00 GMT": 0,
	} {
		if got := notify.RetryAfter(header, now); got != want {
			t.Errorf("RetryAfter(%q) = %v, want %v", header, got, want)
		}
	}
}
