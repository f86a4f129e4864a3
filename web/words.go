package web

import (
	"bytes"
	"fmt"
	"html/template"
	"strings"

	"github.com/yuin/goldmark"

	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
)

// answer says in one sentence where a run stands.
func answer(p report.Project, open int) string {
	r := p.Run
	switch r.State {
	case run.Queued, run.Confirmed:
		text := "It starts next."
		if p.Position > 0 {
			text = "It waits for a worker, " + count(p.Position, "run is", "runs are") + " ahead."
		}
		if p.Waits != "" {
			text = "It waits: " + p.Waits + "."
		}
		if p.HeldBy != "" {
			text = "It waits for " + p.HeldBy + "."
		}
		return text
	case run.Planning:
		return "The plan is being made."
	case run.Planned:
		if open == 0 && len(p.Gates) > 0 {
			return "Everything that must hold before an apply holds."
		}
		if open > 0 {
			return "Waiting for " + count(open, "thing", "things") + " before it can apply."
		}
		return "The plan is made."
	case run.Unchanged:
		return "The code and the real objects agree: nothing to do."
	case run.Applying:
		return "The plan is being applied."
	case run.Applied:
		return "Exactly the plan below was applied."
	case run.Failed:
		if r.ApplyStarted.IsZero() {
			return "There is no plan: the tool said no."
		}
		return "The apply ended with an error. What it did before stays done."
	case run.Interrupted:
		return "The apply was cut off. Nobody knows how far it came."
	case run.Canceled:
		return "Somebody canceled it."
	case run.Superseded:
		return "A newer run has taken its place."
	}
	return ""
}

// notices are what people must see before anything else.
func notices(view report.View, p report.Project) []notice {
	r := p.Run
	var out []notice
	if p := view.Pause; p != nil && !r.State.Final() {
		out = append(out, notice{Class: "warn", Title: "Applies are paused", Text: fmt.Sprintf("by %s since %s: %s", p.Actor, p.At.UTC().Format("2 January 2006 15:04 UTC"), p.Reason)})
	}
	if r.Unsaved {
		out = append(out, notice{Class: "bad", Title: "The state could not be saved",
			Text: "The apply changed real objects, and the backend took no state. It is kept here, encrypted; every further apply of this project is refused until it is repaired."})
	}
	if r.State == run.Interrupted {
		out = append(out, notice{Class: "bad", Title: "Look before anything else happens",
			Text: "Compare the real objects with the plan below. The project stays locked until somebody has looked and says so, here or on the pull request; " +
				"then it is planned again, which shows what is left.",
			Command: command(view, "unlock", "-p", label(r))})
		out = append(out, came(p.Progress)...)
	}
	if lock, ok := backendLock(p); ok {
		out = append(out, lockNotice(view, p, lock))
	}
	if twice := p.Plan.Twice; len(twice) > 0 && !r.State.Final() {
		out = append(out, notice{Class: "bad", Title: "This plan creates things a second time", List: twice,
			Text: "The log of the apply that was interrupted shows that it created them, and the state does not know them. Import them first, or delete them."})
	}
	if n := danger(p); n != nil {
		out = append(out, *n)
	}
	if r.NoBackend {
		out = append(out, notice{Class: "warn", Title: "No backend",
			Text: "Nothing would remember what an apply creates, so it is refused. Add a backend block."})
	}
	if r.Partial {
		out = append(out, notice{Class: "warn", Title: "A part of the plan only",
			Text: "It was planned with " + strings.Join(r.Settings.Flags, " ") + ", which is never what a merge compares with."})
	}
	if len(p.Left) > 0 {
		out = append(out, notice{Class: "bad", Title: "Not done", Text: "The apply did not finish these:", List: p.Left,
			Command: command(view, "plan", "-p", label(r))})
	}
	return out
}

