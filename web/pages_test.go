package web_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/planlatch/planlatch/operator"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/views"
	"github.com/planlatch/planlatch/web"
)

func TestStartPageOfAnEmptyServerTellsHowToBegin(t *testing.T) {
	t.Parallel()
	s := setup(t)
	p := s.page(s.member(), "/")
	empty := find(p, "empty")
	if len(empty) != 1 || !strings.Contains(text(empty[0]), "add a webhook") {
		t.Fatalf("the page has no beginning for people: %s", text(p))
	}
	if got, want := texts(empty[0], "copy"), []string{s.server.URL + "/webhooks/gitea"}; !cmp.Equal(got, want) {
		t.Errorf("webhooks = %v, want %v", got, want)
	}
}

// section returns the section whose heading begins with a title.
func section(t *testing.T, n *html.Node, title string) *html.Node {
	t.Helper()
	for _, s := range find(n, "<section") {
		if h := find(s, "<h2"); len(h) > 0 && strings.HasPrefix(text(h[0]), title) {
			return s
		}
	}
	t.Fatalf("no section %q in: %s", title, text(n))
	return nil
}

func TestStartPageListsWhatRunsFirst(t *testing.T) {
	t.Parallel()
	s := setup(t, func(o *web.Options) {
		o.Ignored = func() []web.Ignored {
			return []web.Ignored{{At: time.Now().Add(-3*time.Hour - 30*time.Minute), Host: "gitea", ID: "77", Event: "push", Reason: "branch does not plan"}}
		}
	})
	s.settled(s.planning(seed{label: "same"}), views.Kept{}, run.PlanOutcome{Unchanged: true})
	s.settled(s.planning(seed{label: "prod/database", number: 215, title: "Encrypt it", url: "https://git.example/acme/infra/pulls/215"}), views.Kept{Plan: replaced()}, run.PlanOutcome{})
	held := s.settled(s.planning(seed{label: "held"}), views.Kept{}, run.PlanOutcome{})
	s.advance(held, func(snap run.Snapshot) (run.Change, error) { return run.Confirm(snap, []run.ID{held.ID}, "erin") })
	s.planning(seed{label: "busy"})
	s.queued(seed{label: "first"})
	s.queued(seed{label: "second"})
	if _, err := operator.Pause(t.Context(), s.store, "//prod/**", "audit", "erin"); err != nil {
		t.Fatal(err)
	}
	p := s.page(s.member(), "/")

	var got []string
	for _, h := range find(p, "<h2") {
		got = append(got, text(h))
	}
	want := []string{"Running now 1", "In the queue 3", "Planned, not applied yet 1", "Ended 1", "Projects held 1", "Deliveries that started nothing 1"}
	if !cmp.Equal(got, want) {
		t.Errorf("sections = %q, want %q", got, want)
	}
	queue := section(t, p, "In the queue")
	if got, want := texts(queue, "name"), []string{"held", "first", "second"}; !cmp.Equal(got, want) {
		t.Errorf("queue = %v, want %v", got, want)
	}
	if got, want := texts(queue, "note-cell"), []string{"next", "1 run ahead", "2 runs ahead"}; !cmp.Equal(got, want) {
		t.Errorf("places = %v, want %v", got, want)
	}
	planned := section(t, p, "Planned")
	if got, want := texts(planned, "chip"), []string{"1 replace", "1 add", "1 change"}; !cmp.Equal(got, want) {
		t.Errorf("numbers = %v, want %v", got, want)
	}
	if a := find(planned, "<a"); attr(a[1], "href") != "https://git.example/acme/infra/pulls/215" || text(a[1]) != "#215" {
		t.Errorf("link to the pull request = %q %q", text(a[1]), attr(a[1], "href"))
	}
	if got := text(section(t, p, "Projects held")); !strings.Contains(got, "held acme/infra held by #214") {
		t.Errorf("locks = %q", got)
	}
	if got := text(section(t, p, "Deliveries")); !strings.Contains(got, "branch does not plan gitea · push · 77 3 h ago") {
		t.Errorf("ignored deliveries = %q", got)
	}
	if got := text(find(p, "note")[0]); !strings.Contains(got, "Applies are paused for //prod/** by erin") {
		t.Errorf("pause = %q", got)
	}
}

