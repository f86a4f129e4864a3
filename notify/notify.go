// Package notify posts what people read: the summary comment, statuses, results and answers. It compares what is wanted with what was
// posted and sends the difference.
//
// It promises that a wanted posting is sent until the host takes it or it is given up on for a recorded reason, that a state-like one
// shows the latest state whatever was missed in between, and that no failed notification fails a run. It renders at the moment it sends. Of
// several replicas one sends.
package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/planlatch/planlatch/facts"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/views"
)

// Notifier is the posting loop. Its methods are safe for concurrent use.
type Notifier struct {
	Store run.Store
	Views *views.Viewer
	Hosts map[string]vcs.Host
	Log   *slog.Logger
	// Channels are told what happens, beside the host itself.
	Channels []Channel

	mu       sync.Mutex
	active   map[int64]bool
	sent     map[int64]time.Time  // when a posting was last sent
	speaking map[string]bool      // channels that are sending
	quiet    map[string]time.Time // until when a channel is
	failed   map[string]int       // how often in a row a channel did not take what it was told
	sights   map[run.PullID]sight
}

const (
	abreast    = 4                // postings sent to VCS hosts at once; each chat channel has one more
	atOnce     = 400              // postings looked at in a round
	tick       = time.Second      // covers kicks that got lost
	firstTry   = 2 * time.Second  // wait after the first failure; doubled after each
	longest    = 10 * time.Minute // between two tries
	most       = 40               // tries before a posting is dead: about five hours
	writing    = 5 * time.Second  // to write down what was sent, at the end of the process
	remembered = 10 * time.Minute // when a posting was sent; longer than a round of the loop takes
	calm       = time.Second      // between two edits while runs are still going: a hundred projects must not make a hundred edits
)

// Run sends until ctx ends, and returns once nothing is being sent.
func (n *Notifier) Run(ctx context.Context, kicks <-chan struct{}) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	n.mu.Lock()
	n.active, n.sent = map[int64]bool{}, map[int64]time.Time{}
	n.speaking, n.quiet, n.sights = map[string]bool{}, map[string]time.Time{}, map[run.PullID]sight{}
	n.failed = map[string]int{}
	n.mu.Unlock()
	free := make(chan struct{}, abreast)
	every := time.NewTicker(tick)
	defer every.Stop()
	again := make(chan struct{}, 1)
	wake := func() {
		select {
		case again <- struct{}{}:
		default:
		}
	}
	for {
		listed := time.Now()
		due, err := n.due(ctx)
		if err != nil && ctx.Err() == nil {
			n.Log.Error("look for postings", "error", err)
		}
		for _, p := range due {
			if n.early(ctx, p) {
				continue
			}
			if chatKind(p.Kind) {
				n.aside(ctx, &wg, p, listed, wake)
				continue
			}
			if !n.take(p.ID, listed) {
				continue
			}
			select {
			case free <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			wg.Go(func() {
				defer func() {
					n.let(p.ID)
					<-free
					wake()
				}()
				n.post(ctx, p)
			})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-kicks:
		case <-again:
		case <-every.C:
		}
	}
}

// due lists what this process has to send, which is nothing while another one sends.
func (n *Notifier) due(ctx context.Context) ([]run.Posting, error) {
	leads, err := n.Store.Leads(ctx)
	if err != nil || !leads {
		return nil, err
	}
	return n.Store.Due(ctx, atOnce)
}

// Flush returns once nothing is due and nothing is being sent, or when ctx ends, while Run works. What a host did not take stays for the next
// start, and what another process sends is its concern.
func (n *Notifier) Flush(ctx context.Context) {
	look := time.NewTicker(tick / 20)
	defer look.Stop()
	for {
		due, err := n.due(ctx)
		if err == nil && len(due) == 0 && !n.sending() { // in this order: what was due and is not any more was sent, or is
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

func (n *Notifier) sending() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.active) > 0
}

// aside sends a posting of a chat channel, which never keeps the others waiting. One whose channel is quiet for long is put off, so that a
// channel that is down does not fill the list of what is due.
func (n *Notifier) aside(ctx context.Context, wg *sync.WaitGroup, p run.Posting, listed time.Time, wake func()) {
	ok, until := n.speak(p)
	if !ok && time.Until(until) > putOff {
		p.NextAt = until
		if err := n.Store.Unposted(ctx, p); err != nil && ctx.Err() == nil {
			n.Log.Error("put off a posting", "kind", p.Kind, "key", p.Key, "error", err)
		}
	}
	if !ok {
		return
	}
	if !n.take(p.ID, listed) {
		n.spoken(p)
		return
	}
	wg.Go(func() {
		n.post(ctx, p)
		n.let(p.ID)
		if quiet := n.spoken(p); quiet > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(quiet):
			}
		}
		wake()
	})
}

