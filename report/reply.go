package report

import (
	"fmt"
	"strings"

	"github.com/planlatch/planlatch/run"
)

// Code names an answer to a command.
type Code string

// The answers.
const (
	NotReady       Code = "not_ready"       // gates are missing: Gates, Projects
	UnknownCommand Code = "unknown_command" // Given, Suggestion
	BadArguments   Code = "bad_arguments"   // Given, Detail
	UnknownProject Code = "unknown_project" // Given, Suggestion
	RefusedFlag    Code = "refused_flag"    // Given
	Stale          Code = "stale"           // plan older than the code: Projects, Base, Detail
	NotSeen        Code = "not_seen"        // a newer head or plan than the commenter saw: SHA
	Denied         Code = "denied"          // Detail says which permission
	Nothing        Code = "nothing"         // nothing to do
	Busy           Code = "busy"            // runs are still going: Projects
	Held           Code = "held"            // Projects, HeldBy
	Paused         Code = "paused"          // Detail: by whom and why
	Unsaved        Code = "unsaved"         // Projects
	ShadowMode     Code = "shadow"          // apply: off
	Untrusted      Code = "untrusted"       // fork or author without write permission: SHA
	Away           Code = "away"            // a mutating command older than an hour
	Confirm        Code = "confirm"         // must be repeated with Given
	Broken         Code = "broken"          // something of ours failed: Detail
)

// Reply is an answer to one command.
type Reply struct {
	Code       Code
	Command    string   // apply, plan, approve, …
	Prefix     string   // first word of commands; empty: planlatch
	Projects   []string // labels it is about
	Gates      []run.Gate
	Given      string // what was written: the flag, the project, the word
	Suggestion string // the nearest thing that exists
	Base       string // branch
	SHA        string
	HeldBy     string // "#12"
	Detail     string // one sentence
}

// first is the first of some names, or what stands for one.
func first(names []string) string {
	if len(names) == 0 {
		return "PROJECT"
	}
	return names[0]
}

// replyMax bounds an answer; every host takes more.
const replyMax = 8000

// Text renders an answer in Markdown. It says what was not done, why, and what to do; a code it does not know is answered as Broken.
func (r Reply) Text() string {
	v := View{Prefix: r.Prefix}
	if r.Command == "" {
		r.Command = "apply"
	}
	again := v.command(r.Command)
	if len(r.Projects) == 1 {
		again = v.command(r.Command, "-p", r.Projects[0])
	}
	who := "it"
	if len(r.Projects) > 0 {
		who = names(r.Projects)
	}
	var text string
	switch r.Code {
	case NotReady:
		text = r.notReady()
	case UnknownCommand:
		text = "There is no command " + code(r.Given) + "." + didYouMean(r.Suggestion, v.command(r.Suggestion)) + " " + v.command("help") + " lists them."
	case BadArguments:
		text = "Not done: " + prose(r.Detail) + given(r.Given) + " " + v.command("help") + " shows how commands are written."
	case UnknownProject:
		text = "Not done: this pull request has no project " + code(r.Given) + "." + didYouMean(r.Suggestion, code(r.Suggestion)) + " " + v.command("explain") +
			" lists those it has and why."
	case RefusedFlag:
		text = "Not done: the flag " + code(r.Given) + " is not allowed in comments. Allowed are " + flagList + ", and what the server adds."
		if r.Detail != "" {
			text += " " + prose(r.Detail)
		}
	case Stale:
		text = "Not applied: the plan of " + who + " is stale." + detail(r.Detail) + "\nPlanning again now; the result appears above."
	case NotSeen:
		text = "Not done: " + who + " has a newer plan than the one you could see when you wrote this" + at(r.SHA) + ". Look at the report above and say " +
			again + " again."
	case Denied:
		text = "Not done: you may not " + code(r.Command) + " " + who + "." + detail(r.Detail)
	case Nothing:
		text = "Nothing to " + code(r.Command) + "." + detail(r.Detail)
	case Busy:
		text = "Not done: " + who + " is still being worked on." + detail(r.Detail) + " Say " + again + " when it is finished, or " + v.command("cancel") + " to stop it."
	case Held:
		text = "Not applied: " + who + " is held by " + words(r.HeldBy) + " until that is merged or closed, or somebody says " + v.command("unlock") + " there."
	case Paused:
		text = "Not applied: applies are paused." + detail(r.Detail)
	case Unsaved:
		text = "Not done: an earlier apply of " + who + " could not save its state. Have the kept copy pushed back first: " + code("planlatch state push RUN") + "; or by hand: " +
			code("planlatch state pull RUN > errored.tfstate") + ", " + code("tofu state push errored.tfstate") + ", then " +
			v.command("unlock", "-p", first(r.Projects)) + "." + detail(r.Detail)
	case ShadowMode:
		text = "Not applied: " + who + " is in shadow mode (" + code("apply: off") + "), so nothing ever applies."
	case Untrusted:
		text = "Nothing runs yet: the change comes from a fork, or from somebody without write permission. Read it first; a person with write permission starts it with " +
			v.command("plan --at", r.SHA) + "."
	case Away:
		text = "I was away when you wrote " + code(r.Given) + " and will not act on something this old. Please repeat it if it still holds."
	case Confirm:
		text = "This needs a confirmation." + detail(r.Detail) + " To go on, say " + code(r.Given) + "."
	default:
		text = "Not done: something on our side failed" + strings.Replace(detail(r.Detail), " ", ": ", 1)
		text = strings.TrimSuffix(text, ".") + ". Please try again; the log of the server knows more."
	}
	return strings.TrimRight(clip(text, replyMax), "\n") + "\n"
}