func TestStartPageListsWhatNobodyWasTold(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r := s.queued(seed{label: "prod/database"})
	want := run.Posting{Kind: run.PostEvent, Repo: r.Repo, Pull: r.Pull, Key: "infra-slack/pull:1/plan:abc"}
	if err := s.store.Want(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	all, err := s.store.Postings(t.Context(), run.PostingFilter{Kind: run.PostEvent})
	if err != nil {
		t.Fatal(err)
	}
	dead := all[0]
	dead.Dead, dead.Error = true, "tell infra-slack: Slack says not_in_channel"
	if err := s.store.Unposted(t.Context(), dead); err != nil {
		t.Fatal(err)
	}
	if got := text(section(t, s.page(s.member(), "/"), "Could not be posted")); !strings.Contains(got, "notify infra-slack: tell infra-slack: Slack says not_in_channel acme/infra #214") {
		t.Errorf("what could not be posted = %q", got)
	}
}

func TestRunPageAnswersFirstAndShowsThePlan(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r := s.planning(seed{label: "prod/database", title: "Encrypt it", author: "alice", actor: "alice", settings: run.Settings{Backend: "s3", Environment: "production"}})
	s.write(r, "plan", 30, "\x1b[1mInitializing\x1b[0m\n")
	advice := run.Finding{Set: "baseline", Rule: "tags", Level: run.Advisory, Message: "No owner."}
	hard := run.Finding{Set: "net", Rule: "public", Level: run.Hard, Message: "Open to everybody."}
	r = s.settled(r, views.Kept{Plan: replaced()}, run.PlanOutcome{Findings: []run.Finding{advice, soft(), hard}})
	p := s.page(s.member(), "/runs/"+string(r.ID))

	if got := text(find(p, "<h1")[0]); got != "prod/database planned" {
		t.Errorf("heading = %q", got)
	}
	if got := text(find(p, "answer")[0]); got != "1 replace 1 add 1 change Waiting for 2 things before it can apply." {
		t.Errorf("answer = %q", got)
	}
	if got := text(find(p, "note")[0]); !strings.Contains(got, "This plan replaces things") || !strings.Contains(got, "aws_db_instance.main: replaced: storage_encrypted forces it") {
		t.Errorf("danger = %q", got)
	}
	var rules []string
	for _, f := range find(p, "finding") {
		rules = append(rules, text(find(f, "<b")[0]))
	}
	if want := []string{"public", "stateful-replace", "tags"}; !cmp.Equal(rules, want) {
		t.Errorf("findings = %v, want %v, worst first", rules, want)
	}
	if got := text(find(p, "fix")[0]); !strings.HasPrefix(got, "Fix: Create the new one beside it") {
		t.Errorf("fix = %q", got)
	}
	if got, want := texts(p, "command"), []string{`planlatch approve -p prod/database --reason "…"`, "planlatch apply -p prod/database"}; !cmp.Equal(got, want) {
		t.Errorf("commands = %q, want %q", got, want)
	}
	objects := find(p, "object")
	var heads []string
	for _, o := range objects {
		heads = append(heads, attr(o, "class")+": "+text(find(o, "<summary")[0]))
	}
	if want := []string{
		"object replace: -/+ aws_db_instance.main replaced: storage_encrypted forces it main.tf:14",
		"object change: ~ aws_db_parameter_group.main changed main.tf:40", `object add: + aws_route53_record.db["internal"] created dns.tf:3`,
		"object change: ~ endpoint changed",
	}; !cmp.Equal(heads, want) {
		t.Errorf("objects: %s", cmp.Diff(want, heads))
	}
	if got, want := texts(objects[0], "attr"), []string{
		"storage_encrypted false → true forces replacement", `address "db.acme.example" → (known after apply)`, "password (sensitive)",
	}; !cmp.Equal(got, want) {
		t.Errorf("attributes: %s", cmp.Diff(want, got))
	}
	if got := attr(find(p, "term")[0].FirstChild, "class"); got != "bold" {
		t.Errorf("the log begins with class %q, want bold", got)
	}
	marks := find(find(p, "checklist")[0], "no")
	if len(marks) != 2 || !strings.Contains(text(marks[0]), "policy") || !strings.Contains(text(marks[1]), "could not be found out") {
		t.Errorf("gates that are shut = %v, want those of policy and, with a host that does not answer, of the commit", texts(find(p, "checklist")[0], "no"))
	}
	facts := text(section(t, p, "Facts"))
	for _, want := range []string{"Author alice", "Tool tofu 1.12.6", "Backend s3", "Environment production", "Plan d0", "Effect e0"} {
		if !strings.Contains(facts, want) {
			t.Errorf("facts = %q, want %q", facts, want)
		}
	}
	if got := text(section(t, p, "Timeline")); !strings.Contains(got, "Queued now asked by alice") || !strings.Contains(got, "Planned now") {
		t.Errorf("timeline = %q", got)
	}
}

func TestRunPageTellsWhoHoldsTheBackendsLock(t *testing.T) {
	t.Parallel()
	s := setup(t)
	lock := &report.LockInfo{ID: "6f2a", Who: "carol@laptop", Operation: "OperationTypeApply", Created: time.Now().Add(-2 * time.Hour)}
	r := s.settled(s.planning(seed{label: "dns"}), views.Kept{Lock: lock, Failure: "Error: Error acquiring the state lock\n"}, run.PlanOutcome{Failed: "the state is locked"})
	p := s.page(s.member(), "/runs/"+string(r.ID))
	got := text(find(p, "note")[0])
	if !strings.HasPrefix(got, "The state is locked Held by carol@laptop (apply) since 20") || !strings.Contains(got, "2 h before this run gave up") {
		t.Errorf("lock = %q", got)
	}
	if got := texts(p, "command"); len(got) == 0 || got[0] != "planlatch unlock --state 6f2a -p dns" {
		t.Errorf("commands = %q, want the way out first", got)
	}
	if got := text(find(p, "failure")[0]); !strings.Contains(got, "Error acquiring the state lock") {
		t.Errorf("failure = %q", got)
	}
	if got := text(find(p, "why")[0]); got != "the state is locked" {
		t.Errorf("why = %q", got)
	}
	if n := find(p, "policy"); len(n) > 0 {
		t.Errorf("policy is shown of a plan that failed: %q", text(n[0]))
	}
}

func TestRunPageOfAnApplyThatWasCutOff(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r := s.applying(seed{label: "net"})
	r = s.advance(r, func(snap run.Snapshot) (run.Change, error) {
		return run.SettleApply(snap, r.ID, run.ApplyOutcome{Interrupted: true, Reason: "node gone"})
	})
	p := s.page(s.member(), "/runs/"+string(r.ID))
	if got := text(find(p, "note")[0]); !strings.HasPrefix(got, "Look before anything else happens") {
		t.Errorf("first notice = %q", got)
	}
	if got := text(section(t, p, "Timeline")); !strings.Contains(got, "Confirmed now by erin") || !strings.Contains(got, "Applying now") {
		t.Errorf("timeline = %q", got)
	}
}

// applying is a run whose plan is being applied.
func (s *site) applying(d seed) run.Run {
	s.t.Helper()
	r := s.settled(s.planning(d), views.Kept{Plan: replaced()}, run.PlanOutcome{})
	r = s.advance(r, func(snap run.Snapshot) (run.Change, error) { return run.Confirm(snap, []run.ID{r.ID}, "erin") })
	return s.advance(r, func(snap run.Snapshot) (run.Change, error) {
		return run.ClaimApply(snap, r.ID, []run.Gate{{Holds: true}}, run.Owner{Node: nodeName, Deadline: time.Now().Add(time.Hour)})
	})
}

// hostile are texts that a pull request may bring; the marker says that a text was reached at all.
var hostile = []string{
	`MARK<script>alert(1)</script>`, `MARK"><img src=x onerror=alert(1)>`, `MARK' onmouseover='alert(1)`, `MARK</pre></details></textarea><svg onload=alert(1)>`,
	"MARK\u202egpj.exe\u2066x", "MARK\x1b]0;title\x07\x1b[2J\x1b[31mred", "MARK{{.Version}}${7*7}", "MARK`<b>`![x](https://evil.example/x.png)[l](javascript:alert(1))",
	"MARK\u0000\ufeff\u200b", "MARK&lt;script&gt;", "javascript:alert(1)//MARK",
}

// TestNothingAPullRequestSaysDoesAnything puts every hostile text into every field that a pull request can influence and looks at the pages.
func TestNothingAPullRequestSaysDoesAnything(t *testing.T) {
	t.Parallel()
	for i, x := range hostile {
		s := setup(t, func(o *web.Options) {
			o.Ignored = func() []web.Ignored { return []web.Ignored{{Host: x, ID: x, Event: x, Reason: x}} }
		})
		settings := run.Settings{Flags: []string{x}, Environment: x, Backend: x, EffectIgnore: []string{x}}
		attrs := []report.Attr{{Path: x, Before: x, After: x}, {Path: x, Lines: []string{"+ " + x, x}}}
		plan := report.Plan{
			Counts: run.Counts{Replace: 1}, Warnings: []string{x}, Drift: []string{x}, Outputs: []report.Output{{Name: x, Kind: report.Create, Attrs: attrs}},
			Changes: []report.Change{
				{Address: x, Type: x, Kind: report.Replace, Reason: x, File: x, Line: 1, Deposed: x, Previous: x, Import: x, Attrs: attrs},
				{Address: x, Kind: report.ChangeKind(x)},
			},
		}
		finding := run.Finding{Set: x, Rule: x, Level: run.Soft, Resource: x, Message: x, Fix: x, File: x, Line: 3, Owners: run.Owners{Users: []string{x}}}
		d := seed{label: x, title: x, author: x, url: x, branch: x, actor: x, settings: settings}
		r := s.planning(d)
		s.write(r, "plan", 1000, x+"\n"+x)
		r = s.settled(r, views.Kept{Plan: plan}, run.PlanOutcome{Findings: []run.Finding{finding, {Level: run.Level(x), Message: x}}, Planned: run.Run{Partial: true, Tool: x}})
		d.number = 215
		d.label += "2"
		failed := s.planning(d)
		s.write(failed, "plan", 1000, x)
		failed = s.settled(failed, views.Kept{Failure: "Error: " + x, Lock: &report.LockInfo{ID: x, Who: x, Operation: "OperationType" + x, Message: x}}, run.PlanOutcome{Failed: x})
		c := s.member()
		for _, p := range []string{"/", "/runs/" + string(r.ID), "/runs/" + string(failed.ID), "/login?next=" + url.QueryEscape(x)} {
			a := s.get(c, p)
			if p != "/" && !strings.HasPrefix(p, "/runs") {
				a = s.get(s.browser(), p)
			}
			checkInert(t, i, p, a.body, !strings.HasPrefix(p, "/login"))
		}
		if a := s.get(c, "/runs/"+string(r.ID)+"/log"); a.header.Get("Content-Type") != "text/plain; charset=utf-8" || strings.ContainsAny(a.body, "\x1b\x07\u202e\x00") {
			t.Errorf("corpus %d: log is %s: %q", i, a.header.Get("Content-Type"), a.body)
		}
	}
}

// checkInert asserts that a page has nothing but our own elements that do something.
func checkInert(t *testing.T, i int, where, body string, marked bool) {
	t.Helper()
	if strings.ContainsAny(body, "\u202e\u2066\u200b\ufeff\x1b\x07\x00") {
		t.Errorf("corpus %d, %s: invisible characters", i, where)
	}
	if marked != strings.Contains(body, "MARK") {
		t.Errorf("corpus %d, %s: the text is not there", i, where)
	}
	n, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for d := range n.Descendants() {
		if d.Type != html.ElementNode {
			continue
		}
		switch d.Data {
		case "script":
			if attr(d, "src") != "/assets/app.js" || d.FirstChild != nil {
				t.Errorf("corpus %d, %s: a script of somebody else", i, where)
			}
		case "img":
			if attr(d, "src") != "/assets/icon.svg" {
				t.Errorf("corpus %d, %s: an image %q", i, where, attr(d, "src"))
			}
		case "iframe", "object", "embed", "style", "base", "svg", "math", "textarea":
			t.Errorf("corpus %d, %s: an element %s", i, where, d.Data)
		}
		for _, a := range d.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "srcdoc" {
				t.Errorf("corpus %d, %s: attribute %s=%q", i, where, a.Key, a.Val)
			}
			if (a.Key == "href" || a.Key == "src" || a.Key == "action") && !strings.HasPrefix(a.Val, "/") {
				t.Errorf("corpus %d, %s: %s=%q leads elsewhere", i, where, a.Key, a.Val)
			}
		}
	}
}
