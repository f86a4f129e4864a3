package intake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/planlatch/planlatch/command"
	"github.com/planlatch/planlatch/operator"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/vcs"
)

// order is one command being carried out.
type order struct {
	place
	cmd     command.Command
	by      vcs.User
	comment vcs.Comment
	cause   string
}

// answer is what a command came to: refused says that nothing was done; an empty text says nothing at all.
type answer struct {
	refused bool
	text    string
	why     string // of a refusal, for the audit
}

// no is a refusal with its reason.
func no(r report.Reply) answer {
	why := []string{string(r.Code)}
	for _, g := range r.Gates {
		why = append(why, g.Text)
	}
	if r.Detail != "" {
		why = append(why, r.Detail)
	}
	return answer{refused: true, text: r.Text(), why: strings.Join(why, "; ")}
}

// late is how old a command may be when it reaches us; older ones may no longer be meant (semantics 10).
const late = time.Hour

// comment carries out the commands of a comment, or answers a near miss.
func (i *Intake) comment(ctx context.Context, p place, e vcs.Event) (string, error) {
	c := *e.Comment
	if ours, err := i.ours(ctx, p, c); err != nil || ours {
		return "ignored: our own comment", err
	}
	self, err := p.host.Self(ctx)
	if err != nil {
		return "", fmt.Errorf("ask who we are: %w", err)
	}
	cmds, near := command.Parse(c.Body, command.Options{Prefixes: i.Config.Commands.Prefixes, Bot: self.Login, Flags: i.Config.Commands.Flags})
	if len(cmds) == 0 && near == nil {
		return "no command", nil
	}
	defer i.one(p.repo.ID, e.Number)()
	if p, err = i.see(ctx, p, e.Number); err != nil {
		return "", err
	}
	if !p.rules.Branch(p.snap.Base.Branch, p.repo.DefaultBranch) {
		return fmt.Sprintf("ignored: base branch %s does not plan", p.snap.Base.Branch), nil
	}
	if near != nil && len(cmds) == 0 {
		_, suggestion, _ := strings.Cut(near.Advice, `"`)
		suggestion, _, _ = strings.Cut(suggestion, `"`)
		suggestion = strings.TrimPrefix(suggestion, i.prefix()+" ") // the answer says the prefix itself
		advice := report.Reply{Code: report.UnknownCommand, Given: near.Text, Suggestion: suggestion, Prefix: i.prefix()}
		return "near miss", i.Store.Want(ctx, reply(p, c, near.Line, no(advice))...)
	}
	i.react(ctx, p, c, vcs.ReactionSeen)
	var outcomes []string
	for _, cmd := range cmds {
		o := order{place: p, cmd: cmd, by: c.Author, comment: c, cause: fmt.Sprintf("comment:%s:%d", c.ID, cmd.Line)}
		if before, err := i.Store.AuditRows(ctx, run.AuditFilter{Repo: p.repo.ID, Cause: o.cause, Limit: 1}); err != nil {
			return "", err
		} else if len(before) > 0 { // this process, or another, died after it
			outcomes = append(outcomes, string(cmd.Verb)+" "+before[0].Outcome+" before")
			continue
		}
		a, err := i.carryOut(ctx, o)
		if err != nil {
			return "", fmt.Errorf("%s: %w", cmd.Verb, err)
		}
		if err := operator.Record(ctx, i.Store, o.row(a), reply(p, c, cmd.Line, a)...); err != nil {
			return "", err
		}
		if a.refused {
			i.react(ctx, p, c, vcs.ReactionRefused)
			outcomes = append(outcomes, string(cmd.Verb)+" refused")
		} else {
			outcomes = append(outcomes, string(cmd.Verb)+" done")
		}
	}
	return strings.Join(outcomes, ", "), nil
}

// ours says whether a comment is one that we wrote: by its stored id, or by our marker in our account's words. The account alone does not
// tell, because a team may run us with a person's token (semantics 17).
func (i *Intake) ours(ctx context.Context, p place, c vcs.Comment) (bool, error) {
	known, err := i.Store.OwnComment(ctx, p.repo.ID, c.ID)
	if err != nil || known {
		return known, err
	}
	if !strings.Contains(c.Body, "<!-- planlatch:") {
		return false, nil
	}
	self, err := p.host.Self(ctx)
	if err != nil {
		return false, fmt.Errorf("ask who we are: %w", err)
	}
	return strings.EqualFold(self.Login, c.Author.Login), nil
}

// react is an acknowledgement; a command does not fail for want of one.
func (i *Intake) react(ctx context.Context, p place, c vcs.Comment, with vcs.Reaction) {
	if c.Review {
		return // reviews take no reactions
	}
	if err := p.host.React(ctx, vcsRepo(p.repo), p.pull.Number, c.ID, with); err != nil {
		i.Log.Warn("react to a comment", "comment", c.ID, "error", err)
	}
}

// reply is what is posted as an answer, once per command; nothing when there is nothing to say.
func reply(p place, c vcs.Comment, line int, a answer) []run.Posting {
	if a.text == "" {
		return nil
	}
	return []run.Posting{{
		Kind: run.PostReply, Repo: p.repo.ID, Pull: p.pull.ID, Key: fmt.Sprintf("reply:%s:%d", c.ID, line), Body: a.text,
	}}
}

func (i *Intake) prefix() string { return i.Config.Commands.Prefixes[0] }

