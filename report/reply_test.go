package report_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
)

func TestReplies(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, r := range []report.Reply{
		{Code: report.NotReady, Projects: []string{"prod/network"}, Gates: []run.Gate{{Text: "approved by someone other than the author"}, {Text: "policy passes", Holds: true}}},
		{Code: report.UnknownCommand, Given: "planlach plan", Suggestion: "plan"},
		{Code: report.BadArguments, Command: "plan", Given: "--at", Detail: "--at needs a commit"},
		{Code: report.UnknownProject, Given: "prod/netwrok", Suggestion: "prod/network"},
		{Code: report.RefusedFlag, Command: "plan", Given: "-chdir=/etc"},
		{Code: report.Stale, Projects: []string{"prod/network"}, Detail: "`main` moved to `9f8e7d6` and touches `modules/vpc/main.tf`, which it uses."},
		{Code: report.NotSeen, Projects: []string{"prod/network"}, SHA: headSHA},
		{Code: report.Denied, Projects: []string{"prod/network"}, Detail: "applying prod/** needs membership in acme/prod-approvers"},
		{Code: report.Nothing, Command: "apply", Detail: "No project of this pull request has a plan with changes."},
		{Code: report.Busy, Projects: []string{"prod/network"}},
		{Code: report.Held, Projects: []string{"prod/network"}, HeldBy: "#12"},
		{Code: report.Paused, Detail: "By carol: release freeze"},
		{Code: report.Unsaved, Projects: []string{"prod/network"}},
		{Code: report.ShadowMode, Projects: []string{"prod/network"}},
		{Code: report.Untrusted, SHA: headSHA},
		{Code: report.Away, Given: "planlatch apply"},
		{Code: report.Confirm, Command: "unlock", Detail: "The lock 1f408c12 is held by root@vm", Given: "planlatch unlock --state 1f408c12 -p prod/network --yes"},
		{Code: report.Broken, Prefix: "infra", Detail: "the host did not answer"},
		{Code: "from a later release"},
	} {
		fmt.Fprintf(&b, "== %s\n%s\n", r.Code, r.Text())
	}
	golden(t, "replies.md", b.String())
	golden(t, "help.md", report.Help("planlatch", map[string]report.Leave{
		"plan": {All: true}, "apply": {For: []string{"dev/network"}, Why: "apply of prod is for acme/prod-approvers"}, "explain": {All: true},
		"unlock": {Why: "unlock needs write permission on the repository"}, "cancel": {},
	}))
	stopped := run.Run{Label: "prod/network"}
	golden(t, "freed.md", report.Freed(report.StyleFull, stopped, "5b8f", "", false)+"== again\n"+report.Freed(report.StyleFull, stopped, "5b8f", "", true)+"== not\n"+report.Freed(report.StyleFull, stopped, "5b8f", "force-unlock failed (exit code 1)\nError: Failed to unlock state\n```\n/approve", false))
	golden(t, "block.md", report.Block("import block", "import {\n  to = a.b\n  id = \"```\\n@here\"\n}\n", "OpenTofu 1.6", "infra/net")+
		"== without a project, and at the root\n"+report.Block("removed block", "removed {}\n", "OpenTofu 1.7", "")+report.Block("removed block", "removed {}\n", "OpenTofu 1.7", "."))
}

func TestExplain(t *testing.T) {
	t.Parallel()
	all := stories(t)
	waits := func(label string, in run.State, held string, ahead int) report.Project {
		return report.Project{Run: run.Run{Label: label, Dir: label, State: in}, HeldBy: held, Position: ahead}
	}
	queue := report.Explain(view(
		waits("network", run.Confirmed, "#12", 4), waits("dns", run.Queued, "#15 (interrupted)", 0), waits("app", run.Queued, "", 3), waits("db", run.Queued, "", 0),
		waits("lb", run.Planned, "", 0),
	), githubLimit)
	golden(t, "explain.md", report.Explain(all["skipped"], githubLimit)+"\n== none\n"+report.Explain(view(), githubLimit)+"\n== in the queue\n"+queue)
}
