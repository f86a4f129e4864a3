package intake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/planlatch/planlatch/command"
	"github.com/planlatch/planlatch/operator"
	"github.com/planlatch/planlatch/project"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/views"
)

func pick(all []run.Selected, cmd command.Command) ([]run.Selected, error) {
	return project.Pick(all, cmd.Projects, cmd.Dirs, cmd.Workspace)
}

// explain says which projects were selected and why.
func (i *Intake) explain(ctx context.Context, o order) (answer, error) {
	if a, ok, err := i.may(ctx, o, nil); err != nil || !ok {
		return a, err
	}
	view, _, err := i.Views.Pull(ctx, o.pull.ID)
	if errors.Is(err, views.ErrNothing) {
		return no(o.refused(report.Nothing)), nil
	}
	if err != nil {
		return answer{}, err
	}
	return answer{text: report.Explain(view, o.host.Limits().Comment)}, nil
}

// declined ends a plan with its answer, before anything is written: its names match nothing, or the commenter may not plan what it touches.
type declined struct{ answer answer }

func (e *declined) Error() string { return e.answer.text }

// plan plans the pull request, or the named projects, again. On a pull request that nobody trusts yet it is the maintainer's word, for the
// head they saw.
func (i *Intake) plan(ctx context.Context, o order) (answer, error) {
	if a, ok, err := i.mayPlan(ctx, o); err != nil || !ok {
		return a, err
	}
	if o.cmd.Destroy {
		return i.destroy(ctx, o)
	}
	if o.snap.State == vcs.PullMerged {
		return i.planMerged(ctx, o)
	}
	if o.snap.State != vcs.PullOpen {
		return no(o.refused(report.Nothing)), nil
	}
	if trusted, err := i.trusted(ctx, o.place); err != nil {
		return answer{}, err
	} else if !trusted {
		if a, ok, err := i.sawHead(ctx, o); err != nil || !ok {
			return a, err
		}
	}
	q := request{cause: o.cause, actor: o.by.Login, why: "planned again for " + o.by.Login, flags: o.cmd.Flags}
	q.check = func(runs []run.Run) error {
		if a, ok, err := i.mayPlanThese(ctx, o, selected(runs)); err != nil || !ok {
			return cmp.Or(err, error(&declined{a}))
		}
		if why := i.flagsFit(o.cmd.Flags, runs); why != "" {
			r := o.refused(report.BadArguments)
			r.Detail = why
			return &declined{no(r)}
		}
		return nil
	}
	if o.cmd.Targeted() {
		q.pick = func(all []run.Selected) ([]run.Selected, error) {
			picked, err := pick(all, o.cmd)
			if err != nil {
				r := o.refused(report.BadArguments)
				r.Detail = err.Error()
				return nil, &declined{no(r)} //nolint:nilerr // it is the answer
			}
			return picked, nil
		}
	}
	_, err := i.revise(ctx, o.place, q)
	if d, ok := errors.AsType[*declined](err); ok {
		return d.answer, nil
	}
	return answer{}, err
}

// mayPlan says whether the commenter may plan what the pull request touched when it was last looked at, so that nobody else has anything
// fetched. What it touches now is judged when it is known.
func (i *Intake) mayPlan(ctx context.Context, o order) (answer, bool, error) {
	rev, err := i.Store.LatestRevision(ctx, o.pull.ID, run.KindChange)
	if err != nil && !errors.Is(err, run.ErrNotFound) {
		return answer{}, false, err
	}
	known := rev.Selection
	if o.cmd.Targeted() {
		if known, err = pick(rev.Selection, o.cmd); err != nil { // it may be a project that is not touched
			known = nil
		}
	}
	return i.mayPlanThese(ctx, o, known)
}