// refused starts a refusal of this command.
func (o order) refused(code report.Code) report.Reply {
	return report.Reply{Code: code, Command: string(o.cmd.Verb), Base: o.snap.Base.Branch}
}

func (i *Intake) carryOut(ctx context.Context, o order) (answer, error) {
	if o.cmd.Refused != nil {
		r := o.refused(report.BadArguments)
		r.Detail, r.Prefix = o.cmd.Refused.Error(), i.prefix()
		return no(r), nil //nolint:nilerr // it is the answer
	}
	if mutates[o.cmd.Verb] && i.Now().Sub(o.comment.Created) > late {
		r := o.refused(report.Away)
		r.Given = i.prefix() + " " + string(o.cmd.Verb)
		return no(r), nil
	}
	switch o.cmd.Verb {
	case command.Help:
		return i.help(ctx, o)
	case command.Import, command.State:
		return i.block(ctx, o)
	case command.Explain:
		return i.explain(ctx, o)
	case command.Plan:
		return i.plan(ctx, o)
	case command.Apply:
		return i.apply(ctx, o)
	case command.Approve:
		return i.approve(ctx, o)
	case command.Cancel:
		return i.cancel(ctx, o)
	case command.Unlock:
		return i.unlock(ctx, o)
	}
	return no(o.refused(report.UnknownCommand)), nil
}

// mutates lists the verbs that start or end something.
var mutates = map[command.Verb]bool{command.Plan: true, command.Apply: true, command.Approve: true, command.Cancel: true, command.Unlock: true}

// may says whether the commenter may use the command on each of the projects, and where the pull request moves one, also at the place that it
// leaves; the answer to give if not. Without any it is about the repository as such.
func (i *Intake) may(ctx context.Context, o order, projects []run.Selected) (answer, bool, error) {
	if len(projects) == 0 {
		projects = []run.Selected{{Dir: ".", Workspace: "default"}}
	}
	who, err := i.subject(ctx, o.place, o.by.Login)
	if err != nil {
		return answer{}, false, err
	}
	rev, err := i.Store.LatestRevision(ctx, o.pull.ID, run.KindChange)
	if err != nil && !errors.Is(err, run.ErrNotFound) {
		return answer{}, false, err
	}
	for _, s := range projects {
		d := i.Config.Permitted(string(o.cmd.Verb), target(o.repo, s), who)
		if from := rev.MovedFrom(s.Dir, s.Workspace); from != "" && d.Allowed {
			left := s
			left.Dir = from
			d = i.Config.Permitted(string(o.cmd.Verb), target(o.repo, left), who)
		}
		if d.Err != nil {
			i.Log.Warn("a team could not be looked up, which counts as no", "error", d.Err)
		}
		if !d.Allowed {
			r := o.refused(report.Denied)
			r.Detail = d.Reason
			if s.Label != "" {
				r.Projects = []string{s.Label}
			}
			return no(r), false, nil
		}
	}
	return answer{}, true, nil
}

// row is the audit row of a command: who said what, and what came of it. What a command does goes with it into one transaction where
// doing it again would be refused, so that nobody is told of a refusal after a kill between the two.
func (o order) row(a answer) run.Audit {
	row := run.Audit{
		Actor: o.by.Login, Action: "command", Repo: o.repo.ID, Pull: o.pull.ID, Outcome: "done", Detail: o.cmd.String(), Cause: o.cause,
	}
	if a.refused {
		row.Outcome, row.Detail = "refused", row.Detail+": "+a.why
	}
	return row
}

// named picks the runs that a command is about; without names all of them. unknown is the answer when a name matches nothing.
func (o order) named(runs []run.Run) (chosen []run.Run, unknown answer, ok bool) {
	if !o.cmd.Targeted() {
		return runs, answer{}, true
	}
	all := make([]run.Selected, len(runs))
	for n, r := range runs {
		all[n] = run.Selected{Project: r.Project, Dir: r.Dir, Workspace: r.Work, Label: r.Label}
	}
	picked, err := pick(all, o.cmd)
	if err != nil {
		r := o.refused(report.BadArguments)
		r.Detail = err.Error()
		return nil, no(r), false
	}
	for _, s := range picked {
		for _, r := range runs {
			if r.Project == s.Project {
				chosen = append(chosen, r)
			}
		}
	}
	return chosen, answer{}, true
}

func selected(runs []run.Run) []run.Selected {
	out := make([]run.Selected, len(runs))
	for n, r := range runs {
		out[n] = run.Selected{Project: r.Project, Dir: r.Dir, Workspace: r.Work, Label: r.Label}
	}
	return out
}

// seen says whether the commenter had the plan of a run before their eyes: its report, or that of an earlier plan of the same revision with
// the same effect and judgement, stood on the host before the comment's second; or they name the commit (semantics 17).
func (o order) seen(r run.Run, head string, past []run.Run) bool {
	if o.cmd.At != "" {
		return head != "" && strings.EqualFold(head, o.cmd.At)
	}
	return o.after(r.Posted) || slices.ContainsFunc(past, func(p run.Run) bool {
		return p.Project == r.Project && p.EffectDigest == r.EffectDigest && p.PolicyDigest == r.PolicyDigest &&
			slices.Equal(p.Settings.Flags, r.Settings.Flags) && o.after(p.Posted)
	})
}

// after says whether the command was given in a later second than this moment. A moment that never was is none.
func (o order) after(at time.Time) bool {
	return !at.IsZero() && at.Truncate(time.Second).Before(o.comment.Created.Truncate(time.Second))
}