const flagList = "`-target`, `-exclude`, `-replace`, `-refresh`, `-var`, `-var-file` and `-parallelism`"

// notReady lists the gates that are missing.
func (r Reply) notReady() string {
	subject := "the plans are"
	if len(r.Projects) > 0 {
		subject = names(r.Projects) + map[bool]string{true: " is", false: " are"}[len(r.Projects) == 1]
	}
	out := []string{"Not applied: " + subject + " not ready." + detail(r.Detail)}
	for i, g := range r.Gates {
		if i == listMax {
			out = append(out, "- …")
			break
		}
		out = append(out, gateLine(need{gate: g}, 0))
	}
	return strings.Join(out, "\n")
}

func didYouMean(suggestion, rendered string) string {
	if suggestion == "" {
		return ""
	}
	return " Did you mean " + rendered + "?"
}

func detail(s string) string {
	if s = strings.TrimSpace(s); s == "" {
		return ""
	}
	if !strings.ContainsAny(s[len(s)-1:], ".!?`") {
		s += "."
	}
	return " " + prose(s)
}

func given(s string) string {
	if s == "" {
		return "."
	}
	return ": " + code(s) + "."
}

func at(sha string) string {
	if sha == "" {
		return ""
	}
	return " (" + short(sha) + ")"
}

// Leave is what a person may do with one verb.
type Leave struct {
	All bool     // with every project of the pull request
	For []string // labels of some of them
	Why string   // who may, where the person may not
}

func (l Leave) text() string {
	switch {
	case l.All:
		return "yes"
	case len(l.For) > 0:
		return "for " + names(l.For)
	case l.Why == "":
		return "no"
	}
	return "no: " + prose(l.Why)
}

// Help lists the commands, with the first word that this server listens to, and what who asked may do. A verb that may lacks is everybody's.
func Help(prefix string, may map[string]Leave) string {
	v := View{Prefix: prefix}
	rows := []struct{ verb, options, what string }{
		{"plan", " [-p project] [-- flags]", "plan again; flags: " + flagList + ", and what the server adds"},
		{"apply", " [-p project] [--at SHA]", "apply the plans shown above, if every gate holds"},
		{"approve", ` -p project --reason "…"`, "as an owner, accept the soft policy findings of a plan"},
		{"cancel", " [-p project]", "stop what is queued or running"},
		{"unlock", " [-p project]", "give up this pull request's locks"},
		{"explain", "", "which projects were selected, and why"},
		{"import", " ADDRESS ID", "the block to add to the code"},
		{"state", " rm ADDRESS", "the block to add to the code"},
		{"help", "", "this"},
	}
	var b strings.Builder
	b.WriteString("| say | to | may you? |\n|---|---|---|\n")
	for _, row := range rows {
		leave, limited := may[row.verb]
		fmt.Fprintf(&b, "| %s | %s | %s |\n", cell(v.command(row.verb+row.options)), row.what, cell(Leave{All: !limited || leave.All, For: leave.For, Why: leave.Why}.text()))
	}
	b.WriteString("\nEach command stands alone on its line. " + code("-d dir") + " and " + code("-w workspace") + " select like " + code("-p") + ".\n")
	return b.String()
}

