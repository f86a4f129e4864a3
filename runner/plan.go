package runner

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/facts"
	"github.com/planlatch/planlatch/policy"
	"github.com/planlatch/planlatch/redact"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/views"
)

// The names under which run.Run.Blobs holds the keys of what a phase left.
const (
	blobPlan     = "plan"
	blobPlanJSON = "plan_json"
	blobLock     = "lock"
	blobHidden   = "hidden" // what the plan was given, which policy may quote from it
	// BlobErrored is the state that an apply could not save: the only copy.
	BlobErrored = "errored_state"
)

// PlanBlobs names the blobs of a run that nobody reads once it has ended and its state is saved.
func PlanBlobs() []string { return []string{blobPlan, blobPlanJSON, blobLock, blobHidden, BlobErrored} }

// ErroredState ends the key of every blob that is a state which could not be saved.
const ErroredState = "/" + fileErrored

func (r *Runner) planPhase(running run.Run) phase {
	p := phase{name: "plan", run: running}
	p.prepare = func(ctx context.Context) (prepared, error) {
		g, err := r.stand(ctx, running)
		if err == nil {
			err = r.admit(ctx, g)
		}
		if err == nil {
			g, err = r.equip(ctx, g)
		}
		if err != nil {
			return prepared{}, err
		}
		return r.preparePlan(ctx, &g)
	}
	p.settle = func(ctx context.Context, e ending) error { return r.settlePlan(ctx, p, e) }
	return p
}

func (r *Runner) preparePlan(ctx context.Context, g *ground) (prepared, error) {
	inputs, done, err := r.layLock(ctx, g)
	if err != nil {
		return prepared{}, err
	}
	if err := r.entitle(ctx, g, "plan"); err != nil {
		done()
		return prepared{}, err
	}
	spec := r.planSpec(*g)
	spec.Inputs = inputs
	return prepared{spec: spec, grant: g.grant, done: done}, nil
}

// layLock lays out the lock file if the tool will find more in it than the repository has.
func (r *Runner) layLock(ctx context.Context, g *ground) (inputs []executor.File, done func(), err error) {
	before, err := lockFile(*g)
	if err != nil {
		return nil, nil, err
	}
	lock, err := r.provide(ctx, g, before)
	if err != nil {
		return nil, nil, err
	}
	files := map[string][]byte{}
	if !bytes.Equal(lock, before) {
		files[fileLock] = lock
	}
	return r.lay(ctx, files)
}

// settlePlan reads what a plan left, judges it, keeps it, and writes the outcome.
func (r *Runner) settlePlan(ctx context.Context, p phase, e ending) error {
	var o run.PlanOutcome
	switch {
	case e.lost != nil || e.result.Ended == executor.EndLost:
		o.Lost = true
	case e.early || asked(e.result): // what people asked for is in the run, and wins; else the server had to stop
		o.Stopped = true
	case e.stopped != nil: // by policy, before anything ran
		o = run.PlanOutcome{Failed: e.failed, Planned: e.stopped.planned, Findings: e.stopped.findings}
	case e.failed == "" && e.result.OK(len(r.sequence(ground{run: p.run}, "plan"))):
		var err error
		if o, err = r.judged(ctx, p, e); err != nil {
			return err
		}
	default:
		var err error
		if o, err = r.failedPlan(ctx, p, e); err != nil {
			return err
		}
	}
	scope, err := r.branchOf(ctx, p.run)
	if err != nil {
		return err
	}
	return r.settled(ctx, p, scope, func(s run.Snapshot) (run.Change, error) { return run.SettlePlan(s, p.run.ID, o) })
}

// branchOf is the scope of the other merges into a merge run's branch, some of which its plan may contain.
func (r *Runner) branchOf(ctx context.Context, of run.Run) (run.Scope, error) {
	if of.Turn == 0 {
		return run.Scope{}, nil
	}
	rev, err := r.Store.Revision(ctx, of.Revision)
	return run.Scope{Repo: rev.Repo, Branch: rev.Branch}, err
}

func (r *Runner) failedPlan(ctx context.Context, p phase, e ending) (run.PlanOutcome, error) {
	kept := views.Kept{Failure: tail(e.log)}
	if lock, ok := report.LockError(e.log); ok {
		lock.Ours = r.leftByOurApply(ctx, p.run, lock)
		kept.Lock = &lock
	}
	key, err := views.Keep(ctx, r.Blobs, p.run.ID, unique(p.run.Execution), kept)
	if err != nil {
		return run.PlanOutcome{}, err
	}
	o := run.PlanOutcome{Failed: why(e, len(r.sequence(ground{run: p.run}, "plan"))), Planned: run.Run{Blobs: map[string]string{views.KeptPlan: key}}}
	if b := p.run.Settings.Backend; o.Failed != "" && (b == "remote" || b == "cloud") {
		o.Failed += "; if it runs remotely, " + localExecution
	}
	if kept.Lock != nil && r.leftByOurPlan(ctx, p.run, *kept.Lock) {
		o.Unlock = kept.Lock.ID
	}
	return o, nil
}