// mayPlanThese says whether the commenter may plan projects with the flags of the command: giving a variable its value is as good as
// changing the code, and takes the permission to apply.
func (i *Intake) mayPlanThese(ctx context.Context, o order, projects []run.Selected) (answer, bool, error) {
	if a, ok, err := i.may(ctx, o, projects); err != nil || !ok {
		return a, ok, err
	}
	if !slices.ContainsFunc(o.cmd.Flags, func(f string) bool { return strings.HasPrefix(f, "-var=") }) {
		return answer{}, true, nil
	}
	o.cmd.Verb = command.Apply
	return i.may(ctx, o, projects)
}

// flagsFit says why the flags of a command do not fit the projects that they are for; empty if they do.
func (i *Intake) flagsFit(flags []string, runs []run.Run) string {
	for _, r := range runs {
		if refused := command.VarFilesInside(r.Dir, flags); refused != nil {
			return refused.Error()
		}
		excludes := slices.ContainsFunc(flags, func(f string) bool { return strings.HasPrefix(f, "-exclude=") })
		if excludes && cmp.Or(r.Settings.Tool, i.Config.Tools.Default.Name) != "tofu" {
			return "-exclude is a flag of OpenTofu, and " + r.Label + " is planned with Terraform: name what to plan with -target"
		}
	}
	return ""
}

// sawHead binds the word of a maintainer on an untrusted pull request to the head whose report they saw.
func (i *Intake) sawHead(ctx context.Context, o order) (answer, bool, error) {
	r := o.refused(report.NotSeen)
	r.SHA = o.snap.Head.SHA
	if o.cmd.At != "" {
		return no(r), o.seen(run.Run{}, o.snap.Head.SHA, nil), nil
	}
	rev, err := i.Store.LatestRevision(ctx, o.pull.ID, run.KindChange)
	if err != nil && !errors.Is(err, run.ErrNotFound) {
		return answer{}, false, err
	}
	if rev.Head != o.snap.Head.SHA || !o.after(rev.Posted) {
		return no(r), false, nil
	}
	return answer{}, true, nil
}

// planMerged plans what a merge left undone again.
func (i *Intake) planMerged(ctx context.Context, o order) (answer, error) {
	rev, runs, err := i.Views.Current(ctx, o.pull)
	if errors.Is(err, views.ErrNothing) {
		return no(o.refused(report.Nothing)), nil
	}
	if err != nil {
		return answer{}, err
	}
	chosen, unknown, ok := o.named(runs)
	if !ok {
		return unknown, nil
	}
	var again []run.Run
	for _, r := range chosen {
		if r.Revision != rev.ID || r.Kind != run.KindMerge || r.State == run.Applied || r.State == run.Unchanged {
			continue
		}
		if r.State.Running() || r.State == run.Interrupted || r.Unsaved {
			return no(o.busy(r)), nil
		}
		next := run.Successor(r, o.cause)
		next.Actor = o.by.Login
		again = append(again, next)
	}
	if len(o.cmd.Flags) > 0 {
		r := o.refused(report.BadArguments)
		r.Detail = "after the merge there are no partial plans, because what was merged is applied as a whole"
		return no(r), nil
	}
	if again, err = i.notContained(ctx, again); err != nil {
		return answer{}, err
	}
	if len(again) == 0 {
		return no(o.refused(report.Nothing)), nil
	}
	if a, ok, err := i.mayPlanThese(ctx, o, selected(again)); err != nil || !ok {
		return a, err
	}
	_, err = i.Store.Advance(ctx, run.Scope{Pull: o.pull.ID}, func(s run.Snapshot) (run.Change, error) {
		return run.Revise(s, rev, again, "planned again for "+o.by.Login)
	})
	if errors.Is(err, run.ErrExists) {
		err = nil
	}
	return answer{}, err
}

// notContained leaves out the merges that a later one has in it, planned or applied: an apply of the older commit would take the later one's change back.
func (i *Intake) notContained(ctx context.Context, runs []run.Run) ([]run.Run, error) {
	projects := make([]run.ProjectID, len(runs))
	for n, r := range runs {
		projects[n] = r.Project
	}
	newest, err := i.Store.Newest(ctx, run.Filter{Kind: run.KindMerge, States: run.Decided()}, projects...)
	return slices.DeleteFunc(runs, func(r run.Run) bool { return newest[r.Project].Turn > r.Turn }), err
}

