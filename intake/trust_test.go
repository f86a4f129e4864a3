package intake_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/fakehost"
)

// stranger is a pull request of somebody who cannot write.
type stranger struct {
	*office
	number int
	head   string
	login  string
	from   string // the repository it comes from
}

// fork opens a pull request from a fork.
func (o *office) fork(draft bool) *stranger {
	o.t.Helper()
	fork, err := o.host.Fork(repository, "mallory")
	check(o.t, err)
	check(o.t, o.host.SetPermission(fork, "mallory", fakehost.Admin))
	s := &stranger{office: o, login: "mallory", from: fork}
	s.head, err = o.host.Push(fork, "mallory", "evil", fakehost.Commit{Files: project("one")})
	check(o.t, err)
	s.number, err = o.host.OpenPull(repository, "mallory", fakehost.NewPull{Title: "Hello", Head: "mallory:evil", Draft: draft})
	check(o.t, err)
	s.event()
	s.shows(s.number)
	return s
}

// demoted opens a pull request from the repository itself, by alice, who may write no more.
func (o *office) demoted() *stranger {
	o.t.Helper()
	check(o.t, o.host.SetPermission(repository, "bob", fakehost.Admin))
	s := &stranger{office: o, login: "alice", from: repository}
	var err error
	s.head, err = o.host.Push(repository, "alice", "change", fakehost.Commit{Files: project("one")})
	check(o.t, err)
	s.number, err = o.host.OpenPull(repository, "alice", fakehost.NewPull{Title: "Hello", Head: "change"})
	check(o.t, err)
	check(o.t, o.host.SetPermission(repository, "alice", fakehost.Read))
	s.event()
	s.shows(s.number)
	return s
}

func (s *stranger) event() { s.hand(vcs.Event{Kind: vcs.EventPull, Number: s.number}) }

// baseMoves changes what the project is made from, on main, and has that looked at.
func (s *stranger) baseMoves() {
	s.t.Helper()
	_, err := s.host.Push(repository, "bob", "main", fakehost.Commit{Files: map[string]string{"network/moved.tf": "# " + strconv.FormatInt(time.Now().UnixNano(), 10) + "\n"}})
	check(s.t, err)
	s.stale()
}

func (s *stranger) stale() {
	s.t.Helper()
	check(s.t, s.intake.Stale(s.t.Context(), strconv.FormatInt(int64(s.pull(s.number).ID), 10)))
}

// push pushes as the author and returns the new head. The server may do it with write permission of another, if the author lost his.
func (s *stranger) push() string {
	s.t.Helper()
	branch := map[string]string{"mallory": "evil", "alice": "change"}[s.login]
	who := map[string]string{"mallory": "mallory", "alice": "bob"}[s.login]
	head, err := s.host.Push(s.from, who, branch, fakehost.Commit{Files: project(strconv.FormatInt(time.Now().UnixNano(), 10))})
	check(s.t, err)
	return head
}