// left is what a finished plan execution left behind.
type left struct {
	plan, planJSON, lock, backend []byte
}

// The most that is read of what a plan left. It may be a file of nothing but a hole, which costs its writer nothing and us the memory.
const (
	maxPlan     = 256 << 20
	maxPlanJSON = 128 << 20 // it takes several times as much once it is read
)

// mostOf are the bounds of what a plan leaves.
var mostOf = map[string]int64{filePlan: maxPlan, filePlanJSON: maxPlanJSON, fileLock: maxLockFile, fileBackend: maxLockFile}

// oversized is a refusal if a plan left more than is read.
func oversized(result executor.Result) error {
	for _, a := range result.Outputs {
		if most, ok := mostOf[a.Name]; ok && a.Size > most {
			return refuse("the plan left a %s of %d bytes, more than the %d that are read; split the project", a.Name, a.Size, most)
		}
	}
	return nil
}

// leftovers reads what a finished plan execution left. Error: also a refusal.
func (r *Runner) leftovers(ctx context.Context, name executor.Name, result executor.Result) (left, error) {
	var l left
	if err := oversized(result); err != nil {
		return l, err
	}
	for file, to := range map[string]*[]byte{filePlan: &l.plan, filePlanJSON: &l.planJSON, fileLock: &l.lock, fileBackend: &l.backend} {
		var err error
		if *to, err = r.output(ctx, result, name, file); err != nil {
			return l, err
		}
	}
	return l, withholdable(l.planJSON)
}

// withholdable is a refusal if a plan marks more as sensitive than can be looked for in what is said of it.
func withholdable(planJSON []byte) error {
	sensitive, err := redact.Sensitive(planJSON)
	if err != nil {
		return nil //nolint:nilerr // reading the plan says so, and refuses it
	}
	if !redact.Fits(sensitive) {
		size := 0
		for _, s := range sensitive {
			size += len(s)
		}
		return refuse("the plan marks %d values of %d bytes as sensitive, more than can be withheld; keep large secrets out of the plan, or split the project",
			len(sensitive), size)
	}
	return nil
}

// judged turns a successful plan into its outcome: effect, findings, and for a merge whether it may apply by itself.
func (r *Runner) judged(ctx context.Context, p phase, e ending) (run.PlanOutcome, error) {
	var no *refusal
	l, err := r.leftovers(ctx, executor.Name(p.run.Execution), e.result)
	if errors.As(err, &no) {
		e.failed, e.log = no.text, "" // nobody knows what of it is secret
		return r.failedPlan(ctx, p, e)
	}
	if err != nil {
		return run.PlanOutcome{}, err
	}
	if e.log, err = r.hideLate(ctx, p, e.log, l.planJSON); err != nil {
		return run.PlanOutcome{}, err
	}
	g, err := r.prepareGround(ctx, p.run)
	if err != nil {
		return run.PlanOutcome{}, err
	}
	if g.hidden, err = r.hiddenFrom(ctx, p); errors.Is(err, errForgotten) {
		e.failed = err.Error() + "; plan again"
		return r.failedPlan(ctx, p, e)
	} else if err != nil {
		return run.PlanOutcome{}, err
	}
	a, err := r.assess(ctx, g, l)
	switch {
	case errors.As(err, &no):
		e.failed = veilRefusal(g.hidden, l.planJSON, no.text)
		return r.failedPlan(ctx, p, e)
	case err != nil:
		return run.PlanOutcome{}, err
	}
	planned := a.planned
	if planned.InputsDigest, err = facts.Inputs(ctx, r.Git.Repo(g.repo.Host, g.repo.HostID), g.rev.Tree, p.run); err != nil {
		return run.PlanOutcome{}, err
	}
	if planned.RestOf, a.kept.Plan.Twice, err = r.afterTry(ctx, planned, a.kept); err != nil {
		return run.PlanOutcome{}, err
	}
	if err := r.identify(ctx, p.run, planned.Identity); err != nil {
		return run.PlanOutcome{}, err
	}
	if a.kept.Beside, err = r.beside(ctx, g); err != nil {
		return run.PlanOutcome{}, err
	}
	if planned.Blobs, err = r.keep(ctx, p, l, g.hidden, a.kept); err != nil {
		return run.PlanOutcome{}, err
	}
	o := run.PlanOutcome{Unchanged: a.kept.Effect.Empty, Planned: planned, Findings: a.findings}
	if o.Unchanged {
		return o, nil
	}
	if len(a.kept.Plan.Twice) > 0 {
		o.Waits = "it would create again what an apply that was interrupted has created"
		return o, nil
	}
	if o.Confirm, err = r.continues(ctx, planned); err != nil || o.Confirm != "" {
		return o, err
	}
	if p.run.Kind == run.KindMerge {
		o.Confirm, o.Waits, err = r.standsForMerge(ctx, g, planned, a.kept.Effect, a.findings)
	}
	return o, err
}