func (o order) busy(r run.Run) report.Reply {
	reply := o.refused(report.Busy)
	reply.Projects = []string{r.Label}
	if r.Unsaved {
		reply.Code = report.Unsaved
	}
	return reply
}

// apply confirms the planned runs that the command names, all of them or none, if the commenter may, has seen the plans, and every gate
// holds on one fresh snapshot.
func (i *Intake) apply(ctx context.Context, o order) (answer, error) {
	ready, a, ok, err := i.ready(ctx, o)
	if err != nil {
		return a, err
	}
	if !ok {
		return i.retry(ctx, o, a)
	}
	snap, err := i.Facts.Settled(ctx, o.repo, o.pull)
	if err != nil {
		return answer{}, err
	}
	for n := range ready {
		ready[n].ConfirmedBy = o.by.Login // after a merge it matters who says so
	}
	moments, err := i.Facts.Moments(ctx, i.Now(), o.pull, &snap, ready)
	if err != nil {
		return answer{}, err
	}
	if a, ok := o.gates(moments, ready); !ok {
		if slices.ContainsFunc(moments, func(m run.Moment) bool { return m.Head == vcs.No || m.Fresh == vcs.No }) {
			err = i.Store.Enqueue(ctx, staleJob(o.pull.ID)) // it was asked for
		}
		return a, err
	}
	at := make([]run.At, len(ready))
	ids := make([]run.ID, len(ready))
	gates := make([][]run.Gate, len(ready))
	for n, r := range ready {
		at[n], ids[n], gates[n] = run.At{ID: r.ID, Epoch: r.Epoch}, r.ID, run.Gates(moments[n])
	}
	_, err = i.Store.Advance(ctx, run.Scope{Runs: at, Pull: o.pull.ID}, func(s run.Snapshot) (run.Change, error) {
		c, err := run.Confirm(s, ids, o.by.Login, gates...)
		c.Audit = append(c.Audit, o.row(answer{}))
		return c, err
	})
	return answer{}, err // ErrMoved: the job looks again
}

// ready is the runs that the command names, which the commenter has seen planned and may act on. ok is false with the answer that says why
// there are none.
func (i *Intake) ready(ctx context.Context, o order) (_ []run.Run, _ answer, ok bool, _ error) {
	rev, runs, err := i.Views.Current(ctx, o.pull)
	if errors.Is(err, views.ErrNothing) {
		return nil, no(o.refused(report.Nothing)), false, nil
	}
	if err != nil {
		return nil, answer{}, false, err
	}
	chosen, unknown, ok := o.named(runs)
	if !ok {
		return nil, unknown, false, nil
	}
	past, err := i.Store.Runs(ctx, run.Filter{Revision: rev.ID})
	if err != nil {
		return nil, answer{}, false, err
	}
	ready, a := o.planned(rev, chosen, past)
	if a.refused {
		return nil, a, false, nil
	}
	a, ok, err = i.may(ctx, o, selected(ready))
	return ready, a, ok, err
}

// planned picks the runs that can be confirmed, or says why there are none. past are all runs of the revision.
func (o order) planned(rev run.Revision, runs, past []run.Run) ([]run.Run, answer) {
	var ready []run.Run
	for _, r := range runs {
		switch r.State {
		case run.Queued, run.Planning, run.Interrupted:
			return nil, no(o.busy(r))
		case run.Failed:
			if r.Unsaved { // "nothing to apply" would hide why
				return nil, no(o.busy(r))
			}
		case run.Planned:
			if o.pull.State == string(vcs.PullOpen) && rev.Head != o.snap.Head.SHA || !o.seen(r, rev.Head, past) {
				reply := o.refused(report.NotSeen)
				reply.SHA = o.snap.Head.SHA
				return nil, no(reply)
			}
			ready = append(ready, r)
		default: // has ended, or is being applied
		}
	}
	if len(ready) == 0 {
		return nil, no(o.refused(report.Nothing))
	}
	return ready, answer{}
}