// TestAStrangersCodeWaitsOnEveryPath: whatever happens to a pull request, nothing of it runs before a maintainer's word on that head.
func TestAStrangersCodeWaitsOnEveryPath(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]func(s *stranger) (head string){
		"Opened":    func(s *stranger) string { return s.head },
		"Again":     func(s *stranger) string { s.event(); return s.head },
		"BaseMoved": func(s *stranger) string { s.baseMoves(); return s.head },
		"TitleEdited": func(s *stranger) string {
			check(s.t, s.host.SetTitle(repository, s.number, s.login, "planlatch plan"))
			s.event()
			return s.head
		},
		"Pushed": func(s *stranger) string { head := s.push(); s.event(); return head },
		"PushedAndBaseFirst": func(s *stranger) string {
			head := s.push()
			s.baseMoves()
			s.event()
			return head
		},
		"PushedAfterTheWord": func(s *stranger) string {
			s.says("bob", s.number, "planlatch plan")
			head := s.push()
			s.event()
			s.baseMoves()
			return head
		},
		"PushedUnderTheWord": func(s *stranger) string { // the word was given for what stood there before
			head := s.push()
			s.says("bob", s.number, "planlatch plan")
			return head
		},
		"PushedBeforeItsReport": func(s *stranger) string { // planlatch knows it, but who says the word has seen the other
			head := s.push()
			s.event()
			s.says("bob", s.number, "planlatch plan")
			return head
		},
		"AskedInTheSecondOfTheReport": func(s *stranger) string { // hosts tell no finer time
			rev, err := s.store.LatestRevision(s.t.Context(), s.pull(s.number).ID, run.KindChange)
			check(s.t, err)
			s.said("bob", s.number, "planlatch plan", rev.Posted.Truncate(time.Second).Add(time.Second-1))
			return s.head
		},
		"PushedUnderTheWordWithItsCommit": func(s *stranger) string {
			head := s.push()
			s.says("bob", s.number, "planlatch plan --at "+s.head)
			return head
		},
		"ClosedAndReopened": func(s *stranger) string {
			check(s.t, s.host.ClosePull(repository, s.number, s.login))
			s.event()
			check(s.t, s.host.Reopen(repository, s.number, s.login))
			s.event()
			return s.head
		},
		"DraftAndReady": func(s *stranger) string {
			check(s.t, s.host.SetDraft(repository, s.number, s.login, true))
			s.event()
			check(s.t, s.host.SetDraft(repository, s.number, s.login, false))
			s.event()
			return s.head
		},
		"AnotherBase": func(s *stranger) string {
			_, err := s.host.Push(repository, "bob", "next", fakehost.Commit{Files: map[string]string{"x": "y"}})
			check(s.t, err)
			check(s.t, s.host.SetBase(repository, s.number, "bob", "next"))
			s.event()
			check(s.t, s.host.SetBase(repository, s.number, "bob", "main"))
			s.event()
			return s.head
		},
		"AskedByTheAuthor":    func(s *stranger) string { s.says(s.login, s.number, "planlatch plan"); return s.head },
		"AskedByAReader":      func(s *stranger) string { s.says("erin", s.number, "planlatch plan"); return s.head },
		"AppliedByMaintainer": func(s *stranger) string { s.says("bob", s.number, "planlatch apply"); return s.head },
		"ApprovedByAnOwner":   func(s *stranger) string { s.says("bob", s.number, `planlatch approve --reason "x"`); return s.head },
		"Reconciled":          func(s *stranger) string { check(s.t, s.intake.Reconcile(s.t.Context(), "github")); return s.head },
		"PermissionFails": func(s *stranger) string {
			s.host.SetFault(func(r *http.Request) *fakehost.Fault {
				if strings.Contains(r.URL.Path, "/permission") {
					return &fakehost.Fault{Status: http.StatusUnprocessableEntity}
				}
				return nil
			})
			head := s.push()
			_ = s.tries() // it is an error, or it waits
			return head
		},
	} {
		for kind, opens := range map[string]func(o *office) *stranger{
			"Fork":    func(o *office) *stranger { return o.fork(false) },
			"Demoted": (*office).demoted,
		} {
			if kind == "Demoted" && !slices.Contains([]string{"Opened", "Pushed", "BaseMoved", "ClosedAndReopened", "PermissionFails", "AskedByTheAuthor"}, name) {
				continue
			}
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				s := opens(open(t))
				if runs := s.runs(path(s)); len(runs) > 0 {
					t.Errorf("%d runs without a maintainer's word: %+v", len(runs), runs[0])
				}
			})
		}
	}
}

// tries hands over an event whose handling may fail.
func (s *stranger) tries() error {
	s.t.Helper()
	s.seq++
	body, err := json.Marshal(vcs.Event{Kind: vcs.EventPull, Number: s.number, Repo: s.repo})
	check(s.t, err)
	id := strconv.Itoa(s.seq)
	_, err = s.store.Deliver(s.t.Context(), run.Delivery{Host: "github", ID: id, Event: body, Received: time.Now()})
	check(s.t, err)
	return s.intake.Delivery(s.t.Context(), "github/"+id)
}

// TestAMaintainersWordOutlivesAMoveOfTheBase, since the head is the one that was seen; one that nobody said anything about does not go on when
// its author loses the permission that it was planned under.
func TestAMaintainersWordOutlivesAMoveOfTheBase(t *testing.T) {
	t.Parallel()
	t.Run("Said", func(t *testing.T) {
		t.Parallel()
		s := open(t).fork(false)
		s.says("bob", s.number, "planlatch plan")
		for range 2 {
			before := len(s.runs(s.head))
			s.baseMoves()
			if after := len(s.runs(s.head)); before == 0 || after != before+1 {
				t.Errorf("%d runs, then %d; want one more for the new base", before, after)
			}
		}
	})
	t.Run("NotSaid", func(t *testing.T) {
		t.Parallel()
		o := open(t)
		number, head := o.proposes()
		check(t, o.host.SetPermission(repository, "alice", fakehost.Read))
		s := &stranger{office: o, number: number, head: head, login: "alice", from: repository}
		before := len(s.runs(head))
		s.baseMoves()
		if after := len(s.runs(head)); before != 1 || after != 1 {
			t.Errorf("%d runs, then %d; want no other without a word", before, after)
		}
	})
}