// Freed tells what came of freeing a backend's lock that stopped a run; failure is empty if it went well, and again says that it is planned
// again by itself. Its first line is the reason, the others what the tool said.
func Freed(style Style, stopped run.Run, lock, failure string, again bool) string {
	v := View{Style: style}
	if failure == "" && again {
		return "The backend's lock " + code(lock) + " of " + code(stopped.Label) + " is free, and it is planned again.\n"
	}
	if failure == "" {
		return "The backend's lock " + code(lock) + " of " + code(stopped.Label) + " is free. Say " + v.command("plan -p", stopped.Label) + " to go on.\n"
	}
	why, said, _ := strings.Cut(failure, "\n")
	if !v.quotes() {
		why, said = ownReason(run.Run{State: run.Failed, Reason: why}), ""
	}
	text := "The backend's lock " + code(lock) + " of " + code(stopped.Label) + " could not be freed: " + prose(why) + ".\n"
	if said != "" {
		text += "\n" + fence("text", strings.Split(clip(said, replyMax/2), "\n"))
	}
	return text
}

// Block answers a command that would change a state with the code to paste instead. what names it, since says from which version on tools
// know it, dir is the project's directory or empty.
func Block(what, block, since, dir string) string {
	where := "into a file of the project"
	if dir != "" {
		where = "into " + code(strings.TrimPrefix(dir+"/", "./")+strings.Fields(what)[0]+".tf")
	}
	return "A state changes only by a reviewed plan. Put this " + where + ", in this pull request; its plan shows what will happen. The " + what +
		" needs " + since + ".\n\n" + fence("hcl", strings.Split(strings.TrimRight(block, "\n"), "\n"))
}

// Explain says which projects were selected and why, and why something did not run, in at most limit bytes.
func Explain(v View, limit int) string {
	p := &page{limit: limit, more: v.whole(v.sorted())}
	v.explain(p)
	return p.String()
}

func (v View) explain(p *page) {
	v.addProblems(p)
	var lines []string
	for _, s := range v.Selection {
		text := "- " + code(s.Label)
		if s.Label != s.Dir {
			text += " in " + code(s.Dir)
		}
		if s.Workspace != "" && s.Workspace != "default" {
			text += ", workspace " + code(s.Workspace)
		}
		switch {
		case s.Deleted && s.Skipped != "":
			text += ", deleted: " + prose(s.Skipped)
		case s.Deleted:
			text += ", deleted"
		case s.Skipped != "":
			text += ", not planned: " + prose(s.Skipped)
		}
		for i, reason := range s.Reasons {
			if i == 5 {
				text += fmt.Sprintf("\n  - … and %s more reasons", number(len(s.Reasons)-i))
				break
			}
			text += "\n  - " + prose(reason)
		}
		lines = append(lines, text)
	}
	switch {
	case len(lines) == 0 && len(v.Problems) > 0: // what it touches is not known
	case len(lines) == 0:
		lines = []string{"No project is touched by the changed files."}
	default:
		of := short(v.Head) + " on " + short(v.Base)
		if v.local {
			of = "this work tree on " + code(v.BaseBranch) + " at " + short(v.Base)
		}
		p.text(fmt.Sprintf("%s selected for %s:", count(len(lines), "project", "projects"), of))
	}
	p.list(lines)
	p.list(v.waiting())
	p.list(v.notes())
	var asides []string
	for _, a := range v.Asides {
		asides = append(asides, "- "+code(a.Dir)+": "+prose(a.Why))
	}
	if len(asides) > 0 {
		p.text("Not selected:")
		p.list(asides)
	}
}

// waiting says of what is in the queue what it waits for.
func (v View) waiting() []string {
	var out []string
	for _, p := range v.sorted() {
		switch p.Run.State { //nolint:exhaustive // the others are not in the queue
		case run.Confirmed:
			out = append(out, "- the apply of "+code(p.Run.Label)+" is confirmed"+waitWords(p))
		case run.Queued:
			out = append(out, "- the plan of "+code(p.Run.Label)+" is queued"+waitWords(p))
		}
	}
	return out
}

func (v View) notes() []string {
	var out []string
	for _, n := range v.Notes {
		out = append(out, "- "+prose(n))
	}
	return out
}