// gates answers with what is missing, if anything is. A preview may be confirmed with what it depends on.
func (o order) gates(moments []run.Moment, confirmed []run.Run) (answer, bool) {
	reply := o.refused(report.NotReady)
	for _, m := range moments {
		open := false
		for _, g := range run.Gates(m) {
			if !g.Holds && !(g.Name == run.GateDepends && run.Leads(m, confirmed)) {
				open = true
				if !slices.Contains(reply.Gates, g) {
					reply.Gates = append(reply.Gates, g)
				}
			}
		}
		if open {
			reply.Projects = append(reply.Projects, m.Run.Label)
		}
	}
	if len(reply.Gates) == 0 {
		return answer{}, true
	}
	return no(reply), false
}

// approve overrides the soft findings that the commenter owns, for exactly the plans they saw.
func (i *Intake) approve(ctx context.Context, o order) (answer, error) {
	if strings.TrimSpace(o.cmd.Reason) == "" {
		r := o.refused(report.BadArguments)
		r.Detail = `say why: approve --reason "…"`
		return no(r), nil
	}
	stopped, err := i.stopped(ctx, o)
	if err != nil {
		return answer{}, err
	}
	ready, a, ok, err := i.ready(ctx, o)
	if err != nil || !ok && len(stopped) == 0 {
		return a, err
	}
	if !ok {
		ready = nil
	}
	if len(stopped) > 0 {
		if a, ok, err := i.may(ctx, o, selected(stopped)); err != nil || !ok {
			return a, err
		}
	}
	ready = append(ready, stopped...)
	if o.wrote() {
		r := o.refused(report.Denied)
		r.Detail = "Who wrote the change cannot override a policy that stops it"
		return no(r), nil
	}
	overrides, denied, err := i.overrides(ctx, o, ready)
	if err != nil {
		return answer{}, err
	}
	if len(overrides) == 0 {
		r := o.refused(report.Nothing)
		if denied != "" {
			r = o.refused(report.Denied)
			r.Detail = denied
		}
		return no(r), nil
	}
	at := make([]run.At, len(ready))
	for n, r := range ready {
		at[n] = run.At{ID: r.ID, Epoch: r.Epoch}
	}
	again, err := i.freed(ctx, o, stopped, overrides)
	if err != nil {
		return answer{}, err
	}
	err = i.advance(ctx, o.place, run.Scope{Runs: at}, func(run.Snapshot) (run.Change, error) {
		c := run.Change{Action: run.ActOverride, Pull: &o.pull, New: again, Overrides: overrides, Audit: []run.Audit{o.row(answer{})}}
		for _, ov := range overrides {
			c.Audit = append(c.Audit, run.Audit{
				Actor: o.by.Login, Action: string(run.ActOverride), Repo: o.repo.ID, Pull: o.pull.ID, Outcome: "done",
				Detail: fmt.Sprintf("%s/%s on %s: %s", ov.Set, ov.Rule, ov.Resource, ov.Reason),
			})
		}
		return c, nil
	})
	if errors.Is(err, run.ErrExists) { // it was said before
		err = nil
	}
	return answer{}, err
}

// wrote says whether the commenter is the author or a contributor of the change.
func (o order) wrote() bool {
	if strings.EqualFold(o.by.Login, o.snap.Author.Login) {
		return true
	}
	return slices.ContainsFunc(o.snap.Contributors, func(c string) bool { return strings.EqualFold(c, o.by.Login) })
}

