package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/run"
)

func outboxTests() map[string]func(*testing.T, Database) {
	return map[string]func(*testing.T, Database){
		"PostingsCoalesce":                   postingsCoalesce,
		"ABodyIsKeptUntilANewOne":            aBodyIsKeptUntilANewOne,
		"OldestAreDueFirst":                  oldestAreDueFirst,
		"ARetryKeepsItsTurn":                 aRetryKeepsItsTurn,
		"WhatGrewMeanwhileStaysDue":          whatGrewMeanwhileStaysDue,
		"ADeadPostingLivesAgainWhenWanted":   aDeadPostingLivesAgainWhenWanted,
		"OwnCommentsAreRemembered":           ownCommentsAreRemembered,
		"PostingsAreFoundByWhatTheyAre":      postingsAreFoundByWhatTheyAre,
		"TheNewestMergeIsTheLastOfItsBranch": theNewestMergeIsTheLastOfItsBranch,
		"PostedStampsRunsOnce":               postedStampsRunsOnce,
		"PostedStampsWhatIsOnShow":           postedStampsWhatIsOnShow,
		"AMergeShowsOnTheHeadThatWasMerged":  aMergeShowsOnTheHeadThatWasMerged,
		"EightWantsAreEight":                 eightWantsAreEight,
	}
}

func (w *world) reply(key, body string) run.Posting {
	return run.Posting{Kind: run.PostReply, Repo: w.repo.ID, Pull: w.pull.ID, Key: key, Body: body}
}

// due lists what is due beside the postings of newWorld, which are sent first.
func (w *world) due() []run.Posting {
	w.t.Helper()
	all, err := w.Due(w.t.Context(), 0)
	check(w.t, "Due", err)
	var replies []run.Posting
	for _, p := range all {
		if p.Kind == run.PostReply {
			replies = append(replies, p)
		}
	}
	return replies
}

func (w *world) want(ps ...run.Posting) {
	w.t.Helper()
	check(w.t, "Want", w.Want(w.t.Context(), ps...))
}

func postingsCoalesce(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 0)
	p := w.reply("c1", "hello")
	p.Run = "01RUN"
	w.want(p, w.reply("c1", "")) // twice in one call is once
	w.want(p)
	got := w.due()
	if len(got) != 1 {
		t.Fatalf("Due() = %+v, want one", got)
	}
	want := p
	want.ID, want.Wanted, want.NextAt = got[0].ID, 2, got[0].NextAt
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Errorf("Due() differs (-want +got):\n%s", diff)
	}
	w.want(w.reply("c2", "hello"))
	if got := w.due(); len(got) != 2 {
		t.Errorf("Due() = %d postings, want another for another key", len(got))
	}
}

func aBodyIsKeptUntilANewOne(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 0)
	for _, step := range []struct{ body, want string }{{"one", "one"}, {"", "one"}, {"two", "two"}} {
		w.want(w.reply("c1", step.body))
		if got := w.due()[0].Body; got != step.want {
			t.Errorf("body after wanting %q = %q, want %q", step.body, got, step.want)
		}
	}
}

func oldestAreDueFirst(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 0)
	w.want(w.reply("b", "x"))
	w.want(w.reply("a", "x"))
	w.want(w.reply("b", "x")) // keeps its place
	later := w.reply("c", "x")
	later.NextAt = time.Now().Add(time.Hour)
	w.want(later)
	got := w.due()
	if len(got) != 2 || got[0].Key != "b" || got[1].Key != "a" {
		t.Errorf("Due() = %+v, want b, a", got)
	}
	limited, err := w.Due(t.Context(), 1)
	check(t, "Due", err)
	if len(limited) != 1 {
		t.Errorf("Due(1) = %d postings, want 1", len(limited))
	}
}

func aRetryKeepsItsTurn(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 0)
	w.want(w.reply("a", "x"))
	p := w.due()[0]
	p.Attempts, p.Error, p.NextAt = 3, "502", time.Now().Add(time.Hour)
	check(t, "Unposted", w.Unposted(t.Context(), p))
	w.want(w.reply("a", "y"))
	if got := w.due(); len(got) != 0 {
		t.Errorf("Due() = %+v, want none before its time", got)
	}
	p.NextAt = time.Now().Add(-time.Second)
	check(t, "Unposted", w.Unposted(t.Context(), p))
	got := w.due()
	if len(got) != 1 || got[0].Attempts != 3 || got[0].Error != "502" || got[0].Body != "y" {
		t.Errorf("Due() = %+v, want the third attempt with the new body", got)
	}
}