// early says whether a posting that shows a state had better wait: it was sent a moment ago, and more will change soon. What is final is
// never early.
func (n *Notifier) early(ctx context.Context, p run.Posting) bool {
	if p.Kind != run.PostSummary && p.Kind != run.PostStatuses || p.Pull == 0 {
		return false
	}
	n.mu.Lock()
	recent := time.Since(n.sent[p.ID]) < calm
	n.mu.Unlock()
	if !recent {
		return false
	}
	live, err := n.Store.Runs(ctx, run.Filter{Pull: p.Pull, States: []run.State{run.Queued, run.Planning, run.Confirmed, run.Applying}, Limit: 1})
	return err == nil && len(live) > 0
}

// take marks a posting as being sent; false if it is already, or was since it was listed: what was listed then is out of date.
func (n *Notifier) take(id int64, listed time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.active[id] || !n.sent[id].Before(listed) {
		return false
	}
	n.active[id] = true
	return true
}

func (n *Notifier) let(id int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.active, id)
	for old, at := range n.sent {
		if time.Since(at) > remembered {
			delete(n.sent, old)
		}
	}
	n.sent[id] = time.Now()
}

// post sends one posting and records how that went.
func (n *Notifier) post(ctx context.Context, p run.Posting) {
	sent, shows, err := n.send(ctx, p)
	if err == nil {
		// What is out there is written down even if we are told to stop now: else the next start would say it again.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writing)
		defer cancel()
		if err = n.Store.Posted(ctx, sent, shows); err != nil {
			n.Log.Error("record a posting", "kind", p.Kind, "key", p.Key, "error", err)
		}
		return
	}
	if ctx.Err() != nil {
		return
	}
	if errors.Is(err, errSoon) {
		p.NextAt, p.Error = time.Now().Add(calm), ""
		if err := n.Store.Unposted(ctx, p); err != nil {
			n.Log.Error("put off a posting", "kind", p.Kind, "key", p.Key, "error", err)
		}
		return
	}
	p.Attempts++
	p.Error = err.Error()
	p.NextAt = time.Now().Add(delay(p.Attempts, err))
	p.Dead = p.Attempts >= most || (errors.Is(err, vcs.ErrNotFound) || errors.Is(err, vcs.ErrDenied) || errors.Is(err, ErrRefused)) && p.Attempts >= 5
	n.Log.Warn("a posting was not taken", "kind", p.Kind, "key", p.Key, "attempt", p.Attempts, "dead", p.Dead, "error", err)
	if err := n.Store.Unposted(ctx, p); err != nil {
		n.Log.Error("record a failed posting", "kind", p.Kind, "key", p.Key, "error", err)
	}
}

// errSoon puts off what can be said whole in a moment: other runs of the same merge or command are still going.
var errSoon = errors.New("not everything has ended yet")

func delay(attempts int, err error) time.Duration {
	var retry *vcs.RetryError
	if errors.As(err, &retry) && retry.After > 0 {
		return retry.After
	}
	wait := firstTry
	for range min(attempts-1, 20) {
		wait = min(2*wait, longest)
	}
	return wait
}

// send renders a posting as things stand and sends what differs from what was posted. It returns the posting as posted, and what people can
// see from now on.
func (n *Notifier) send(ctx context.Context, p run.Posting) (run.Posting, run.Shows, error) {
	if chatKind(p.Kind) {
		sent, err := n.chat(ctx, p)
		return sent, run.Shows{}, err
	}
	repo, err := n.Store.Repo(ctx, p.Repo)
	if err != nil {
		return p, run.Shows{}, err
	}
	host, ok := n.Hosts[repo.Host]
	if !ok {
		return p, run.Shows{}, fmt.Errorf("host %q is not configured any more: %w", repo.Host, vcs.ErrNotFound)
	}
	to := address{host: host, repo: facts.VCS(repo)}
	if p.Pull != 0 {
		if to.pull, err = n.Store.Pull(ctx, p.Pull); err != nil {
			return p, run.Shows{}, err
		}
	}
	switch p.Kind {
	case run.PostSummary:
		return n.summary(ctx, p, to)
	case run.PostStatuses:
		return n.statuses(ctx, p, to)
	case run.PostReply:
		sent, err := n.say(ctx, p, to, p.Body)
		return sent, run.Shows{}, err
	default:
		return n.notice(ctx, p, to)
	}
}

// address is where a posting goes.
type address struct {
	host vcs.Host
	repo vcs.Repo
	pull run.Pull
}