// overrides makes an override for each soft finding of the runs that the commenter owns; denied says why there are none.
func (i *Intake) overrides(ctx context.Context, o order, runs []run.Run) (made []run.Override, denied string, err error) {
	ids := make([]run.ID, len(runs))
	for n, r := range runs {
		ids[n] = r.ID
	}
	findings, err := i.Store.Findings(ctx, ids...)
	if err != nil {
		return nil, "", err
	}
	for _, r := range runs {
		for _, f := range findings[r.ID] {
			if f.Level == run.Hard && (o.cmd.Policy == "" || o.cmd.Policy == f.Set) {
				denied = fmt.Sprintf("Rule %s is hard: it cannot be overridden, only fixed", f.Rule)
			}
			if f.Level != run.Soft || o.cmd.Policy != "" && o.cmd.Policy != f.Set {
				continue
			}
			owns, err := i.owns(ctx, o, f.Owners)
			if err != nil {
				return nil, "", err
			}
			if !owns {
				denied = fmt.Sprintf("Policy set %s is owned by %s", f.Set, strings.Join(append(slices.Clone(f.Owners.Users), f.Owners.Teams...), ", "))
				continue
			}
			made = append(made, run.Override{
				Pull: o.pull.ID, Project: r.Project, Set: f.Set, Rule: f.Rule, Resource: f.Resource, Value: f.Value,
				Effect: run.Bound(r, f), Policy: r.PolicyDigest, Actor: o.by.Login, Reason: o.cmd.Reason, At: i.Now(),
			})
		}
	}
	return made, denied, nil
}

func (i *Intake) owns(ctx context.Context, o order, owners run.Owners) (bool, error) {
	if slices.ContainsFunc(owners.Users, func(u string) bool { return strings.EqualFold(u, o.by.Login) }) {
		return true, nil
	}
	for _, team := range owners.Teams {
		in, err := o.host.Member(ctx, team, o.by.Login)
		if err != nil {
			return false, fmt.Errorf("look up %s in %s: %w", o.by.Login, team, err)
		}
		if in {
			return true, nil
		}
	}
	return false, nil
}

// cancel ends the runs that the command names.
func (i *Intake) cancel(ctx context.Context, o order) (answer, error) {
	_, runs, err := i.Views.Current(ctx, o.pull)
	if errors.Is(err, views.ErrNothing) {
		return no(o.refused(report.Nothing)), nil
	}
	if err != nil {
		return answer{}, err
	}
	chosen, unknown, ok := o.named(runs)
	if !ok {
		return unknown, nil
	}
	if a, ok, err := i.may(ctx, o, selected(chosen)); err != nil || !ok {
		return a, err
	}
	stopped, err := operator.Cancel(ctx, i.Store, chosen, o.by.Login, o.row(answer{}))
	if err == nil && len(stopped) == 0 {
		return no(o.refused(report.Nothing)), nil
	}
	return answer{}, err
}

// unlock frees the holds of the pull request; a run that was interrupted, or could not save its state, is acknowledged when it is named.
func (i *Intake) unlock(ctx context.Context, o order) (answer, error) {
	if o.cmd.State != "" {
		return i.forceUnlock(ctx, o)
	}
	_, runs, err := i.Views.Current(ctx, o.pull)
	if err != nil && !errors.Is(err, views.ErrNothing) {
		return answer{}, err
	}
	chosen, unknown, ok := o.named(runs)
	if !ok {
		return unknown, nil
	}
	if a, ok, err := i.may(ctx, o, selected(chosen)); err != nil || !ok {
		return a, err
	}
	for _, r := range chosen {
		if r.State != run.Interrupted && !r.Unsaved {
			continue
		}
		if len(o.cmd.Projects)+len(o.cmd.Dirs) == 0 {
			reply := o.refused(report.Confirm)
			reply.Given, reply.Projects = fmt.Sprintf("%s unlock -p %s", i.prefix(), r.Label), []string{r.Label}
			return no(reply), nil
		}
		if _, err := operator.Acknowledge(ctx, i.Store, r, o.by.Login); err != nil {
			return answer{}, err
		}
	}
	var projects []run.ProjectID
	if o.cmd.Targeted() {
		for _, r := range chosen {
			projects = append(projects, r.Project)
		}
	}
	_, err = operator.Unlock(ctx, i.Store, o.pull.ID, o.by.Login, projects...)
	return answer{}, err
}