// continues returns who confirmed the plan that this one replaces by no fault of the change, if its effect is the same and nothing that it
// depends on is left to apply; else nobody. The claim judges the gates as for every apply.
func (r *Runner) continues(ctx context.Context, planned run.Run) (string, error) {
	id, ok := run.Continues(planned)
	if !ok {
		return "", nil
	}
	before, err := r.Store.Run(ctx, id)
	by := before.ConfirmedBy
	same := before.EffectDigest == planned.EffectDigest
	if before.State == run.Failed { // somebody said apply again
		by, same = planned.Actor, planned.RestOf != ""
	}
	if err != nil || by == "" || !same || before.Partial != planned.Partial {
		return "", err
	}
	pending, err := r.pending(ctx, planned)
	if err != nil || len(pending) > 0 {
		return "", err
	}
	return by, nil
}

// pending lists the projects that must apply before a plan is more than a preview.
func (r *Runner) pending(ctx context.Context, planned run.Run) ([]run.Run, error) {
	latest, err := r.Store.Newest(ctx, run.Filter{Revision: planned.Revision}, planned.Settings.After...)
	if err != nil {
		return nil, err
	}
	return run.Pending(planned, latest), nil
}

// assessed is what a plan means: the fields of its run, what is shown of it, what policy says.
type assessed struct {
	planned  run.Run
	kept     views.Kept
	findings []run.Finding
}

// assess reads and judges what a plan left. A refusal says why it cannot be read.
func (r *Runner) assess(ctx context.Context, g ground, l left) (assessed, error) {
	if len(l.plan) == 0 || len(l.planJSON) == 0 {
		return assessed{}, refuse("the tool left no plan")
	}
	if remotePlan(l.plan) {
		return assessed{}, refuse("the plan was made remotely, where nothing of it can be isolated or bound to what is reviewed: %s", localExecution)
	}
	a := assessed{planned: g.run}
	var err error
	if a.kept, err = r.read(g, l.planJSON); err != nil {
		return a, refuse("%v", err)
	}
	a.planned.Tool, a.planned.Partial = g.tool.Name+" "+g.tool.Version, len(g.run.Settings.Flags) > 0
	a.planned.EffectDigest, a.planned.Counts = a.kept.Effect.Digest, a.kept.Plan.Counts
	a.planned.PlanDigest = digest(l.plan)
	resolved, err := stateOf(l)
	if err != nil {
		return a, refuse("%v", err)
	}
	a.planned.NoBackend = r.forgets(g, resolved)
	if !a.planned.NoBackend {
		a.planned.Identity = resolved.identity(cmp.Or(resolved.Workspace, g.run.Work))
	}
	judgement, err := r.judge(ctx, g, l.planJSON)
	if err != nil {
		return a, err
	}
	onSource, err := r.judgeSource(ctx, g)
	if err != nil {
		return a, err
	}
	judgement = judgement.With(onSource)
	a.planned.PolicyDigest, a.kept.NoPolicy, a.findings = judgement.Digest, len(judgement.Sets) == 0, judgement.Findings
	return a, nil
}

// read turns plan JSON into what is shown of it, with every secret withheld, and its effect.
func (r *Runner) read(g ground, planJSON []byte) (views.Kept, error) {
	effect, err := run.EffectOf(bytes.NewReader(planJSON), r.o.EffectKey, g.run.Settings.EffectIgnore)
	if err != nil {
		return views.Kept{}, err
	}
	veil, err := veilOf(g.hidden, planJSON)
	if err != nil {
		return views.Kept{}, err
	}
	plan, err := report.ReadPlan(planJSON, report.ReadOptions{Locate: locate(g.tree, g.run.Dir), Redact: veil})
	if err != nil {
		return views.Kept{}, err
	}
	return views.Kept{Plan: plan, Effect: effect}, nil
}

