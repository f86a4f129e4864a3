package app

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/planlatch/planlatch/vcs/fakehost"
)

// teller prints a pull request's conversation as a person would read it on its page.
type teller struct {
	out      io.Writer
	color    bool
	told     int
	comments map[int64]string  // last text told of each comment
	statuses map[string]string // last told
}

const (
	bold  = "\x1b[1m"
	dim   = "\x1b[2m"
	green = "\x1b[32m"
	red   = "\x1b[31m"
	plain = "\x1b[0m"
)

func (t *teller) paint(code, text string) string {
	if !t.color {
		return text
	}
	return code + text + plain
}

func (t *teller) title(head, text string) {
	fmt.Fprintf(t.out, "\n%s\n%s\n%s\n", t.paint(bold, head), strings.Repeat("─", len([]rune(head))), text)
}

func (t *teller) note(text string) { fmt.Fprintf(t.out, "\n%s\n", t.paint(dim, "▏ "+text)) }

// timeline prints what is new: what people did, then comments that were written or edited, then the statuses as they stand now.
func (t *teller) timeline(entries []fakehost.Entry) {
	if t.comments == nil {
		t.comments, t.statuses = map[int64]string{}, map[string]string{}
	}
	for n, e := range entries {
		if n >= t.told && e.Kind != fakehost.EntryComment && e.Kind != fakehost.EntryStatus {
			t.event(e)
		}
	}
	t.told = len(entries)
	now := map[string]string{}
	var order []string
	for _, e := range entries {
		switch e.Kind {
		case fakehost.EntryComment:
			if before, told := t.comments[e.ID]; !told || before != e.Body {
				t.comments[e.ID] = e.Body
				t.comment(e, told)
			}
		case fakehost.EntryStatus:
			if _, known := now[e.Context]; !known {
				order = append(order, e.Context)
			}
			now[e.Context] = e.State + ": " + e.Description
		default: // told already
		}
	}
	t.changed(order, now)
}

// changed prints the statuses that are not as they were told last.
func (t *teller) changed(order []string, now map[string]string) {
	first := true
	for _, context := range order {
		if t.statuses[context] == now[context] {
			continue
		}
		t.statuses[context] = now[context]
		if first {
			fmt.Fprintln(t.out)
			first = false
		}
		mark, code := "○", dim
		switch {
		case strings.HasPrefix(now[context], "success"):
			mark, code = "✓", green
		case strings.HasPrefix(now[context], "failure"), strings.HasPrefix(now[context], "error"):
			mark, code = "✗", red
		}
		fmt.Fprintf(t.out, "  %s %-26s %s\n", t.paint(code, mark), context, now[context])
	}
}

func (t *teller) event(e fakehost.Entry) {
	var text string
	switch e.Kind {
	case fakehost.EntryOpened:
		text = "opened the pull request"
	case fakehost.EntryPushed:
		text = "pushed " + e.SHA[:min(7, len(e.SHA))]
	case fakehost.EntryReview:
		text = "reviewed: " + strings.ToLower(e.State)
	case fakehost.EntryMerged:
		text = "merged it into " + e.To
	default:
		text = string(e.Kind)
	}
	fmt.Fprintf(t.out, "\n%s %s\n", t.paint(bold, e.Actor), text)
}

func (t *teller) comment(e fakehost.Entry, edited bool) {
	verb := "commented"
	if edited {
		verb = "edited the comment"
	}
	fmt.Fprintf(t.out, "\n%s %s\n", t.paint(bold, e.Actor), verb)
	for line := range strings.SplitSeq(readable(e.Body), "\n") {
		line = strings.TrimRight(line, " ")
		if rest, ok := strings.CutPrefix(line, "### "); ok {
			line = t.paint(bold, rest)
		}
		fmt.Fprintln(t.out, strings.TrimRight("  │ "+line, " "))
	}
}

var (
	hidden  = regexp.MustCompile(`(?s)<!--.*?-->`)
	folded  = regexp.MustCompile(`(?s)<details>\s*<summary>(.*?)</summary>`)
	links   = regexp.MustCompile(`\[([^\]]+)\]\(https?://[^)]*\)`)
	tags    = regexp.MustCompile(`</?(details|summary|b|i|code|br|sub|sup)\s*/?>`)
	blanks  = regexp.MustCompile(`\n{3,}`)
	escapes = regexp.MustCompile(`\\([\\` + "`" + `*_{}\[\]()#+\-.!|<>~@:/])`)
)

// readable turns a comment's Markdown into what its page would show, near enough for a terminal: markers go, folds are unfolded, links keep
// their words.
func readable(markdown string) string {
	s := hidden.ReplaceAllString(markdown, "")
	s = folded.ReplaceAllString(s, "▸ $1")
	s = links.ReplaceAllString(s, "$1")
	s = tags.ReplaceAllString(s, "")
	s = escapes.ReplaceAllString(s, "$1")
	s = strings.NewReplacer("**", "", "\u200b", "", "\u2060", "", "&lt;", "<", "&gt;", ">", "&amp;", "&", "&#124;", "|").Replace(s)
	return strings.TrimSpace(blanks.ReplaceAllString(tables(s), "\n\n"))
}

// tables sets the columns of Markdown tables under each other.
func tables(text string) string {
	var out []string
	var rows [][]string
	end := func() {
		widths := map[int]int{}
		for _, row := range rows {
			for n, cell := range row {
				widths[n] = max(widths[n], width(cell))
			}
		}
		for _, row := range rows {
			var line strings.Builder
			for n, cell := range row {
				line.WriteString(cell + strings.Repeat(" ", widths[n]-width(cell)+2))
			}
			out = append(out, strings.TrimRight(line.String(), " "))
		}
		rows = nil
	}
	for line := range strings.SplitSeq(text, "\n") {
		cells, ok := strings.CutPrefix(line, "|")
		if !ok {
			end()
			out = append(out, line)
			continue
		}
		var row []string
		for cell := range strings.SplitSeq(strings.TrimSuffix(cells, "|"), "|") {
			row = append(row, strings.TrimSpace(cell))
		}
		if strings.Trim(cells, "|-: ") != "" {
			rows = append(rows, row)
		}
	}
	end()
	return strings.Join(out, "\n")
}

// width is how many columns a terminal gives a text: symbols take two, their variation selectors none.
func width(text string) int {
	n := 0
	for _, r := range text {
		switch {
		case r == 0xFE0F:
			n++
		case r >= 0x1F300 || r == 0x26D4 || r == 0x2705 || r == 0x274C || r == 0x23F3:
			n += 2
		default:
			n++
		}
	}
	return n
}
