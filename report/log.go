package report

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/planlatch/planlatch/run"
)

// Terminal sequences: colours and cursor (CSI), titles and links (OSC), and the other two-byte escapes.
var ansi = regexp.MustCompile("\x1b\\[[0-?]*[ -/]*[@-~]|\x1b[\\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\\\)?|\x1b[@-Z\\\\-_a-z0-9=>]?")

// Clean takes colours and other terminal sequences out of a log, and what a carriage return would have overwritten. Other control
// characters stay; they are shown as escapes wherever the text goes.
func Clean(log string) string {
	log = ansi.ReplaceAllString(log, "")
	lines := strings.Split(strings.ReplaceAll(log, "\r\n", "\n"), "\n")
	for i, l := range lines {
		l = strings.TrimRight(l, "\r")
		lines[i] = l[strings.LastIndexByte(l, '\r')+1:]
	}
	return strings.Join(lines, "\n")
}

// The bounds of an excerpt.
const (
	excerptLines = 60
	excerptBytes = 6000
)

// Excerpt finds what a tool says went wrong in its raw output: its "Error:" blocks, without frames and colours, each once. Without any it
// is the end of the output. It is at most 60 lines; empty output gives an empty excerpt.
func Excerpt(log string) string {
	log = Clean(log)
	var out []string
	var seen []string
	for _, block := range errorBlocks(log) {
		text := strings.Join(block, "\n")
		if slices.Contains(seen, text) {
			continue
		}
		seen = append(seen, text)
		if len(out) > 0 {
			out = append(out, "")
		}
		out = append(out, block...)
	}
	if len(out) == 0 {
		out = trimBlank(strings.Split(log, "\n"))
		out = out[max(0, len(out)-20):]
	}
	if more := len(out) - excerptLines; more > 0 {
		out = append(out[:excerptLines], "… "+count(more, "more line", "more lines"))
	}
	text := strings.Join(out, "\n")
	if len(text) > excerptBytes {
		text = strings.ToValidUTF8(text[:excerptBytes], "") + "…"
	}
	return text
}

// errorBlocks returns the lines of each error, framed ("╷ │ Error: … ╵") or not.
func errorBlocks(log string) [][]string {
	var blocks [][]string
	var block []string
	in, framed := false, false
	end := func() {
		if block = trimBlank(block); len(block) > 0 {
			blocks = append(blocks, block)
		}
		block, in = nil, false
	}
	for raw := range strings.SplitSeq(log, "\n") {
		frame := strings.HasPrefix(raw, "│")
		l := raw
		if frame {
			l = strings.TrimPrefix(strings.TrimPrefix(l, "│"), " ")
		}
		l = strings.TrimRight(l, " \t")
		switch {
		case strings.HasPrefix(raw, "╷"), strings.HasPrefix(raw, "╵"), in && framed && !frame:
			end()
		case strings.HasPrefix(l, "Error: "):
			end()
			in, framed, block = true, frame, []string{l}
		case in && strings.HasPrefix(l, "Warning: "):
			end()
		case in:
			block = append(block, l)
		}
	}
	end()
	return blocks
}