// summary edits the one comment of a pull request. A pull request that touches no project has none.
func (n *Notifier) summary(ctx context.Context, p run.Posting, to address) (run.Posting, run.Shows, error) {
	view, snap, err := n.Views.Pull(ctx, p.Pull)
	if errors.Is(err, views.ErrNothing) {
		return p, run.Shows{}, nil
	}
	if err != nil {
		return p, run.Shows{}, err
	}
	n.seen(p.Pull, view, snap != nil)
	if err := n.tell(ctx, subject{repo: p.Repo, pull: p.Pull}, run.PostSummary, planScope(view), view, snap != nil); err != nil {
		return p, run.Shows{}, err
	}
	shows := run.Shows{Revision: view.Revision}
	for _, project := range view.Projects {
		if project.Run.Posted.IsZero() && (project.Run.EffectDigest != "" || run.Stopped(project.Run, project.Findings)) {
			shows.Plans = append(shows.Plans, project.Run.ID)
		}
	}
	if view.Style == report.StyleOff {
		return p, run.Shows{}, nil // nobody sees a plan: commands name the commit they mean
	}
	if silent(view) && p.External == "" {
		return p, shows, nil
	}
	body := report.Summary(view, to.host.Limits().Comment)
	if digest(body) == p.Digest {
		return p, shows, nil
	}
	id, err := to.host.Comment(ctx, to.repo, to.pull.Number, p.External, report.SummaryMarker, body)
	if err != nil {
		return p, run.Shows{}, fmt.Errorf("post the summary: %w", err)
	}
	p.External, p.Digest = id, digest(body)
	return p, shows, nil
}

// silent says whether a view has nothing that is worth a comment.
func silent(v report.View) bool {
	return len(v.Projects) == 0 && len(v.Selection) == 0 && len(v.Problems) == 0 && len(v.Notes) == 0
}

// notice posts what must notify, always as a new comment: an apply's result, a merge that waits, an interruption.
func (n *Notifier) notice(ctx context.Context, p run.Posting, to address) (run.Posting, run.Shows, error) {
	r, err := n.Store.Run(ctx, p.Run)
	if err != nil {
		return p, run.Shows{}, err
	}
	runs, whole, err := n.concerned(ctx, r, p.Kind)
	switch {
	case err != nil:
		return p, run.Shows{}, err
	case !whole:
		return p, run.Shows{}, errSoon
	case len(runs) == 0:
		return p, run.Shows{}, nil
	}
	view, err := n.Views.Runs(ctx, runs)
	if err != nil {
		return p, run.Shows{}, err
	}
	about := subject{repo: r.Repo, pull: r.Pull, head: view.Head, run: r.ID}
	if err := n.tell(ctx, about, p.Kind, p.Key, view, true); err != nil {
		return p, run.Shows{}, err
	}
	if to.pull.ID == 0 {
		return p, run.Shows{}, nil // nobody to tell here; the statuses and the channels do
	}
	if view.Style == report.StyleOff && p.Kind == run.PostResult {
		return p, run.Shows{}, nil // the statuses tell
	}
	if to.pull.MergedBy != "" {
		view.Mention = "@" + to.pull.MergedBy
	}
	limit := to.host.Limits().Comment - 200
	var body string
	switch p.Kind {
	case run.PostResult:
		body = report.Result(view, limit)
	case run.PostMergeWaits:
		body = report.MergeWaits(view, limit)
	default:
		body = report.Interrupted(view, limit)
	}
	sent, err := n.say(ctx, p, to, body)
	return sent, run.Shows{}, err
}

// concerned lists the runs that a notice about r tells of, and whether all that belongs to it has come to its end.
func (n *Notifier) concerned(ctx context.Context, r run.Run, kind run.PostingKind) (runs []run.Run, whole bool, err error) {
	switch kind {
	case run.PostResult:
		return n.Views.Batch(ctx, r)
	case run.PostMergeWaits:
		runs, whole, err = n.Views.Waiting(ctx, r)
		return slices.DeleteFunc(runs, func(r run.Run) bool { return r.State != run.Planned }), whole, err // moved on meanwhile
	default:
		return []run.Run{r}, true, nil
	}
}

// say posts a new comment once: the hidden key finds it again if we died between posting it and writing that down.
func (n *Notifier) say(ctx context.Context, p run.Posting, to address, body string) (run.Posting, error) {
	if digest(body) == p.Digest {
		return p, nil
	}
	marker := fmt.Sprintf("<!-- planlatch:said:%s -->", digest(p.Key + "\x00" + body)[:24])
	id, err := to.host.Comment(ctx, to.repo, to.pull.Number, "", marker, body+"\n"+marker)
	if err != nil {
		return p, fmt.Errorf("post a comment: %w", err)
	}
	p.External, p.Digest = id, digest(body)
	return p, nil
}

func digest(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}