func whatGrewMeanwhileStaysDue(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 0)
	w.want(w.reply("a", "x"))
	p := w.due()[0]
	w.want(w.reply("a", "y"))
	p.Digest, p.External = "d1", "100"
	check(t, "Posted", w.Posted(t.Context(), p, run.Shows{}))
	got := w.due()
	if len(got) != 1 || got[0].Posted != 1 || got[0].Wanted != 2 || got[0].Digest != "d1" || got[0].External != "100" {
		t.Fatalf("Due() = %+v, want it still, with what was posted", got)
	}
	dying := p
	dying.Dead, dying.NextAt = true, time.Now().Add(-time.Second)
	check(t, "Unposted", w.Unposted(t.Context(), dying))
	if got := w.due(); len(got) != 1 {
		t.Errorf("Due() after the older one died = %+v, want the newer still", got)
	}
	check(t, "Posted", w.Posted(t.Context(), got[0], run.Shows{}))
	if got := w.due(); len(got) != 0 {
		t.Errorf("Due() = %+v, want none", got)
	}
	check(t, "Posted", w.Posted(t.Context(), p, run.Shows{})) // an older success that comes late takes nothing back
	if got := w.due(); len(got) != 0 {
		t.Errorf("Due() after a late success = %+v, want none", got)
	}
}

func aDeadPostingLivesAgainWhenWanted(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 0)
	w.want(w.reply("a", "x"))
	p := w.due()[0]
	p.Dead, p.Attempts, p.Error, p.NextAt = true, 10, "gone", time.Now().Add(time.Hour)
	check(t, "Unposted", w.Unposted(t.Context(), p))
	stats, err := w.Stats(t.Context())
	check(t, "Stats", err)
	if got := w.due(); len(got) != 0 || stats["postings_dead"] != 1 {
		t.Errorf("Due() = %+v, dead %d, want none and one", got, stats["postings_dead"])
	}
	w.want(w.reply("a", ""))
	got := w.due()
	if len(got) != 1 || got[0].Dead || got[0].Attempts != 0 || got[0].Error != "gone" {
		t.Errorf("Due() = %+v, want it alive with no attempts and its last error", got)
	}
}

func ownCommentsAreRemembered(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 0)
	ctx := t.Context()
	own := func(repo run.RepoID, id string) bool {
		t.Helper()
		own, err := w.OwnComment(ctx, repo, id)
		check(t, "OwnComment", err)
		return own
	}
	w.want(w.reply("a", "x"))
	p := w.due()[0]
	for _, id := range []string{"100", "101"} { // the first was deleted by somebody and posted anew
		p.External = id
		check(t, "Posted", w.Posted(ctx, p, run.Shows{}))
	}
	all, err := w.Due(ctx, 0)
	check(t, "Due", err)
	for _, p := range all {
		if p.Kind == run.PostStatuses {
			p.External = `{"planlatch/plan":"d"}`
			check(t, "Posted", w.Posted(ctx, p, run.Shows{}))
		}
	}
	if !own(w.repo.ID, "100") || !own(w.repo.ID, "101") {
		t.Error("OwnComment() of our comments = false, want true")
	}
	if own(w.repo.ID, "102") || own(w.repo.ID+1, "100") || own(w.repo.ID, `{"planlatch/plan":"d"}`) {
		t.Error("OwnComment() of what is no comment of ours here = true, want false")
	}
}