// came says how far the log of an interrupted apply has come.
func came(p *report.Progress) []notice {
	if p == nil {
		return nil
	}
	var out []notice
	say := func(class, title, text string, addresses []string) {
		if len(addresses) > 0 {
			out = append(out, notice{Class: class, Title: title, Text: text, List: addresses})
		}
	}
	say("bad", "Begun, and perhaps half done", "The log shows their beginning and not their end.", p.Begun)
	say("info", "Done", "The log shows their end.", p.Done)
	say("warn", "Not seen to begin", "The log does not mention them.", p.Rest)
	return out
}

// dangersMax is how many destroyed objects are named on top.
const dangersMax = 8

// danger names what a plan takes away, while that can still be prevented.
func danger(p report.Project) *notice {
	r := p.Run
	if r.Counts.Destroy+r.Counts.Replace == 0 || r.State.Final() {
		return nil
	}
	n := notice{Class: "bad", Title: "This plan destroys things", Text: "What these objects hold goes with them."}
	if r.Counts.Destroy == 0 {
		n.Title = "This plan replaces things"
	}
	for _, c := range p.Plan.Changes {
		if c.Kind != report.Delete && c.Kind != report.Replace {
			continue
		}
		text := c.Address
		if c.Reason != "" {
			text += ": " + c.Reason
		}
		n.List = append(n.List, text)
	}
	if more := len(n.List) - dangersMax; more > 0 {
		n.List = append(n.List[:dangersMax], fmt.Sprintf("… and %d more", more))
	}
	return &n
}

func backendLock(p report.Project) (report.LockInfo, bool) {
	if p.Lock != nil {
		return *p.Lock, true
	}
	if p.Run.State != run.Failed {
		return report.LockInfo{}, false
	}
	return report.LockError(p.Failure)
}

func lockNotice(view report.View, p report.Project, l report.LockInfo) notice {
	n := notice{Class: "bad", Title: "The state is locked"}
	n.Text = "Somebody holds its lock"
	if l.Who != "" {
		n.Text = "Held by " + l.Who
	}
	if l.Ours != "" {
		n.Text += ", left by " + l.Ours + ";"
	}
	if op, ok := strings.CutPrefix(l.Operation, "OperationType"); ok && op != "" {
		n.Text += " (" + strings.ToLower(op) + ")"
	}
	if !l.Created.IsZero() {
		n.Text += " since " + l.Created.UTC().Format("2006-01-02 15:04:05 UTC")
		if d := p.Run.Finished.Sub(l.Created); d > 0 && !p.Run.Finished.IsZero() {
			n.Text += ", " + report.Took(d) + " before this run gave up"
		}
	}
	if l.Who == "" && l.Message != "" {
		n.Text += ": " + l.Message
	}
	n.Text += "."
	switch {
	case l.Session:
		n.Text += " A database session holds it: it ends with that session."
	case !plainID(l.ID):
		n.Text += " The backend names no id: wait until its holder is done, or free it with the backend's own means."
	case l.Ours != "":
		n.Text += " Nothing of it runs any more. Free it:"
		n.Command = command(view, "unlock", "--state", l.ID, "-p", label(p.Run))
	default:
		n.Text += " If its holder is still at work, wait and plan again. If nothing of it runs any more:"
		n.Command = command(view, "unlock", "--state", l.ID, "-p", label(p.Run))
	}
	return n
}

// plainID says whether an id, which comes from a log, can be part of a command to copy.
func plainID(id string) bool {
	return id != "" && len(id) <= 128 && id[0] != '-' && !strings.ContainsFunc(id, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("-_./:=+", r))
	})
}

