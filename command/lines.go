package command

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/text"
)

// line is one line of a comment as a reader sees it: prose, not code.
type line struct {
	number int
	text   string
	quoted bool // directly below a quote, which hosts show as a part of it
}

// readable lists the lines that are neither code, HTML nor quote, of those that are worth a look. Which is which the Markdown parser says,
// since it is what hosts show; without any line worth a look nothing is parsed at all.
func readable(body string, worth func(string) bool) []line {
	body = strings.ReplaceAll(strings.ReplaceAll(body, "\r\n", "\n"), "\r", "\n")
	candidates := map[int]line{} // by the offset of the line
	number, start := 0, 0
	for l := range strings.Lines(body) {
		number++
		if t := strings.Trim(l, " \t\n\u00a0"); worth(t) {
			candidates[start] = line{number: number, text: t}
		}
		start += len(l)
	}
	if len(candidates) == 0 {
		return nil
	}
	source := []byte(body)
	doc := goldmark.DefaultParser().Parse(text.NewReader(source))
	hidden := map[int]bool{} // offsets of lines that begin inside a code span or HTML
	var offsets []int
	quoted := map[int]bool{}
	// The walker never fails: none of its callbacks returns an error.
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Paragraph, *ast.TextBlock, *ast.Heading:
			for i := range n.Lines().Len() {
				at := lineStart(source, n.Lines().At(i).Start)
				offsets = append(offsets, at)
				quoted[at] = within(n, ast.KindBlockquote)
			}
		case *ast.RawHTML:
			for i := 1; i < n.Segments.Len(); i++ {
				hidden[lineStart(source, n.Segments.At(i).Start)] = true
			}
		case *ast.CodeSpan:
			hide(n, source, hidden)
			return ast.WalkSkipChildren, nil
		}
		return ast.WalkContinue, nil
	})
	var out []line
	for _, at := range offsets {
		if l, ok := candidates[at]; ok && !hidden[at] {
			l.quoted = quoted[at]
			out = append(out, l)
		}
	}
	return out
}

// hide marks every line of a code span but its first.
func hide(span ast.Node, source []byte, hidden map[int]bool) {
	first := -1
	for c := span.FirstChild(); c != nil; c = c.NextSibling() {
		t, ok := c.(*ast.Text)
		if !ok {
			continue
		}
		at := lineStart(source, t.Segment.Start)
		if first < 0 {
			first = at
			if before := bytes.TrimRight(source[at:t.Segment.Start], " "); len(before) == 0 {
				hidden[at] = true // the opening backticks end the line before
			}
		}
		if at != first {
			hidden[at] = true
		}
	}
}

func within(n ast.Node, kind ast.NodeKind) bool {
	for p := n.Parent(); p != nil; p = p.Parent() {
		if p.Kind() == kind {
			return true
		}
	}
	return false
}

func lineStart(source []byte, at int) int { return bytes.LastIndexByte(source[:at], '\n') + 1 }

// interesting is a quick look at a line before the Markdown around it is read.
func (o Options) interesting(l string) bool {
	first, _ := firstWord(l)
	return o.isUs(first) || o.almostUs(first)
}

// isUs says whether a word is one of our prefixes or our mention.
func (o Options) isUs(word string) bool {
	if bot, ok := strings.CutPrefix(word, "@"); ok && o.Bot != "" {
		return strings.EqualFold(strings.TrimRight(bot, ":,"), strings.TrimSuffix(o.Bot, "[bot]"))
	}
	for _, p := range o.Prefixes {
		if asciiEqualFold(word, p) {
			return true
		}
	}
	return false
}

// tools are what people type into a terminal and, by habit, into comments.
var tools = []string{"terraform", "tofu", "opentofu"}

func (o Options) almostUs(word string) bool {
	if len(word) < 3 || len(word) > 40 || strings.ContainsRune("`*_~#|<", rune(word[0])) {
		return false
	}
	word = strings.ToLower(strings.TrimLeft(word, "/@"))
	if slices.Contains(tools, word) {
		return true
	}
	_, near := closest(word, o.Prefixes)
	return near
}