// keep stores what apply, page and report need later.
func (r *Runner) keep(ctx context.Context, p phase, l left, hidden []string, kept views.Kept) (map[string]string, error) {
	dir := fmt.Sprintf("runs/%s/%s/", p.run.ID, unique(p.run.Execution))
	blobs := map[string]string{}
	var given []byte
	own := slices.DeleteFunc(slices.Clone(hidden), func(s string) bool { return slices.Contains(r.o.Secrets, s) })
	if len(own) > 0 {
		var err error
		if given, err = json.Marshal(own); err != nil {
			return nil, err
		}
	}
	for name, data := range map[string][]byte{blobPlan: l.plan, blobPlanJSON: l.planJSON, blobLock: l.lock, blobHidden: given} {
		if len(data) == 0 {
			continue
		}
		if err := r.Blobs.Put(ctx, dir+name, data); err != nil {
			return nil, fmt.Errorf("keep the plan: %w", err)
		}
		blobs[name] = dir + name
	}
	key, err := views.Keep(ctx, r.Blobs, p.run.ID, unique(p.run.Execution), kept)
	if err != nil {
		return nil, err
	}
	blobs[views.KeptPlan] = key
	return blobs, nil
}

// unique makes a blob key of an execution new every time: a settle that is repeated after a kill must not meet the half-written blobs of
// the first try, and blobs are immutable.
func unique(execution string) string {
	return fmt.Sprintf("%s-%x", execution, time.Now().UnixNano())
}

// judge asks policy what it thinks of a plan, and keeps secrets out of what it says. It never fails open: policy turns its own faults into
// findings.
func (r *Runner) judge(ctx context.Context, g ground, planJSON []byte) (policy.Judgement, error) {
	in, err := r.policyInput(ctx, g)
	if err != nil {
		return policy.Judgement{}, err
	}
	in.Plan = planJSON
	veil, err := veilOf(g.hidden, planJSON)
	if err != nil {
		return policy.Judgement{}, err
	}
	j := r.Policy.Judge(ctx, in)
	j.Findings = r.veiled(j.Findings, veil)
	return j, ctx.Err()
}

// places are the targets that guard a run: its own, and the one that it is moved from, so that a move escapes no rule.
func (g ground) places() []selector.Target {
	at := facts.Target(g.repo, g.run)
	all := []selector.Target{at}
	if from := g.rev.MovedFrom(g.run.Dir, g.run.Work); from != "" {
		at.Dir = from
		all = append(all, at)
	}
	return all
}

// judged says which sets judge a run.
func (g ground) judged() policy.Input {
	places := g.places()
	return policy.Input{Target: places[0], Also: places[1:]}
}

// policyInput is what policy may know around a run.
func (r *Runner) policyInput(ctx context.Context, g ground) (policy.Input, error) {
	in := g.judged()
	in.Context = policy.Context{Environment: g.run.Settings.Environment, Kind: g.run.Kind, Project: g.run.Label, Now: time.Now()}
	if g.run.Pull != 0 {
		pull, err := r.Store.Pull(ctx, g.run.Pull)
		if err != nil {
			return in, err
		}
		in.Context.Pull = &policy.Pull{Number: pull.Number, Author: pull.Author, Title: pull.Title, Draft: pull.Draft}
	}
	return in, nil
}

// standsForMerge decides whether a merged plan applies by itself (semantics 21), and who stands for it; else why it waits.
func (r *Runner) standsForMerge(ctx context.Context, g ground, planned run.Run, effect run.Effect, findings []run.Finding) (confirm, waits string, err error) {
	if g.run.Pull == 0 {
		return "", "it was pushed without a pull request", nil
	}
	if run.AfterDoubt(planned) {
		return "", "this is what is left after an apply that was in doubt", nil
	}
	if planned.Settings.Apply != run.ApplyAfterMerge {
		return "", fmt.Sprintf("merged before it was applied; apply: %s waits for a person", planned.Settings.Apply), nil
	}
	if g.run.Reviewed == "" {
		return "", "it was not planned before the merge", nil
	}
	if pending, err := r.pending(ctx, planned); err != nil {
		return "", "", err
	} else if len(pending) > 0 {
		return "", fmt.Sprintf("%s has to apply first; it is planned again after that", pending[0].Label), nil
	}
	reviewed, err := r.Store.Run(ctx, g.run.Reviewed)
	if err != nil {
		return "", "", err
	}
	pull, err := r.Store.Pull(ctx, g.run.Pull)
	if err != nil {
		return "", "", err
	}
	snap, err := r.Facts.Snapshot(ctx, g.repo, pull)
	if err != nil {
		return "", "", err
	}
	if reviewed.Posted.IsZero() || reviewed.Posted.After(snap.MergedAt) {
		return "", "its plan was not posted before the merge", nil
	}
	if same, err := r.sameEffect(ctx, planned, reviewed, effect); err != nil || !same {
		return "", "the merged plan has another effect than the reviewed one", err
	}
	if failed, err := r.failedBefore(ctx, planned); err != nil || failed != "" {
		return "", failed, err
	}
	moments, err := r.Facts.Moments(ctx, time.Now(), pull, &snap, []run.Run{reviewed})
	if err != nil {
		return "", "", err
	}
	m := moments[0]
	m.Merged, m.HeldBy, m.Pending, m.Pause = true, "", nil, nil // a pause holds the apply back in its claim
	m.Run.State = run.Planned                                   // as it was at the merge; it was superseded by it
	for _, gate := range run.Gates(m) {
		if !gate.Holds {
			return "", "a gate was shut when it was merged: " + gate.Text, nil
		}
	}
	if v := run.Judge(planned, findings, m.Overrides); v != run.VerdictPass && v != run.VerdictWarn {
		return "", "policy stops the merged plan", nil
	}
	return r.whoMay(ctx, g, m, snap)
}

