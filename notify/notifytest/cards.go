package notifytest

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
)

// Answering starts a server that answers everything alike, and returns its address.
func Answering(t *testing.T, answer func(w http.ResponseWriter)) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w) }))
	t.Cleanup(s.Close)
	return s.URL
}

// Cards are what people read on some days.
func Cards() map[string]report.Card {
	cards := map[string]report.Card{}
	for name, v := range Views() {
		cards[name] = report.ChatCard(v)
	}
	return cards
}

// Views are pull requests on some days.
func Views() map[string]report.View {
	noon := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	base := report.View{
		Pull: run.Pull{Number: 214, Title: "Encrypt the <database> & its *backups*", Author: "alice", State: "open", URL: "https://github.com/acme/infra/pull/214"},
		Repo: run.Repo{Host: "github", Name: "acme/infra"}, Kind: run.KindChange, Head: "a1b2c3d4e5f6a1b2c3d4e5f6a1b2c3d4e5f6a1b2", Base: "9f8e7d6c5b4a9f8e7d6c5b4a9f8e7d6c5b4a9f8e",
		BaseBranch: "main", Known: 14,
	}
	project := func(n int, label string, state run.State) report.Project {
		return report.Project{
			Run: run.Run{
				ID: run.ID("01J" + label), Project: run.ProjectID(n), Label: label, Dir: label, Work: "default", Kind: run.KindChange, State: state,
				Settings: run.Settings{Apply: run.ApplyAfterMerge}, EffectDigest: "e", PolicyDigest: "p", Tool: "tofu 1.12.6",
				Started: noon, Planned: noon.Add(14 * time.Second),
			},
			RunURL: "https://planlatch.example.com/runs/01J?grant=1.x&y",
		}
	}
	database := project(1, "prod/database", run.Planned)
	database.Run.Counts = run.Counts{Change: 1, Replace: 1}
	database.Plan = report.Plan{Counts: database.Run.Counts, Changes: []report.Change{
		{Address: "aws_db_instance.main", Type: "aws_db_instance", Kind: report.Replace}, {Address: "aws_db_parameter_group.main", Type: "aws_db_parameter_group", Kind: report.Update},
	}}
	database.Findings = []run.Finding{{
		Set: "baseline", Rule: "stateful-replace", Level: run.Soft, Resource: "aws_db_instance.main", Message: "a database would be replaced", Owners: run.Owners{Teams: []string{"acme/security"}},
	}}
	database.Gates = []run.Gate{
		{Name: run.GatePolicy, Text: "policy stateful-replace fixed, or overridden by an owner"}, {Name: run.GateApproved, Text: "approved by someone other than the author"},
	}
	network := project(2, "prod/network", run.Planned)
	network.Run.Counts = run.Counts{Add: 2, Change: 1}
	network.Gates = database.Gates[1:]
	quiet := project(3, "prod/dns", run.Unchanged)
	attention := base
	attention.Projects = []report.Project{database, network, quiet}

	failed := base
	broken := project(1, "prod/database", run.Failed)
	broken.Run.ApplyStarted, broken.Run.Finished, broken.Run.Reason = noon, noon.Add(41*time.Second), "tofu apply exited with 1"
	broken.Plan, broken.Run.Counts = database.Plan, run.Counts{Change: 1}
	broken.Failure = "Error: modifying RDS DB Instance (main): InvalidParameterValue: cannot enable encryption in place\n\n  with aws_db_instance.main,\n  on main.tf line 14\n"
	done := project(2, "prod/network", run.Applied)
	done.Run.ApplyStarted, done.Run.Counts = noon, network.Run.Counts
	failed.Projects = []report.Project{broken, done}

	push := base
	push.Pull, push.Kind = run.Pull{}, run.KindMerge
	waits := project(2, "prod/network", run.Planned)
	waits.Run.Kind, waits.Run.Counts, waits.Run.Reason = run.KindMerge, network.Run.Counts, "nobody reviewed this push"
	push.Projects = []report.Project{waits}
	return map[string]report.View{"needs-attention": attention, "apply-failed": failed, "push": push}
}
