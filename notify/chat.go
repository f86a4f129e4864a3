package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/views"
)

// What chat channels should hear follows from the postings that the store wants by itself, and is wanted before those are recorded as
// posted; so a process that dies in between wants it again, and a posting says nothing twice that it said before:
//
//	summary of a pull request, statuses of a push  → the message that shows where it stands; what its plans came to
//	result, interrupted, a merge that waits        → what became of its applies
//
// Nothing is rendered before it is sent.

// telling is the body of a chat posting: what to look at when it is sent.
type telling struct {
	From  run.PostingKind `json:",omitempty"` // PostSummary for what plans came to, else the kind of the posting that told of the runs
	Event report.Event    `json:",omitempty"` // of a channel that is told every event
	Open  bool            `json:",omitempty"` // PostChat: there was something worth a message
}

// subject is what a message is about: a pull request, or a push without one.
type subject struct {
	repo run.RepoID
	pull run.PullID
	head string // without a pull request
	run  run.ID // that tells what to look at
}

func (s subject) key() string {
	if s.pull != 0 {
		return fmt.Sprintf("pull:%d", s.pull)
	}
	return "commit:" + s.head
}

// threaded are the events whose details belong in the thread of a message that is edited; the others show in the message itself. Those
// that are true are shown to the whole channel: an edit notifies nobody.
var threaded = map[report.Event]bool{
	report.EventPlanFailed: false, report.EventApplied: false,
	report.EventApplyFailed: true, report.EventInterrupted: true, report.EventStateNotSaved: true, report.EventMergeDiffers: true,
}