// next says how the plan comes to be applied, with the command for it if it takes one.
func next(view report.View, p report.Project) (text, say string) {
	r := p.Run
	switch {
	case r.State == run.Failed && r.ApplyStarted.IsZero():
		return "Once the cause is gone, plan again:", command(view, "plan", "-p", label(r))
	case r.State != run.Planned:
		return "", ""
	case r.Settings.Apply == run.ApplyOff:
		return "Shadow mode: nothing ever applies here.", ""
	case r.Kind == run.KindMerge:
		return "It waits for a person to say, on the pull request:", command(view, "apply", "-p", label(r))
	case r.Settings.Apply == run.ApplyBeforeMerge:
		return "It applies before the merge, when somebody says on the pull request:", command(view, "apply", "-p", label(r))
	case r.Settings.Apply == run.ApplyManual:
		return "It is planned again after the merge and waits for a person.", ""
	default:
		return "It applies by itself after the merge, if the merged plan has the same effect.", ""
	}
}

// command is a comment to copy. A project whose name does not survive a comment line is left out.
func command(view report.View, words ...string) string {
	prefix := view.Prefix
	if prefix == "" {
		prefix = "planlatch"
	}
	for i, w := range words {
		if shown(w) != w || strings.ContainsAny(w, "\n\t`") {
			return prefix + " " + words[0]
		}
		if strings.ContainsAny(w, " \"'\\…") {
			words[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w) + `"`
		}
	}
	return prefix + " " + strings.Join(words, " ")
}

// findings are what policy says, worst first.
func findings(view report.View, p report.Project) []findingView {
	var out []findingView
	for _, level := range []run.Level{run.Hard, run.Soft, run.Advisory} {
		for _, f := range p.Findings {
			if known := f.Level == run.Soft || f.Level == run.Advisory; f.Level != level && (known || level != run.Hard) {
				continue
			}
			out = append(out, finding(view, p, f))
		}
	}
	return out
}

func finding(view report.View, p report.Project, f run.Finding) findingView {
	v := findingView{Finding: f, Class: "bad", Place: f.File, Accepted: run.Overridden(p.Run, f, p.Overrides)}
	if f.Line > 0 && f.File != "" {
		v.Place = fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	for _, o := range p.Overrides {
		if covers(p.Run, f, o) {
			v.Overridden = append(v.Overridden, o)
		}
	}
	switch {
	case f.Level == run.Advisory:
		v.Class = "info"
	case v.Accepted:
		v.Class = "ok"
	case f.Level == run.Soft:
		v.Class = "warn"
		v.Owners = strings.Join(append(append([]string(nil), f.Owners.Teams...), f.Owners.Users...), ", ")
		if need := max(1, f.Owners.Approvals); need > 1 {
			v.Owners += fmt.Sprintf(" (%d of %d have accepted)", run.Covers(p.Run, f, p.Overrides), need)
		}
		if !p.Run.State.Final() || run.Stopped(p.Run, p.Findings) {
			v.Command = command(view, "approve", "-p", label(p.Run), "--reason", "…")
		}
	}
	return v
}

// covers says whether an override is about exactly this finding of this run.
func covers(r run.Run, f run.Finding, o run.Override) bool {
	return run.Covers(r, f, []run.Override{o}) > 0
}

// policyWords says what policy found when it found nothing.
func policyWords(p report.Project) string {
	switch {
	case p.Run.Planned.IsZero() || len(p.Findings) > 0, p.Run.State == run.Failed && p.Run.ApplyStarted.IsZero():
		return ""
	case p.NoPolicy:
		return "No policy is configured for this project."
	case p.Run.PolicyDigest == "":
		return "Policy has not judged this plan."
	}
	return "Every policy passes."
}

// inline renders a line of Markdown that report wrote. It escapes what is not Markdown, and the page allows no image or link to load; the
// zero-width spaces that keep other sites' renderers from acting on it are not needed here.
func inline(markdown string) template.HTML {
	var b bytes.Buffer
	if err := goldmark.Convert([]byte(strings.ReplaceAll(markdown, "\u200b", "")), &b); err != nil {
		return template.HTML(template.HTMLEscapeString(markdown)) //nolint:gosec // escaped
	}
	return template.HTML(b.String()) //nolint:gosec // goldmark leaves raw HTML out unless told otherwise
}