func trimBlank(lines []string) []string {
	for len(lines) > 0 && strings.TrimSpace(lines[0]) == "" {
		lines = lines[1:]
	}
	for len(lines) > 0 && strings.TrimSpace(lines[len(lines)-1]) == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// StalePlan says whether the tool refused a saved plan because the state has moved since: nothing was done.
func StalePlan(log string) bool {
	return slices.ContainsFunc(errorBlocks(Clean(log)), func(block []string) bool {
		return strings.HasPrefix(block[0], "Error: Saved plan is stale") ||
			strings.HasPrefix(block[0], "Error: Saved plan does not match the given state")
	})
}

// LockError finds the tool's complaint that the backend's own lock is held, and what the backend says of it. Local, s3 and http backends
// name ID, holder and time. The pg backend prints what our own attempt would have written (seen on 1.12.6), which would send people after
// the wrong process: nothing of it is kept but the message.
func LockError(log string) (LockInfo, bool) {
	for _, block := range errorBlocks(Clean(log)) {
		if !strings.HasPrefix(block[0], "Error: Error acquiring the state lock") && !strings.HasPrefix(block[0], "Error: Error locking state") {
			continue
		}
		var info LockInfo
		var message []string
		inInfo := false
		for _, l := range block[1:] {
			trimmed := strings.TrimSpace(l)
			inInfo = inInfo || trimmed == "Lock Info:"
			key, value, ok := strings.Cut(trimmed, ":")
			switch {
			case !inInfo:
				message = append(message, strings.TrimSpace(strings.TrimPrefix(trimmed, "Error message:")))
			case ok:
				info.set(key, strings.TrimSpace(value))
			}
		}
		info.Message = strings.TrimSpace(strings.Join(message, " "))
		if session.MatchString(info.Message) {
			info = LockInfo{Message: info.Message, Session: true}
		}
		return info, true
	}
	return LockInfo{}, false
}

// session is how the pg backend complains.
var session = regexp.MustCompile(`(?i)^(?:cannot lock workspace; )?(?:workspace is already locked|already locked for workspace creation)`)

// createdLayout is how the tools print the time of a lock.
const createdLayout = "2006-01-02 15:04:05.999999999 -0700 MST"

func (l *LockInfo) set(key, value string) {
	switch key {
	case "ID":
		l.ID = value
	case "Path":
		l.Path = value
	case "Operation":
		l.Operation = value
	case "Who":
		l.Who = value
	case "Version":
		l.Version = value
	case "Created":
		if at, err := time.Parse(createdLayout, value); err == nil && at.Year() > 1 {
			l.Created = at.UTC()
		}
	}
}

// progress is how the tools say that they begin with one object, are at it, or are done with it.
var progress = regexp.MustCompile(`^(\S.*?)(?: \(deposed object [0-9a-f]+\))?: (?:(Creation|Modifications|Destruction) complete after |(?:Creating|Modifying|Destroying|Still creating|Still modifying|Still destroying)\.\.\.)`)

// Progress is how far an apply came, as its log tells: addresses in the order of the plan. What a log has no line for, such as a move, is in none
// of them. Nobody but the real objects knows what became of those that were begun.
type Progress struct {
	Done  []string `json:",omitempty"`
	Begun []string `json:",omitempty"` // and not seen to end
	Rest  []string `json:",omitempty"` // not seen to begin
}

// ProgressOf reads from the log of an apply, whole or cut off, how far it came with a plan.
func ProgressOf(log string, p Plan) Progress {
	var out Progress
	seen := readProgress(log)
	for _, c := range p.Changes {
		switch done, told := seen.done(c); {
		case !told:
		case done:
			out.Done = append(out.Done, c.Address)
		case seen[c.Address]:
			out.Begun = append(out.Begun, c.Address)
		default:
			out.Rest = append(out.Rest, c.Address)
		}
	}
	return out
}

// Twice lists what a plan creates although an apply that was interrupted has created it, as its log shows: it was killed before the state
// was saved.
func Twice(p Plan, came *Progress) []string {
	var twice []string
	for _, c := range p.Changes {
		if came != nil && c.Kind == Create && slices.Contains(came.Done, c.Address) {
			twice = append(twice, c.Address)
		}
	}
	return twice
}

// said is what a log says of objects: the address alone for one that was begun, with what was completed for one that is done.
type said map[string]bool

func readProgress(log string) said {
	seen := said{}
	for l := range strings.SplitSeq(Clean(log), "\n") {
		m := progress.FindStringSubmatch(l)
		if m == nil {
			continue
		}
		seen[m[1]] = true
		if m[2] != "" {
			seen[m[1]+" "+m[2]] = true
		}
	}
	return seen
}

// done says whether all of a change was completed; told is false of one that logs have no line for.
func (s said) done(c Change) (done, told bool) {
	created, destroyed := s[c.Address+" Creation"], s[c.Address+" Destruction"]
	switch c.Kind {
	case Create:
		return created, true
	case Update:
		return s[c.Address+" Modifications"], true
	case Delete:
		return destroyed, true
	case Replace:
		return created && (destroyed || c.Keeps), true
	default:
		return false, false
	}
}

// Completed reads from the log of a whole apply what of a plan was done, and which objects it did not get to or could not finish.
func Completed(log string, p Plan) (done run.Counts, left []string) {
	seen := readProgress(log)
	for _, c := range p.Changes {
		ok, told := seen.done(c)
		switch {
		case !told:
		case !ok:
			left = append(left, c.Address)
		case c.Kind == Create:
			done.Add++
		case c.Kind == Update:
			done.Change++
		case c.Kind == Delete:
			done.Destroy++
		case c.Kind == Replace:
			done.Replace++
		}
	}
	return done, left
}