// tell wants what the channels should hear of a view.
func (n *Notifier) tell(ctx context.Context, s subject, from run.PostingKind, scope string, view report.View, known bool) error {
	var all []run.Posting
	for _, c := range n.Channels {
		v, ok := c.part(view)
		if !ok {
			continue
		}
		events := c.events(from, v, known)
		post := func(kind run.PostingKind, key string, what telling) error {
			body, err := json.Marshal(what)
			if err != nil {
				return fmt.Errorf("encode a chat posting: %w", err)
			}
			p := run.Posting{Kind: kind, Repo: s.repo, Pull: s.pull, Run: s.run, Key: c.Name + "/" + s.key() + key}
			if what != (telling{}) { // an empty one must not close what is open
				p.Body = string(body)
			}
			all = append(all, p)
			return nil
		}
		if c.Edits {
			if err := post(run.PostChat, "", telling{Open: len(events) > 0}); err != nil {
				return err
			}
		}
		for _, e := range events {
			what, key := telling{From: from}, "/"+scope
			if c.Every {
				what.Event, key = e, key+"/"+string(e)
			}
			if _, ok := threaded[e]; c.Edits && !ok {
				continue
			}
			if err := post(run.PostEvent, key, what); err != nil {
				return err
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	if err := n.Store.Want(ctx, all...); err != nil {
		return fmt.Errorf("want chat messages: %w", err)
	}
	return nil
}

// planScope names what the plans of one commit come to.
func planScope(v report.View) string { return "plan:" + v.Head }

// part is the part of a view that a channel is about.
func (c Channel) part(v report.View) (report.View, bool) {
	if c.Wants == nil {
		return v, true
	}
	target := func(dir, workspace string) selector.Target {
		return selector.Target{Host: v.Repo.Host, Repo: v.Repo.Name, Dir: dir, Workspace: workspace}
	}
	all := v.Projects
	v.Projects = nil
	for _, p := range all {
		if c.Wants(target(p.Run.Dir, p.Run.Work)) {
			v.Projects = append(v.Projects, p)
		}
	}
	// Without projects there may be problems, which belong to the repository as a whole.
	return v, len(v.Projects) > 0 || len(all) == 0 && c.Wants(target(".", "default"))
}

// events lists those of a view that the channel is told, one only unless it is told every one.
func (c Channel) events(from run.PostingKind, v report.View, known bool) []report.Event {
	var all []report.Event
	if from == run.PostSummary {
		all = report.PlanEvents(v, known)
	} else {
		all = report.ApplyEvents(v)
	}
	all = slices.DeleteFunc(all, func(e report.Event) bool {
		return !slices.Contains(c.Events, e) || from == run.PostMergeWaits && e != report.EventMergeDiffers ||
			from != run.PostMergeWaits && e == report.EventMergeDiffers || (from == run.PostInterrupted) != (e == report.EventInterrupted)
	})
	if !c.Every && len(all) > 1 {
		all = all[:1]
	}
	return all
}

// channel finds the channel of a posting; it may be configured no more.
func (n *Notifier) channel(p run.Posting) (*Channel, bool) {
	name, _, _ := strings.Cut(p.Key, "/")
	for i := range n.Channels {
		if n.Channels[i].Name == name {
			return &n.Channels[i], true
		}
	}
	return nil, false
}

func chatKind(k run.PostingKind) bool { return k == run.PostChat || k == run.PostEvent }

// chat sends a posting of a chat channel, as things stand now.
func (n *Notifier) chat(ctx context.Context, p run.Posting) (run.Posting, error) {
	c, ok := n.channel(p)
	if !ok {
		return p, nil
	}
	var what telling
	if p.Body != "" {
		if err := json.Unmarshal([]byte(p.Body), &what); err != nil {
			return p, fmt.Errorf("read a chat posting: %w", err)
		}
	}
	if p.Kind == run.PostChat {
		return n.standing(ctx, p, c, what)
	}
	return n.event(ctx, p, c, what)
}

// standing sends or edits the message that shows where a pull request stands.
func (n *Notifier) standing(ctx context.Context, p run.Posting, c *Channel, what telling) (run.Posting, error) {
	if p.External == "" && !what.Open {
		return p, nil
	}
	view, _, err := n.look(ctx, p)
	if errors.Is(err, views.ErrNothing) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	view, ok := c.part(view)
	if !ok && p.External == "" {
		return p, nil
	}
	card := report.ChatCard(view)
	card.Quote = nil // details stand in the thread
	return n.deliver(ctx, p, c, Message{Card: card}, fmt.Sprintf("%+v", card))
}

// event sends one message about what happened, unless that is no longer so.
func (n *Notifier) event(ctx context.Context, p run.Posting, c *Channel, what telling) (run.Posting, error) {
	var view report.View
	var known bool
	var err error
	if what.From == run.PostSummary {
		view, known, err = n.look(ctx, p)
	} else {
		view, err = n.attempt(ctx, p, what.From)
	}
	if errors.Is(err, views.ErrNothing) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	view, ok := c.part(view)
	if !ok {
		return p, nil
	}
	events := c.events(what.From, view, known)
	if what.From == run.PostSummary && !strings.Contains(p.Key+"/", "/"+planScope(view)+"/") {
		return p, nil // another commit counts now, and has a posting of its own
	}
	if what.Event != "" {
		events = slices.DeleteFunc(events, func(e report.Event) bool { return e != what.Event })
	}
	if len(events) == 0 {
		return p, nil // it was true once, and has been dealt with
	}
	m := Message{Event: events[0], Card: report.ChatCard(view), News: report.NewsOf(view, events[0])}
	if c.Edits {
		loud, ok := threaded[m.Event]
		if !ok {
			return p, nil
		}
		if m.Thread, err = n.thread(ctx, p); err != nil {
			return p, err
		}
		m.Loud = loud
	}
	return n.deliver(ctx, p, c, m, report.Substance(view, m.Event))
}

// attempt is the view of the runs that a posting told of.
func (n *Notifier) attempt(ctx context.Context, p run.Posting, from run.PostingKind) (report.View, error) {
	r, err := n.Store.Run(ctx, p.Run)
	if err != nil {
		return report.View{}, err
	}
	runs, whole, err := n.concerned(ctx, r, from)
	switch {
	case err != nil:
		return report.View{}, err
	case !whole:
		return report.View{}, errSoon
	case len(runs) == 0:
		return report.View{}, views.ErrNothing
	}
	return n.Views.Runs(ctx, runs)
}

// thread is the message that a reply belongs to. It is posted first; where it could not be, the reply stands for itself.
func (n *Notifier) thread(ctx context.Context, p run.Posting) (string, error) {
	name, rest, _ := strings.Cut(p.Key, "/")
	about, _, _ := strings.Cut(rest, "/")
	found, err := n.Store.Postings(ctx, run.PostingFilter{Kind: run.PostChat, Repo: p.Repo, Key: name + "/" + about, Limit: 1})
	if err != nil {
		return "", err
	}
	switch {
	case len(found) == 0:
		return "", nil
	case found[0].External == "" && !found[0].Dead && found[0].Wanted > found[0].Posted:
		return "", errSoon
	}
	return found[0].External, nil
}

// deliver sends m if its substance is not what was sent last.
func (n *Notifier) deliver(ctx context.Context, p run.Posting, c *Channel, m Message, substance string) (run.Posting, error) {
	sum := digest(substance)
	if sum == p.Digest {
		return p, nil
	}
	m.ID = digest(fmt.Sprintf("%d\x00%s\x00%s", p.Repo, p.Key, sum))[:32]
	external := p.External
	if p.Kind == run.PostEvent {
		external = "" // what happened is said anew, never changed
	}
	begun, cancel := outlive(ctx, writing)
	defer cancel()
	id, err := c.Sink.Send(begun, m, external)
	n.rest(c, err)
	if err != nil {
		return p, fmt.Errorf("tell %s: %w", c.Name, err)
	}
	p.External, p.Digest = id, sum
	return p, nil
}

// outlive returns a context that goes on for a grace after ctx ended, so that a message on its way when we are told to stop is known to
// have arrived or not. Without that the next start would say it again.
func outlive(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	return longer, func() {
		stop()
		cancel()
	}
}

// putOff is how long a channel must be quiet for its postings to be written as due later.
const putOff = 3 * time.Second

// rest keeps a channel quiet for as long as its pace asks; after failures longer each time, or as the other side says. So one message tries
// whether a channel is back, and the others lose no try meanwhile.
func (n *Notifier) rest(c *Channel, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	quiet := c.Pace
	if err == nil || errors.Is(err, ErrRefused) { // a message it will not take says nothing about the next
		delete(n.failed, c.Name)
	} else {
		n.failed[c.Name]++
		quiet = max(quiet, min(delay(n.failed[c.Name], err), quietMost))
		if retry := (*vcs.RetryError)(nil); errors.As(err, &retry) {
			quiet = max(quiet, retry.After)
		}
	}
	n.quiet[c.Name] = time.Now().Add(quiet)
}

// quietMost is how long a channel that fails is left alone when it does not say itself.
const quietMost = 2 * time.Minute

// speak takes the one turn of a channel: messages keep their order, and its pace. When it cannot be had, until says how long the channel
// is quiet at least; what cannot be sent now stays due.
func (n *Notifier) speak(p run.Posting) (ok bool, until time.Time) {
	c, ok := n.channel(p)
	if !ok {
		return true, time.Time{}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if until = n.quiet[c.Name]; n.speaking[c.Name] || time.Now().Before(until) {
		return false, until
	}
	n.speaking[c.Name] = true
	return true, until
}

// spoken gives the turn back, and says when the channel may speak again.
func (n *Notifier) spoken(p run.Posting) time.Duration {
	name, _, _ := strings.Cut(p.Key, "/")
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.speaking, name)
	return time.Until(n.quiet[name])
}

// sight is a view that was just made for the summary, so that chat need not ask the host again. Whatever changes after it wants another
// summary, and so another sight.
type sight struct {
	view  report.View
	known bool
	at    time.Time
}

const fresh = 10 * time.Second

// seen remembers a view.
func (n *Notifier) seen(pull run.PullID, view report.View, known bool) {
	if len(n.Channels) == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, s := range n.sights {
		if time.Since(s.at) > fresh {
			delete(n.sights, id)
		}
	}
	n.sights[pull] = sight{view, known, time.Now()}
}

// look is the view of what a posting is about.
func (n *Notifier) look(ctx context.Context, p run.Posting) (view report.View, known bool, err error) {
	if p.Pull == 0 {
		_, about, _ := strings.Cut(p.Key, "/commit:")
		sha, _, _ := strings.Cut(about, "/")
		view, err = n.Views.Commit(ctx, p.Repo, sha)
		return view, false, err
	}
	n.mu.Lock()
	s, ok := n.sights[p.Pull]
	n.mu.Unlock()
	if ok && time.Since(s.at) < fresh {
		return s.view, s.known, nil
	}
	view, snap, err := n.Views.Pull(ctx, p.Pull)
	return view, snap != nil, err
}

// tellPush wants what the channels should hear of a push without a pull request, whose commit p's statuses are about.
func (n *Notifier) tellPush(ctx context.Context, p run.Posting) error {
	if len(n.Channels) == 0 {
		return nil
	}
	view, err := n.Views.Commit(ctx, p.Repo, p.Key)
	if errors.Is(err, views.ErrNothing) || err == nil && view.Kind == run.KindQueue { // a merge queue tells on its pull requests
		return nil
	}
	if err != nil {
		return err
	}
	return n.tell(ctx, subject{repo: p.Repo, head: view.Head}, run.PostSummary, planScope(view), view, false)
}
