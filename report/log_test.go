package report_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
)

func TestLockError(t *testing.T) {
	t.Parallel()
	tests := []struct {
		log  string
		want report.LockInfo
	}{
		{"lock_local", report.LockInfo{ID: "1f408c12-d40d-2ef3-3929-d3e3ba0c2f02", Path: "terraform.tfstate", Operation: "OperationTypeApply", Who: "root@vm", Version: "1.12.6",
			Created: time.Date(2026, 11, 22, 2, 30, 35, 826835659, time.UTC), Message: "resource temporarily unavailable"}},
		{"lock_http", report.LockInfo{ID: "7d1b2f5c-0a7e-4c0f-9a0e-5f9d3c1b2a10", Operation: "OperationTypePlan", Who: "carol@laptop", Version: "1.12.6",
			Created: time.Date(2026, 5, 1, 9, 37, 0, 5e8, time.UTC), Message: "HTTP remote state already locked: ID=7d1b2f5c-0a7e-4c0f-9a0e-5f9d3c1b2a10"}},
		{"lock_s3", report.LockInfo{ID: "a1900de1-0982-d1f2-ff45-f22369d1e6b5", Path: "states/a.tfstate", Operation: "OperationTypeApply", Who: "root@vm", Version: "1.12.6",
			Created: time.Date(2026, 11, 22, 2, 41, 1, 329858825, time.UTC),
			Message: "operation error S3: PutObject, https response error StatusCode: 412, RequestID: CXJCQUQ8IC1FA0UI, HostID: " +
				"GQRZ8Lxbk4UrfT++l9vQ/bMeEwHLe0ziGkYnH2MFPznWzloWJYPnmtkkUW8YrZlU7rfIG7iuK5TA4LInuC/qwGI=, " +
				"api error PreconditionFailed: At least one of the pre-conditions you specified did not hold."}},
		{"lock_pg", report.LockInfo{Message: "Already locked for workspace creation: default", Session: true}},
	}
	for _, tt := range tests {
		t.Run(tt.log, func(t *testing.T) {
			t.Parallel()
			got, ok := report.LockError(string(file(t, "logs/"+tt.log+".txt")))
			if !ok {
				t.Fatal("LockError() = false")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("LockError() differs (-want +got):\n%s", diff)
			}
		})
	}
	for _, name := range []string{"plan_failed", "apply_failed", "stale"} {
		if got, ok := report.LockError(string(file(t, "logs/"+name+".txt"))); ok {
			t.Errorf("LockError(%s) = %+v, want none", name, got)
		}
	}
}

func TestLockHolderAgeAndWayOutAreTold(t *testing.T) {
	t.Parallel()
	for log, want := range map[string][]string{
		"lock_http": {"locked by `carol@laptop`", "since 2026-05-01 09:37:00 UTC, 23 min before this run gave up", "`tofu force-unlock 7d1b2f5c-0a7e-4c0f-9a0e-5f9d3c1b2a10`"},
		"lock_pg":   {"another PostgreSQL session", "`pg_stat_activity`", "`planlatch plan -p network`"},
	} {
		p := planFailed(t, 1, "network", log)
		p.Run.Finished = time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
		body := report.Summary(view(p), githubLimit)
		for _, w := range want {
			if !strings.Contains(body, w) {
				t.Errorf("%s: %q is not in\n%s", log, w, body)
			}
		}
	}
	p := planFailed(t, 1, "network", "lock_http")
	p.Failure = strings.ReplaceAll(p.Failure, "carol@laptop", "runner@planlatch-"+string(p.Run.ID))
	if body := report.Summary(view(p), githubLimit); strings.Contains(body, "locked by") || strings.Contains(body, "force-unlock") {
		t.Errorf("our own attempt is taken for the holder:\n%s", body)
	}
}

