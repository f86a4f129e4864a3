package report_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
)

const (
	headSHA = "a1b2c3d4e5f60718293a4b5c6d7e8f9012345678"
	baseSHA = "9f8e7d6c5b4a39281706f5e4d3c2b1a098765432"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func view(projects ...report.Project) report.View {
	return report.View{
		Pull: run.Pull{ID: 1, Number: 214, Title: "Encrypt the database", Author: "alice", HeadBranch: "encrypt", BaseBranch: "main", HeadSHA: headSHA, State: "open"},
		Repo: run.Repo{Host: "github", Name: "acme/infra"}, Kind: run.KindChange, Head: headSHA, Base: baseSHA, BaseBranch: "main", Known: 14,
		Projects: projects, URL: "https://planlatch.example.com",
	}
}

func gates(missing ...run.Gate) []run.Gate {
	out := []run.Gate{
		{Name: run.GatePlanned, Holds: true, Text: "planned at a1b2c3d"},
		{Name: run.GateMode, Holds: false, Text: "it applies by itself after the merge"},
		{Name: run.GateBackend, Holds: true, Text: "state is kept by its backend"},
	}
	return append(out, missing...)
}

var (
	approvalMissing = run.Gate{Name: run.GateApproved, Text: "approved by someone other than the author"}
	approved        = run.Gate{Name: run.GateApproved, Holds: true, Text: "approved by bob"}
	mergeable       = run.Gate{Name: run.GateMergeable, Holds: true, Text: "mergeable"}
	upToDate        = run.Gate{Name: run.GateUpToDate, Holds: true, Text: "up to date with main"}
	policyPasses    = run.Gate{Name: run.GatePolicy, Holds: true, Text: "policy passes"}
	policyFails     = run.Gate{Name: run.GatePolicy, Text: "policy stateful-replace fixed, or overridden by an owner"}
)

// planned is a project that is planned with a fixture, n-th of its revision.
func planned(t testing.TB, n int, label, plan string) report.Project {
	t.Helper()
	p := report.Project{
		Run: run.Run{
			ID: run.ID(fmt.Sprintf("01J%05d", n)), Project: run.ProjectID(n), Label: label, Dir: label, Kind: run.KindChange, State: run.Planned,
			Settings: run.Settings{Apply: run.ApplyAfterMerge, Backend: "s3"}, Tool: "tofu 1.12.6", EffectDigest: "effect", PolicyDigest: "policy",
			Created: noon, Started: noon.Add(time.Second), Planned: noon.Add(15 * time.Second),
		},
		RunURL: fmt.Sprintf("https://planlatch.example.com/runs/01J%05d?grant=x", n),
		LogURL: fmt.Sprintf("https://planlatch.example.com/runs/01J%05d/log?grant=x", n),
		Gates:  gates(policyPasses, approvalMissing, mergeable, upToDate),
	}
	if plan != "" {
		p.Plan = readPlan(t, plan)
		p.Run.Counts = p.Plan.Counts
	}
	return p
}

func in(p report.Project, s run.State) report.Project {
	p.Run.State = s
	switch s {
	case run.Queued, run.Planning:
		p.Plan, p.Run.Counts, p.Run.Planned, p.Run.PolicyDigest, p.Gates = report.Plan{}, run.Counts{}, time.Time{}, "", nil
	case run.Unchanged:
		p.Plan, p.Run.Counts, p.Gates = report.Plan{}, run.Counts{}, nil
	case run.Applying, run.Applied, run.Interrupted:
		p.Run.ApplyStarted, p.Gates = noon.Add(time.Minute), nil
		if s == run.Applied {
			p.Run.Finished = noon.Add(82 * time.Second)
		}
	default: // as it was planned
	}
	return p
}

func planFailed(t testing.TB, n int, label, log string) report.Project {
	p := in(planned(t, n, label, ""), run.Queued)
	p.Run.State, p.Run.Finished = run.Failed, noon.Add(time.Hour)
	p.Failure = string(file(t, "logs/"+log+".txt"))
	return p
}

func applyFailed(t testing.TB, n int, label string) report.Project {
	p := planned(t, n, label, "half")
	p.Failure = string(file(t, "logs/apply_failed.txt"))
	p.Run.State, p.Run.ApplyStarted, p.Run.Finished, p.Gates = run.Failed, noon.Add(time.Minute), noon.Add(101*time.Second), nil
	p.Run.Counts, p.Left = report.Completed(p.Failure, p.Plan)
	return p
}

func database(t testing.TB) report.Project {
	p := planned(t, 1, "prod/database", "aws")
	p.Findings = []run.Finding{{
		Set: "baseline", Rule: "stateful-replace", Level: run.Soft, Resource: "aws_db_instance.main", Message: "a database would be replaced",
		Fix:    "create the new one beside it and move the data, or restore from a snapshot with `snapshot_identifier`.",
		Owners: run.Owners{Teams: []string{"acme/security"}, Approvals: 1},
	}}
	p.Gates = gates(policyFails, approvalMissing, mergeable, upToDate)
	return p
}

func overridden(t testing.TB) report.Project {
	p := database(t)
	p.Overrides = []run.Override{{Project: 1, Set: "baseline", Rule: "stateful-replace", Resource: "aws_db_instance.main", Effect: "effect", Policy: "policy", Actor: "bob",
		Reason: "snapshot taken, window agreed"}}
	p.Gates = gates(policyPasses, approved, mergeable, upToDate)
	return p
}

// stopped is a project that policy does not let run.
func stopped(t testing.TB, level run.Level) report.Project {
	p := in(planned(t, 1, "prod/network", ""), run.Failed)
	p.Run.EffectDigest, p.Run.PlanDigest, p.Run.InputsDigest, p.Run.Tool, p.Run.Counts = "", "", "inputs", "", run.Counts{}
	p.Run.Reason = "policy stopped it before anything ran: external-program, provider"
	p.Plan = report.Plan{}
	p.Findings = []run.Finding{{
		Set: "sources", Rule: "external-program", Level: level, Resource: "data.external.token", Message: "data.external.token runs a program", Source: true,
		Fix: "Take it out: a program of a pull request runs before anybody has seen a plan.", File: "prod/network/main.tf", Line: 14,
		Owners: run.Owners{Teams: []string{"acme/security"}, Approvals: 1},
	}, {
		Set: "sources", Rule: "provider", Level: level, Resource: "evil/aws", Message: "provider evil/aws is not allowed (required_providers)", Source: true,
		Fix: "Use an allowed provider, or ask for this one to be added to providers of the policy set.", File: "modules/x/versions.tf", Line: 3,
		Owners: run.Owners{Teams: []string{"acme/security"}, Approvals: 1},
	}}
	return p
}

func before(p report.Project) report.Project {
	p.Run.Settings.Apply = run.ApplyBeforeMerge
	p.Gates = []run.Gate{{Name: run.GatePlanned, Holds: true, Text: "planned at a1b2c3d"}, {Name: run.GateMode, Holds: true, Text: "applies when told"}, policyPasses, approved,
		mergeable, upToDate}
	return p
}

func merged(v report.View) report.View {
	v.Kind, v.Pull.State, v.Pull.MergedBy = run.KindMerge, "merged", "bob"
	for i := range v.Projects {
		v.Projects[i].Run.Kind = run.KindMerge
	}
	return v
}

func many(t testing.TB) report.View {
	v := view()
	v.Known = 600
	for n := range 500 {
		p := planned(t, n+10, fmt.Sprintf("accounts/%03d", n), "network")
		switch {
		case n < 4:
			p = planned(t, n+10, fmt.Sprintf("accounts/%03d", n), "aws")
		case n == 4:
			p = planFailed(t, n+10, "accounts/004", "plan_failed")
		case n < 14:
			p = in(p, run.Unchanged)
		}
		v.Projects = append(v.Projects, p)
	}
	return v
}

// stories are the views whose renderings are golden files.
func stories(t testing.TB) map[string]report.View {
	three := func() []report.Project {
		return []report.Project{database(t), planned(t, 2, "prod/network", "network"), planned(t, 3, "staging/network", "network")}
	}
	out := map[string]report.View{
		"single":         view(before(planned(t, 1, "network", "network"))),
		"three":          view(three()...),
		"everything":     view(planned(t, 1, "app", "all")),
		"planning":       view(in(database(t), run.Planning), in(planned(t, 2, "prod/network", ""), run.Queued), planned(t, 3, "staging/network", "network")),
		"unchanged":      view(in(planned(t, 1, "network", ""), run.Unchanged), in(planned(t, 2, "dns", ""), run.Unchanged)),
		"plan_failed":    view(planFailed(t, 1, "prod/network", "plan_failed"), planned(t, 2, "staging/network", "network")),
		"stopped":        view(stopped(t, run.Hard)),
		"stopped_soft":   view(stopped(t, run.Soft), planned(t, 2, "staging/network", "network")),
		"lock_held":      view(planFailed(t, 1, "prod/network", "lock_local")),
		"override_given": view(overridden(t)),
		"many":           many(t),
		"none":           view(),
		"untrusted":      view(),
		"canceled_plan":  view(in(planned(t, 1, "prod/network", "network"), run.Canceled)),
		"conflict":       view(),
		"applying":       merged(view(in(database(t), run.Applying), in(planned(t, 2, "prod/network", "network"), run.Applied), in(planned(t, 3, "dns", "network"), run.Confirmed))),
		"applied":        merged(view(in(planned(t, 2, "prod/network", "network"), run.Applied), in(planned(t, 3, "staging/network", "network"), run.Applied))),
		"apply_failed":   merged(view(in(planned(t, 2, "prod/network", "network"), run.Applied), applyFailed(t, 1, "prod/database"), planned(t, 4, "prod/dns", "network"))),
		"interrupted":    merged(view(in(database(t), run.Interrupted))),
		"unsaved":        merged(view(applyFailed(t, 1, "prod/database"))),
		"merge_differs":  merged(view(planned(t, 1, "prod/network", "network"), in(planned(t, 2, "dns", "network"), run.Applied))),
		"superseded":     merged(view(in(in(planned(t, 1, "prod/network", ""), run.Queued), run.Superseded))),
		"canceled":       view(in(in(planned(t, 1, "prod/network", ""), run.Queued), run.Canceled)),
		"shadow":         view(planned(t, 1, "prod/network", "network")),
		"manual":         view(planned(t, 1, "prod/network", "network"), planned(t, 2, "dns", "network")),
		"partial":        view(before(planned(t, 1, "prod/network", "network"))),
		"no_backend":     view(before(planned(t, 1, "sandbox", "half"))),
		"paused":         view(before(planned(t, 1, "network", "network"))),
		"paused_merge":   merged(view(in(planned(t, 1, "network", "network"), run.Confirmed))),
		"summary_style":  view(append(three(), planFailed(t, 9, "dns", "plan_failed"))...),
		"waiting":        view(in(before(planned(t, 1, "network", "network")), run.Confirmed), in(planned(t, 2, "dns", ""), run.Queued)),
	}
	edit := func(name string, change func(v *report.View)) {
		v := out[name]
		change(&v)
		out[name] = v
	}
	edit("conflict", func(v *report.View) { v.Conflict = true })
	edit("untrusted", func(v *report.View) { v.Notes, v.Untrusted = nil, true })
	edit("none", func(v *report.View) { v.Notes = nil })
	edit("single", func(v *report.View) { v.Known = 1 })
	edit("unsaved", func(v *report.View) { v.Projects[0].Run.Unsaved = true })
	edit("interrupted", func(v *report.View) {
		v.Projects[0].Run.Reason = "node build-2 unreachable, the apply may still run"
		v.Projects[0].Failure = "aws_db_instance.main: Destroying... [id=db-PROD]\naws_db_instance.main: Still destroying... [id=db-PROD, 10s elapsed]\n"
		v.Mention = "@bob"
		progress := report.ProgressOf("aws_security_group.db: Modifications complete after 2s\n"+v.Projects[0].Failure, v.Projects[0].Plan)
		v.Projects[0].Progress = &progress
	})
	edit("merge_differs", func(v *report.View) {
		p := &v.Projects[0]
		p.Run.Reason, p.Run.EffectDigest = "the merged plan has another effect than the reviewed one", "another"
		reviewed := readPlan(t, "network")
		reviewed.Changes = append([]report.Change{{Address: "aws_route.old", Kind: report.Delete}}, reviewed.Changes[:2]...)
		reviewed.Changes[1].Attrs = []report.Attr{{Path: "ingress[0].cidr_blocks", Before: `["10.0.0.0/24"]`, After: `["10.0.0.0/16"]`}}
		p.Reviewed = &report.Reviewed{Run: run.Run{EffectDigest: "effect"}, Plan: reviewed}
		p.Gates = gates(policyPasses, approved, mergeable, upToDate)
		v.Mention = "@bob"
	})
	edit("superseded", func(v *report.View) { v.Projects[0].Run.Reason = "contained in #215" })
	edit("shadow", func(v *report.View) { v.Projects[0].Run.Settings.Apply = run.ApplyOff })
	edit("manual", func(v *report.View) {
		v.Projects[0].Run.Settings.Apply, v.Projects[1].Run.Settings.EffectIgnore = run.ApplyManual, []string{"*.tags.deployed_at"}
		v.Projects[1].After, v.Projects[1].PRs = "prod/network", []string{"#198"}
	})
	edit("partial", func(v *report.View) {
		v.Projects[0].Run.Partial, v.Projects[0].Run.Settings.Flags = true, []string{"-target=aws_security_group.db"}
	})
	edit("no_backend", func(v *report.View) {
		v.Projects[0].Run.NoBackend = true
		v.Projects[0].Gates = append(v.Projects[0].Gates, run.Gate{Name: run.GateBackend, Text: "no backend: nothing would remember what was created; add a backend block"})
	})
	edit("paused", func(v *report.View) { v.Pause = freeze() })
	edit("paused_merge", func(v *report.View) { v.Pause = freeze() })
	edit("summary_style", func(v *report.View) { v.Style = report.StyleSummary })
	edit("waiting", func(v *report.View) { v.Projects[0].HeldBy, v.Projects[1].Position = "#12", 3 })
	bad := view()
	bad.Problems = []run.Problem{
		{File: "planlatch.yaml", Line: 7, Column: 5, Key: "projects[1].worksapce", Message: "unknown key", Fix: "did you mean `workspace`?"},
		{File: "planlatch.yaml", Line: 9, Column: 10, Key: "projects[1].dir", Message: "directory ../other is outside of the repository", Fix: "name a directory below the root"},
	}
	out["bad_config"] = bad
	skipped := view(planned(t, 1, "network", "network"))
	skipped.Selection = []run.Selected{
		{Dir: "network", Label: "network", Workspace: "default", Reasons: []string{"network/main.tf changed", "uses modules/vpc, where main.tf changed"}},
		{Dir: "modules/vpc", Label: "modules/vpc", Skipped: "a library module: variable cidr has no value and there is no backend"},
		{Dir: "old/queue", Label: "old/queue", Deleted: true},
	}
	skipped.Notes = []string{"planlatch.yaml changes `apply`; the base's rules judge this pull request"}
	out["skipped"] = skipped
	return out
}

func freeze() *run.Pause {
	return &run.Pause{Match: "//**", Actor: "carol", Reason: "release freeze until Monday", At: noon}
}