func postingsAreFoundByWhatTheyAre(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 0)
	ctx := t.Context()
	chat := run.Posting{Kind: run.PostChat, Repo: w.repo.ID, Pull: w.pull.ID, Key: "ops/1"}
	w.want(w.reply("a", "x"), chat)
	find := func(f run.PostingFilter) []run.Posting {
		t.Helper()
		all, err := w.Postings(ctx, f)
		check(t, "Postings", err)
		return all
	}
	got := find(run.PostingFilter{Kind: run.PostChat, Repo: w.repo.ID, Key: "ops/1"})
	if len(got) != 1 || got[0].Kind != run.PostChat || got[0].Pull != w.pull.ID {
		t.Fatalf("Postings() = %+v, want the one of the channel", got)
	}
	if n := len(find(run.PostingFilter{Key: "ops/2"})) + len(find(run.PostingFilter{Dead: true})); n != 0 {
		t.Errorf("Postings() of what there is not = %d", n)
	}
	p := got[0]
	p.External = "C1:17.5"
	check(t, "Posted", w.Posted(ctx, p, run.Shows{}))
	if got := find(run.PostingFilter{Kind: run.PostChat}); got[0].External != "C1:17.5" || got[0].Posted != 1 {
		t.Errorf("Postings() after Posted = %+v, want what was posted", got)
	}
	if own, err := w.OwnComment(ctx, w.repo.ID, "C1:17.5"); err != nil || own {
		t.Errorf("OwnComment() of a chat message = %v, %v, want false", own, err)
	}
	w.want(chat)
	p = find(run.PostingFilter{Kind: run.PostChat})[0]
	p.Dead, p.Error = true, "gone"
	check(t, "Unposted", w.Unposted(ctx, p))
	if got := find(run.PostingFilter{Dead: true, Limit: 5}); len(got) != 1 || got[0].Error != "gone" {
		t.Errorf("Postings() of the dead = %+v, want the one that died", got)
	}
}

// aMergeShowsOnTheHeadThatWasMerged: whoever moves a run of a merge, a later merge for instance, changes what the merged head shows.
func aMergeShowsOnTheHeadThatWasMerged(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	rev := w.newRevision(w.pull, "merge7")
	rev.Kind = run.KindMerge
	merge := w.newRun(0, "merge")
	merge.Kind, merge.Revision = run.KindMerge, 0
	added := w.advance(run.Scope{Pull: w.pull.ID}, run.Change{Revision: rev, New: []run.Run{merge}}).Runs
	due, err := w.Due(t.Context(), 0)
	check(t, "Due", err)
	for _, p := range due {
		check(t, "Posted", w.Posted(t.Context(), p, run.Shows{}))
	}
	w.move(added[0].ID, run.Superseded, run.Change{Action: run.ActSupersede})
	due, err = w.Due(t.Context(), 0)
	check(t, "Due", err)
	var commits []string
	for _, p := range due {
		if p.Kind == run.PostStatuses {
			commits = append(commits, p.Key)
		}
	}
	slices.Sort(commits)
	if want := []string{"merge7", "sha7"}; !slices.Equal(commits, want) {
		t.Errorf("statuses are due on %v, want %v", commits, want)
	}
}

func theNewestMergeIsTheLastOfItsBranch(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 1)
	merge := func(cause string, turn int64) run.Run {
		r := w.newRun(0, cause)
		r.Kind, r.Turn = run.KindMerge, turn
		return r
	}
	later := w.add(merge("later", 9))[0]
	w.add(merge("planned again", 8))
	got, err := w.Newest(t.Context(), run.Filter{Kind: run.KindMerge, States: []run.State{run.Queued, run.Planned}}, later.Project)
	check(t, "Newest", err)
	if got[later.Project].ID != later.ID {
		t.Errorf("Newest() of merges = %+v, want the last one into the branch, %s", got[later.Project], later.ID)
	}
}

func postedStampsRunsOnce(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 2)
	ctx := t.Context()
	added := w.add(w.newRun(0, "a"), w.newRun(1, "a"))
	due, err := w.Due(ctx, 1)
	check(t, "Due", err)
	check(t, "Posted", w.Posted(ctx, due[0], run.Shows{Plans: []run.ID{added[0].ID}}))
	first, err := w.Run(ctx, added[0].ID)
	check(t, "Run", err)
	if first.Posted.IsZero() || first.Epoch != added[0].Epoch {
		t.Errorf("run = posted %v, epoch %d, want a time and epoch %d", first.Posted, first.Epoch, added[0].Epoch)
	}
	check(t, "Posted", w.Posted(ctx, due[0], run.Shows{Plans: []run.ID{added[0].ID, added[1].ID}}))
	again, err := w.Run(ctx, added[0].ID)
	check(t, "Run", err)
	if !again.Posted.Equal(first.Posted) {
		t.Errorf("Posted moved from %v to %v", first.Posted, again.Posted)
	}
	if second, err := w.Run(ctx, added[1].ID); err != nil || second.Posted.IsZero() {
		t.Errorf("second run = posted %v, %v, want a time", second.Posted, err)
	}
}