// sameEffect says whether a merged plan does what was reviewed: all of it, or, after an apply of this merge that failed half way, exactly
// the rest of it (semantics 26).
func (r *Runner) sameEffect(ctx context.Context, planned, reviewed run.Run, effect run.Effect) (bool, error) {
	if planned.EffectDigest == reviewed.EffectDigest {
		return true, nil
	}
	before, err := r.Store.Runs(ctx, run.Filter{Revision: planned.Revision, Project: planned.Project, States: []run.State{run.Failed}})
	if err != nil {
		return false, err
	}
	if !slices.ContainsFunc(before, func(b run.Run) bool { return !b.ApplyStarted.IsZero() }) {
		return false, nil
	}
	kept, err := (&views.Viewer{Blobs: r.Blobs}).Read(ctx, reviewed, views.KeptPlan)
	if err != nil {
		return false, err
	}
	return effect.Minus(kept.Effect), nil
}

// failedBefore says that the apply of another project of the same merge failed, after which no further one starts by itself
// (on_failure: stop); empty if none did.
func (r *Runner) failedBefore(ctx context.Context, planned run.Run) (string, error) {
	ended, err := r.Store.Runs(ctx, run.Filter{Revision: planned.Revision, States: []run.State{run.Failed, run.Interrupted}})
	if err != nil {
		return "", err
	}
	for _, e := range ended {
		if e.Project != planned.Project && !e.ApplyStarted.IsZero() && e.Settings.OnFailure != "continue" {
			return fmt.Sprintf("not started because the apply of %s failed", e.Label), nil
		}
	}
	return "", nil
}

// whoMay finds the merger, or else a counted approver, with permission to apply.
func (r *Runner) whoMay(ctx context.Context, g ground, m run.Moment, snap vcs.Pull) (confirm, waits string, err error) {
	for _, person := range append([]string{snap.MergedBy.Login}, run.Approvers(m)...) {
		if person == "" {
			continue
		}
		all := true
		for _, at := range g.places() {
			ok, err := r.o.Permitted(ctx, g.repo, person, "apply", at)
			if err != nil {
				return "", "", err
			}
			all = all && ok
		}
		if all {
			return person, "", nil
		}
	}
	return "", "neither who merged it nor who approved it may apply", nil
}

func digest(data []byte) string {
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:])
}

// tail keeps the end of a log, where the error stands.
func tail(log string) string {
	const most = 64 << 10
	if len(log) > most {
		return log[len(log)-most:]
	}
	return log
}

// lay writes private files for an execution where it takes its inputs from. done removes them.
func (r *Runner) lay(ctx context.Context, files map[string][]byte) (inputs []executor.File, done func(), err error) {
	if len(files) == 0 {
		return nil, func() {}, nil
	}
	if err := os.MkdirAll(filepath.Join(r.o.Dir, dirInputs), 0o700); err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp(filepath.Join(r.o.Dir, dirInputs), "run-")
	if err != nil {
		return nil, nil, err
	}
	done = func() {
		if err := os.RemoveAll(dir); err != nil {
			r.complain(ctx, "remove the files of an execution", err)
		}
	}
	for name, data := range files {
		file := executor.File{Name: name, Path: filepath.Join(dir, name), SHA256: digest(data), Sealed: name == filePlan}
		if err := os.WriteFile(file.Path, data, 0o600); err != nil {
			done()
			return nil, nil, err
		}
		inputs = append(inputs, file)
	}
	return inputs, done, nil
}