func TestStalePlan(t *testing.T) {
	t.Parallel()
	for log, want := range map[string]bool{"stale": true, "apply_failed": false, "plan_failed": false, "lock_local": false} {
		if got := report.StalePlan(string(file(t, "logs/"+log+".txt"))); got != want {
			t.Errorf("StalePlan(%s) = %t, want %t", log, got, want)
		}
	}
	if report.StalePlan("terraform_data.x (local-exec): Error: Saved plan is stale\n") {
		t.Error("StalePlan() believes a provisioner")
	}
}

func TestExcerpt(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, log, want string }{
		{"Empty", "", ""},
		{"NoErrorBlock", "a\nb\n\n", "a\nb"},
		{"Unframed", "noise\nError: it broke\n\n  on main.tf line 1\n\nWarning: old\n\nmore", "Error: it broke\n\n  on main.tf line 1"},
		{"FramedThenProgress", "╷\n│ Error: it broke\n│ \n│ because\n╵\naws_x.y: Still creating...\n", "Error: it broke\n\nbecause"},
		{"EachOnce", "╷\n│ Error: same\n╵\n╷\n│ Error: same\n╵\n╷\n│ Error: other\n╵\n", "Error: same\n\nError: other"},
		{"Colours", "\x1b[31m╷\x1b[0m\n\x1b[31m│\x1b[0m \x1b[1m\x1b[31mError: \x1b[0m\x1b[1mred\x1b[0m\n\x1b[31m╵\x1b[0m", "Error: red"},
		{"LinksAndTitles", "\x1b]0;title\x07Error: a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "Error: alink"},
		{"CarriageReturns", "Error: 10%\rError: 99%\r\nnext", "Error: 99%\nnext"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := report.Excerpt(tt.log); got != tt.want {
				t.Errorf("Excerpt(%q) = %q, want %q", tt.log, got, tt.want)
			}
		})
	}
	long := report.Excerpt("Error: many\n" + strings.Repeat("line\n", 5000))
	if n := strings.Count(long, "\n"); n > 61 || !strings.HasSuffix(long, "… 4,941 more lines") {
		t.Errorf("Excerpt() of 5,000 lines has %d, ending %q", n, long[len(long)-30:])
	}
}

func TestCompleted(t *testing.T) {
	t.Parallel()
	done, left := report.Completed(string(file(t, "logs/apply_failed.txt")), readPlan(t, "half"))
	if want := (run.Counts{Add: 1}); done != want {
		t.Errorf("Completed() = %+v, want %+v", done, want)
	}
	if diff := cmp.Diff([]string{"terraform_data.second", "terraform_data.third"}, left); diff != "" {
		t.Errorf("left differs (-want +got):\n%s", diff)
	}
	p := report.Plan{Changes: []report.Change{{Address: "a.r", Kind: report.Replace}, {Address: "a.half", Kind: report.Replace}, {Address: "a.u", Kind: report.Update},
		{Address: `a.d["x y"]`, Kind: report.Delete}, {Address: "a.m", Kind: report.Move}}}
	done, left = report.Completed("a.r: Destruction complete after 1s\na.half: Destruction complete after 1s\na.r: Creation complete after 2s [id=1]\n"+
		"a.u: Modifications complete after 0s\na.d[\"x y\"]: Destruction complete after 0s\na.z (local-exec): a.half: Creation complete after 0s\n", p)
	if want := (run.Counts{Replace: 1, Change: 1, Destroy: 1}); done != want {
		t.Errorf("Completed() = %+v, want %+v", done, want)
	}
	if diff := cmp.Diff([]string{"a.half"}, left); diff != "" {
		t.Errorf("left differs (-want +got):\n%s", diff)
	}
}