func postedStampsWhatIsOnShow(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 0)
	ctx := t.Context()
	revise := func(head string) run.Revision {
		return w.advance(run.Scope{Pull: w.pull.ID}, run.Change{Revision: w.newRevision(w.pull, head)}).Revision
	}
	shows := func(r run.Revision) time.Time {
		t.Helper()
		w.want(w.reply("a", r.Head))
		check(t, "Posted", w.Posted(ctx, w.due()[0], run.Shows{Revision: r.ID}))
		got, err := w.Revision(ctx, r.ID)
		check(t, "Revision", err)
		return got.Posted
	}
	first := revise("a")
	at := shows(first)
	if !first.Posted.IsZero() || at.IsZero() {
		t.Fatalf("posted %v, then %v; want never, then a time", first.Posted, at)
	}
	if again := shows(first); !again.Equal(at) {
		t.Errorf("posted %v, then %v; want the first time", at, again)
	}
	if same := revise("a"); !same.Posted.Equal(at) {
		t.Errorf("the same revision again was posted %v, want %v", same.Posted, at)
	}

	// Who looks now sees another one; what a push goes back to has to be shown again.
	shows(revise("b"))
	if back := revise("a"); back.ID != first.ID || !back.Posted.IsZero() {
		t.Errorf("back at revision %d, posted %v; want %d, not yet", back.ID, back.Posted, first.ID)
	}
	if again := shows(first); !again.After(at) {
		t.Errorf("posted %v, want later than %v", again, at)
	}
}

func eightWantsAreEight(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 0)
	atOnce(func(i int) {
		ps := []run.Posting{w.reply("a", "x"), w.reply("b", "x")}
		if i%2 == 1 {
			ps[0], ps[1] = ps[1], ps[0]
		}
		for range 5 {
			if err := w.Want(t.Context(), ps...); err != nil {
				t.Errorf("Want() error = %v", err)
			}
		}
	})
	for _, p := range w.due() {
		if p.Wanted != writers*5 {
			t.Errorf("posting %s wanted %d times, want %d", p.Key, p.Wanted, writers*5)
		}
	}
}

func marksAreKept(t *testing.T, db Database) {
	s := db.Open(t, Options{})
	ctx := t.Context()
	if got, err := s.Marked(ctx, "seen"); err != nil || got != "" {
		t.Errorf("Marked() before Mark = %q, %v, want none", got, err)
	}
	for _, value := range []string{"one", "two"} {
		check(t, "Mark", s.Mark(ctx, "seen", value))
		if got, err := s.Marked(ctx, "seen"); err != nil || got != value {
			t.Errorf("Marked() = %q, %v, want %q", got, err, value)
		}
	}
}

func pingAnswers(t *testing.T, db Database) {
	check(t, "Ping", db.Open(t, Options{}).Ping(t.Context()))
}

func statsCountStatesAndOutbox(t *testing.T, db Database) {
	w := newWorld(t, db.Open(t, Options{}), 2)
	added := w.add(w.newRun(0, "a"), w.newRun(0, "b"), w.newRun(1, "a"))
	w.move(added[0].ID, run.Failed, run.Change{})
	got, err := w.Stats(t.Context())
	check(t, "Stats", err)
	for name, want := range map[string]int{"run_queued": 2, "run_failed": 1, "run_applied": 0, "postings_due": 2, "postings_dead": 0} {
		if n, ok := got[name]; n != want || !ok {
			t.Errorf("Stats()[%s] = %d, %v, want %d", name, n, ok, want)
		}
	}
}

func aClosedStoreRefusesClearly(t *testing.T, db Database) {
	s := db.Open(t, Options{})
	check(t, "Close", s.Close())
	check(t, "Close", s.Close())
	if err := s.Ping(t.Context()); err == nil {
		t.Error("Ping() of a closed store succeeded")
	}
}
