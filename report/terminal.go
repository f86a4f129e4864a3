package report

import (
	"html"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Terminal renders a view for the person who made the change, in the words of the comment of a pull request: the answer first, what is lost
// before the details, nothing folded. What only makes sense once there is a pull request (gates, commands) is left out. Data cannot do
// anything to a terminal: control characters are shown as escapes, and colours are ours alone.
func Terminal(v View, color bool) string {
	v.local = true
	ps := v.sorted()
	gs := groups(ps)
	p := &page{}
	p.text("### " + v.headline(ps))
	v.addProblems(p)
	v.addTable(p, gs)
	p.list(v.rest(ps))
	p.list(dangers(gs))
	v.addFailures(p, gs)
	v.addPolicy(p, gs)
	p.list(v.remarks(ps))
	v.addDetails(p, gs)
	return screen{color}.page(p)
}

// ExplainTerminal is Explain for the person who made the change.
func ExplainTerminal(v View, color bool) string {
	v.local = true
	p := &page{}
	v.explain(p)
	return screen{color}.page(p)
}

// screen lays our own Markdown out in plain text. It reads what this package writes, and no more of the language.
type screen struct{ color bool }

// The colours of a terminal.
const (
	styleBold   = "\x1b[1m"
	styleDim    = "\x1b[2m"
	styleRed    = "\x1b[31m"
	styleGreen  = "\x1b[32m"
	styleYellow = "\x1b[33m"
	styleCyan   = "\x1b[36m"
	styleOff    = "\x1b[0m"
)

func (s screen) paint(style, text string) string {
	if !s.color || style == "" || text == "" {
		return text
	}
	// What is styled inside ends with everything off: begin again after it.
	return style + strings.ReplaceAll(text, styleOff, styleOff+style) + styleOff
}

func (s screen) page(p *page) string {
	var blocks []string
	for _, b := range p.blocks {
		if text := strings.Trim(s.block(b), "\n"); text != "" {
			blocks = append(blocks, text)
		}
	}
	return strings.ReplaceAll(strings.Join(blocks, "\n\n"), gap, "") + "\n"
}

func (s screen) block(b block) string {
	var parts []string
	if b.title != "" {
		parts = append(parts, s.paint(styleBold, html.UnescapeString(tag.ReplaceAllString(b.title, ""))))
	}
	if b.text != "" {
		parts = append(parts, s.text(b.text))
	}
	for _, l := range b.lines {
		for l := range strings.SplitSeq(visible(l), "\n") {
			style := ""
			if b.language == "diff" {
				style = diffStyle(l)
			}
			parts = append(parts, s.paint(style, "  "+l))
		}
	}
	if after := strings.TrimSpace(b.after); after != "" {
		parts = append(parts, s.text(after))
	}
	return strings.Join(parts, "\n")
}

// tag is the HTML of our titles; data in them is escaped.
var tag = regexp.MustCompile(`</?[a-z]+>`)

func diffStyle(line string) string {
	switch {
	case strings.HasPrefix(line, "-"):
		return styleRed
	case strings.HasPrefix(line, "+"):
		return styleGreen
	case strings.HasPrefix(line, "!"):
		return styleYellow
	case strings.HasPrefix(line, "#"):
		return styleDim
	}
	return ""
}

// text lays running text out: headings, quotes, lists and tables.
func (s screen) text(markdown string) string {
	var out []string
	var rows []string
	end := func() {
		out = append(out, s.table(rows)...)
		rows = nil
	}
	for l := range strings.SplitSeq(markdown, "\n") {
		if strings.HasPrefix(l, "|") {
			rows = append(rows, l)
			continue
		}
		end()
		l = strings.TrimRight(l, " ")
		indent := len(l) - len(strings.TrimLeft(l, " "))
		rest := l[indent:]
		switch {
		case strings.HasPrefix(rest, "### "):
			out = append(out, s.paint(styleBold, s.inline(rest[len("### "):])))
		case rest == "> [!CAUTION]":
		case strings.HasPrefix(rest, "> "):
			out = append(out, s.paint(styleRed, "▌ "+s.inline(rest[len("> "):])))
		case strings.HasPrefix(rest, "- "):
			out = append(out, l[:indent]+"- "+s.inline(rest[len("- "):]))
		default:
			out = append(out, l[:indent]+s.inline(rest))
		}
	}
	end()
	return strings.Join(out, "\n")
}

// cellText is one cell of a table, laid out.
type cellText struct {
	text  string
	width int
}

// table sets cells under each other. Columns without a word in any row but the first are left out.
func (s screen) table(rows []string) []string {
	var cells [][]cellText
	var right []bool
	for _, row := range rows {
		fields := strings.Split(strings.TrimSuffix(strings.TrimPrefix(row, "|"), "|"), "|")
		if strings.Trim(row, "|-: ") == "" {
			for _, f := range fields {
				right = append(right, strings.HasSuffix(strings.TrimSpace(f), ":"))
			}
			continue
		}
		var laid []cellText
		for _, f := range fields {
			text := strings.TrimSpace(f)
			if short, ok := symbols[text]; ok {
				text = short
			}
			width := utf8.RuneCountInString(screen{}.inline(text))
			text = s.inline(text)
			if len(cells) == 0 {
				text = s.paint(styleDim, text)
			}
			laid = append(laid, cellText{text, width})
		}
		cells = append(cells, laid)
	}
	widths, used := map[int]int{}, map[int]bool{}
	for n, row := range cells {
		for i, c := range row {
			widths[i] = max(widths[i], c.width)
			used[i] = used[i] || n > 0 && c.width > 0
		}
	}
	var out []string
	for _, row := range cells {
		var line strings.Builder
		for i, c := range row {
			if !used[i] {
				continue
			}
			space := strings.Repeat(" ", widths[i]-c.width)
			if i < len(right) && right[i] {
				line.WriteString("  " + space + c.text)
			} else {
				line.WriteString("  " + c.text + space)
			}
		}
		out = append(out, strings.TrimRight(line.String(), " "))
	}
	return out
}

// symbols stand for those of a comment whose width no two terminals agree on.
var symbols = map[string]string{
	"🛑": "✗", "❌": "✗", "⛔": "✗", "🔒": "✗", "⚠️": "!", "✏️": "~", "⏳": "…", "◻️": "-", "✅": "✓", "⏸️": "…",
}

// inline undoes what code, prose and words do, and turns what is bold or code into a style. What it does not know stays as it is.
func (s screen) inline(markdown string) string {
	var b strings.Builder
	bold := false
	for i := 0; i < len(markdown); {
		rest := markdown[i:]
		switch {
		case strings.HasPrefix(rest, gap):
			i += len(gap)
		case strings.HasPrefix(rest, "⚠️ "):
			b.WriteString("! ")
			i += len("⚠️ ")
		case strings.HasPrefix(rest, "**"):
			bold = !bold
			if s.color {
				b.WriteString(map[bool]string{true: styleBold, false: styleOff}[bold])
			}
			i += 2
		case rest[0] == '\\' && len(rest) > 1:
			b.WriteByte(rest[1])
			i += 2
		case rest[0] == '&':
			n := strings.IndexByte(rest, ';') + 1
			b.WriteString(html.UnescapeString(rest[:max(n, 1)]))
			i += max(n, 1)
		case rest[0] == '[' && ourLink.MatchString(rest):
			link := ourLink.FindStringSubmatch(rest)
			b.WriteString(link[1])
			i += len(link[0])
		case rest[0] == '`':
			text, n := span(rest)
			b.WriteString(s.paint(styleCyan, text))
			if bold && s.color && n > 0 {
				b.WriteString(styleBold)
			}
			i += n
		default:
			_, n := utf8.DecodeRuneInString(rest)
			b.WriteString(rest[:n])
			i += n
		}
	}
	return b.String()
}

// ourLink is what link writes; a bracket of data has a backslash before it.
var ourLink = regexp.MustCompile(`^\[([a-z ]+)\]\(https?://[^\s)]*\)`)

// span reads a code span and says how long it is. Ticks without an end are themselves.
func span(s string) (text string, length int) {
	ticks := s[:len(s)-len(strings.TrimLeft(s, "`"))]
	rest := s[len(ticks):]
	for from := 0; ; {
		at := strings.Index(rest[from:], ticks)
		if at < 0 {
			return ticks, len(ticks)
		}
		at += from
		end := at + len(ticks)
		run := len(rest[at:]) - len(strings.TrimLeft(rest[at:], "`"))
		if run > len(ticks) {
			from = at + run
			continue
		}
		text = rest[:at]
		if len(text) > 2 && text[0] == ' ' && text[len(text)-1] == ' ' && strings.TrimSpace(text) != "" {
			text = text[1 : len(text)-1]
		}
		return strings.ReplaceAll(text, gap, ""), len(ticks) + end
	}
}