// TestARunThatNeedsAPersonIsNoWordForAnotherHead: it stays on show after a push.
func TestARunThatNeedsAPersonIsNoWordForAnotherHead(t *testing.T) {
	t.Parallel()
	s := open(t).fork(false)
	s.says("bob", s.number, "planlatch plan")
	runs := s.runs(s.head)
	if len(runs) != 1 {
		t.Fatalf("%d runs, want one", len(runs))
	}
	_, err := s.store.Advance(t.Context(), run.Scope{Runs: []run.At{{ID: runs[0].ID}}}, func(sn run.Snapshot) (run.Change, error) {
		r := sn.Runs[0]
		r.State = run.Interrupted
		return run.Change{Action: run.ActInterrupt, Runs: []run.Run{r}}, nil
	})
	check(t, err)
	head := s.push()
	s.event()
	s.baseMoves()
	if runs := s.runs(head); len(runs) > 0 {
		t.Errorf("%d runs of a head that nobody spoke about: %+v", len(runs), runs[0])
	}
}

// stoppedRun is alice's pull request, whose plan policy stopped before anything ran, as people see it.
func (o *office) stoppedRun(level run.Level) (number int, head string) {
	o.t.Helper()
	number, head = o.proposes()
	id := o.runs(head)[0].ID
	o.claims(id)
	planned := o.runs(head)[0]
	planned.PolicyDigest, planned.InputsDigest = "policy", "inputs"
	out := run.PlanOutcome{Failed: "policy stopped it before anything ran: external-program", Planned: planned, Findings: []run.Finding{{
		Set: "sources", Rule: "external-program", Level: level, Resource: "data.external.x", Message: "runs a program", Value: "data.external.x", Source: true,
		Owners: run.Owners{Users: []string{"bob"}},
	}}}
	o.advance(id, func(s run.Snapshot) (run.Change, error) { return run.SettlePlan(s, id, out) })
	return number, head
}

func TestAnOwnerLetsRunWhatPolicyStopped(t *testing.T) {
	t.Parallel()
	o := open(t)
	number, head := o.stoppedRun(run.Soft)
	contains(t, o.says("bob", number, `planlatch approve --reason "reviewed"`), "Nothing to `approve`") // nobody could see it
	if runs := o.runs(head); len(runs) != 1 {
		t.Fatalf("%d runs, want the one there was", len(runs))
	}
	o.shows(number, o.runs(head)[0].ID)
	for who, told := range map[string]string{"alice": "Who wrote the change cannot override", "mallory": "you may not `approve`", "bob": "approve needs a reason"} {
		reason := ` --reason "reviewed"`
		if who == "bob" {
			reason = ""
		}
		contains(t, o.says(who, number, "planlatch approve"+reason), told)
	}
	if answer := o.says("bob", number, `planlatch approve --reason "reviewed"`); answer != "" {
		t.Errorf("answered %q, want it done", answer)
	}
	runs := o.runs(head)
	if len(runs) != 2 || runs[0].State != run.Queued || runs[0].Actor != "bob" {
		t.Fatalf("runs = %+v, want one more in the queue", runs)
	}
	overrides, err := o.store.Overrides(t.Context(), o.pull(number).ID)
	if err != nil || len(overrides) != 1 || overrides[0].Effect != "source:inputs" || overrides[0].Policy != "policy" {
		t.Errorf("overrides = %+v, %v; want one that is bound to what was judged", overrides, err)
	}
}

func TestNobodyLetsRunWhatAHardSetStopped(t *testing.T) {
	t.Parallel()
	o := open(t)
	number, head := o.stoppedRun(run.Hard)
	o.shows(number, o.runs(head)[0].ID)
	contains(t, o.says("bob", number, `planlatch approve --reason "reviewed"`), "Rule external-program is hard: it cannot be overridden, only fixed")
	o.says("bob", number, "planlatch apply")
	if runs := o.runs(head); len(runs) != 1 {
		t.Errorf("%d runs, want the one there was", len(runs))
	}
}