// nearMiss judges a line that is not a command.
func (o Options) nearMiss(l line) *NearMiss {
	first, rest := firstWord(l.text)
	words := strings.Fields(rest)
	if len(words) == 0 || len(words) > 6 {
		return nil
	}
	verb, near := closest(strings.ToLower(words[0]), mistaken)
	if !near {
		return nil
	}
	n := &NearMiss{Line: l.number, Text: cut(l.text), Advice: fmt.Sprintf("did you mean %q?", o.Prefixes[0]+" "+verb)}
	switch {
	case l.quoted && !strings.HasPrefix(l.text, ">") && o.isUs(first):
		n.Advice = "it stands right below a quote and so belongs to it; leave an empty line between them"
	case l.quoted || o.isUs(first):
		return nil
	case !o.almostUs(first):
		return nil
	case invisible(first) != nil || !ascii(first):
		n.Advice += " Some of its letters only look like that"
	}
	return n
}

// closest returns the word of known that was probably meant. A word of three letters may have no fault, one of five one, longer ones two.
func closest(word string, known []string) (string, bool) {
	best, distance := "", 3
	if len(word) > 40 {
		return "", false
	}
	for _, k := range known {
		d := levenshtein.ComputeDistance(word, k)
		if d < distance && d <= (len(k)-1)/3 {
			best, distance = k, d
		}
	}
	return best, best != ""
}

// firstWord cuts a line after its first word.
func firstWord(s string) (first, rest string) {
	i := strings.IndexAny(s, " \t\u00a0")
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i:]
}

func asciiEqualFold(a, b string) bool { return ascii(a) && strings.EqualFold(a, b) }

func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > unicode.MaxASCII }) < 0
}

// invisible refuses characters that make a line look like another one.
func invisible(s string) *Refusal {
	if !utf8.ValidString(s) {
		return refuse("type the line again by hand", "the command has bytes that are no text")
	}
	for _, r := range s {
		if r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Co, r)) {
			return refuse("type the line again by hand", "the command has an invisible character (%U)", r)
		}
	}
	return nil
}

// arg is one word after the prefix.
type arg struct {
	text   string
	quoted bool // began with a quote: never an option
}

// split cuts a line into words. Quotes hold words together where a word or a value begins, so that module.a["x"] needs none; inside double
// quotes a backslash keeps a quote or a backslash. Phones write “…” and —: they count as "…" and --.
func split(s string) ([]arg, *Refusal) {
	var out []arg
	rs := []rune(s)
	for i := 0; i < len(rs); {
		if isSpace(rs[i]) {
			i++
			continue
		}
		var b strings.Builder
		a := arg{quoted: closing(rs[i]) != 0}
		for fresh := true; i < len(rs) && !isSpace(rs[i]); {
			r := rs[i]
			end := closing(r)
			switch {
			case fresh && end != 0:
				n, ok := quotedRun(rs[i+1:], end, &b)
				if !ok {
					return nil, refuse(fmt.Sprintf("add %c at its end", end), "a quote is never closed")
				}
				i += n + 1
				fresh = false
				continue
			case b.Len() == 0 && !a.quoted && (r == '—' || r == '–'):
				b.WriteString("--")
			default:
				b.WriteRune(r)
			}
			fresh = r == '='
			i++
		}
		a.text = b.String()
		out = append(out, a)
	}
	return out, nil
}

// quotedRun reads up to the closing quote and returns how many runes that took.
func quotedRun(rs []rune, end rune, b *strings.Builder) (int, bool) {
	for i := 0; i < len(rs); i++ {
		switch {
		case rs[i] == end:
			return i + 1, true
		case rs[i] == '\\' && end == '"' && i+1 < len(rs) && (rs[i+1] == '"' || rs[i+1] == '\\'):
			i++
		}
		b.WriteRune(rs[i])
	}
	return 0, false
}

// closing returns the quote that ends what r begins, or 0.
func closing(r rune) rune {
	switch r {
	case '"', '\'':
		return r
	case '“':
		return '”'
	case '„':
		return '“'
	case '‘':
		return '’'
	}
	return 0
}

func isSpace(r rune) bool { return r == ' ' || r == '\t' || r == '\u00a0' }

// quote repeats hostile text safely: short, and with everything invisible escaped.
func quote(s string) string { return fmt.Sprintf("%q", cut(s)) }

func cut(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "…"
}

// cutBytes shortens s to n bytes at most, at the end of a line.
func cutBytes(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:strings.LastIndexByte(s[:n], '\n')+1]
}