func TestProgressIsWhatTheLogOfAnInterruptedApplyShows(t *testing.T) {
	t.Parallel()
	p := report.Plan{Changes: []report.Change{
		{Address: "a.done", Kind: report.Create}, {Address: "a.begun", Kind: report.Create}, {Address: "a.rest", Kind: report.Create},
		{Address: "a.half", Kind: report.Replace}, {Address: `a.u["x y"]`, Kind: report.Update}, {Address: "a.gone", Kind: report.Delete},
		{Address: "a.moved", Kind: report.Move}, {Address: "a.said", Kind: report.Create},
	}}
	log := "a.half: Destroying... [id=1]\na.done: Creating...\na.begun: Creating...\na.half: Destruction complete after 0s\n" +
		"a.done: Creation complete after 1s [id=2]\na.u[\"x y\"]: Modifying... [id=3]\na.begun: Still creating... [10s elapsed]\n" +
		"a.gone (deposed object 5f00): Destruction complete after 0s\na.begun (local-exec): a.said: Creating...\na.res"
	want := report.Progress{Done: []string{"a.done", "a.gone"}, Begun: []string{"a.begun", "a.half", `a.u["x y"]`}, Rest: []string{"a.rest", "a.said"}}
	if diff := cmp.Diff(want, report.ProgressOf(log, p)); diff != "" {
		t.Errorf("ProgressOf() differs (-want +got):\n%s", diff)
	}
	if got := report.ProgressOf("", p); len(got.Done)+len(got.Begun) > 0 || len(got.Rest) != 7 {
		t.Errorf("ProgressOf() of an empty log = %+v, want nothing that was begun", got)
	}
}

func TestWhatAnInterruptedApplyCreatedIsNotCreatedTwiceUnseen(t *testing.T) {
	t.Parallel()
	p := planned(t, 1, "network", "half")
	came := report.Progress{Done: []string{"terraform_data.first", "terraform_data.gone"}, Begun: []string{"terraform_data.second"}}
	p.Plan.Twice = report.Twice(p.Plan, &came)
	if diff := cmp.Diff([]string{"terraform_data.first"}, p.Plan.Twice); diff != "" {
		t.Fatalf("Twice() differs (-want +got):\n%s", diff)
	}
	body := report.Summary(view(p), githubLimit)
	if want := "`network` creates **a second time** what the interrupted apply has created, as its log shows, and the state does not know: `terraform_data.first`"; !strings.Contains(body, want) {
		t.Errorf("%q is not in\n%s", want, body)
	}
	if got := report.Twice(p.Plan, nil); got != nil {
		t.Errorf("Twice() without an interrupted apply = %v, want none", got)
	}
}

func TestALockThatOurOwnApplyLeftIsToldAsSuch(t *testing.T) {
	t.Parallel()
	p := planFailed(t, 1, "network", "lock_http")
	lock, _ := report.LockError(p.Failure)
	lock.Who, lock.Ours = "root@planlatch-01OLD", "the interrupted apply of run 01OLD"
	p.Lock = &lock
	body := report.Summary(view(p), githubLimit)
	for _, want := range []string{
		"locked by the interrupted apply of run 01OLD (`root@planlatch-01OLD`)", "Nothing of it runs any more", "`planlatch unlock --state 7d1b2f5c-0a7e-4c0f-9a0e-5f9d3c1b2a10 -p network`",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is not in\n%s", want, body)
		}
	}
	if strings.Contains(body, "If its holder is still at work") {
		t.Errorf("people are told to wait for an apply that is over:\n%s", body)
	}
}

func FuzzLog(f *testing.F) {
	for _, name := range []string{"lock_local", "lock_pg", "stale", "plan_failed", "apply_failed"} {
		f.Add(string(file(f, "logs/"+name+".txt")))
	}
	f.Add("\x1b]8;;\x1b[\x1b]")
	f.Fuzz(func(t *testing.T, log string) {
		report.StalePlan(log)
		report.ProgressOf(log, report.Plan{Changes: []report.Change{{Address: "a", Kind: report.Create}}})
		report.Completed(log, report.Plan{Changes: []report.Change{{Address: "a", Kind: report.Create}}})
		if got := report.Excerpt(log); len(got) > 7000 {
			t.Errorf("Excerpt() has %d bytes", len(got))
		}
		p := report.Project{Run: run.Run{State: run.Failed, Label: "p"}, Failure: log}
		checkPage(t, report.Summary(report.View{Projects: []report.Project{p}}, 5000), 5000, report.SummaryMarker)
	})
}
