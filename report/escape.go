package report

import (
	"fmt"
	"html"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// gap is a zero-width space. It stands inside what a host would otherwise act on after rendering, where a backslash no longer helps:
// "@" + gap + "everyone" reads the same and calls nobody. Data cannot bring its own, since visible shows those.
const gap = "\u200b"

// visible makes every character seen: control, bidi and other invisible characters, and bytes that are no UTF-8, appear as their escapes.
// Newlines and tabs stay. The beginning of an HTML comment is broken up, so that data never contains one of our markers.
func visible(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n' || r == '\t':
			b.WriteRune(r)
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp):
			if r > 0xffff {
				fmt.Fprintf(&b, `\U%08x`, r)
			} else {
				fmt.Fprintf(&b, `\u%04x`, r)
			}
		default:
			b.WriteRune(r)
		}
	}
	return strings.ReplaceAll(b.String(), "<!--", "<"+gap+"!--")
}

// line is visible on one line.
func line(s string) string {
	return strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(visible(s))
}

// code is data in a code span, where no host looks for mentions, references, links or HTML.
func code(s string) string {
	s = line(s)
	if strings.TrimSpace(s) == "" {
		return "` `"
	}
	ticks := strings.Repeat("`", longestRun(s, '`')+1)
	if s[0] == '`' || s[len(s)-1] == '`' || s[0] == ' ' && s[len(s)-1] == ' ' {
		s = " " + s + " "
	}
	return ticks + s + ticks
}

// cell is a rendered text inside a table. A pipe ends a cell, in code spans too, and hosts disagree on whether a backslash before it was
// itself escaped; so data that has one shows a broken bar.
func cell(rendered string) string { return strings.ReplaceAll(rendered, "|", "¦") }

// summaryText is data inside <summary>, which no Markdown reaches.
func summaryText(s string) string { return "<code>" + html.EscapeString(line(s)) + "</code>" }

// textMax bounds one piece of prose that we did not write: a policy message, a reason.
const textMax = 600

// prose is data in running text: words that read as they were written and do nothing. A pair of backticks makes a code span, as people
// who write policy messages expect; nothing else of Markdown has an effect. It may stand first in the item of a list, but not first in a line.
func prose(s string) string {
	s = shorten(strings.TrimSpace(s), textMax)
	if s == "" { // a list item without a text would make a heading of the line before
		return "(nothing said)"
	}
	if blockStart.MatchString(s) {
		return gap + spans(s)
	}
	return spans(s)
}

var blockStart = regexp.MustCompile(`^(?:[#>+=:/-]|[0-9]+[.)](?: |$))`)

// spans is prose wherever it stands in a line.
func spans(s string) string {
	parts := strings.Split(s, "`")
	if len(parts)%2 == 0 {
		return words(strings.Join(parts, "`"))
	}
	var b strings.Builder
	for i, part := range parts {
		switch {
		case i%2 == 0:
			b.WriteString(words(part))
		case strings.TrimSpace(part) == "":
			return words(strings.Join(parts, "`"))
		default:
			b.WriteString(code(part))
		}
	}
	return b.String()
}

// signs begin references on one host or another, when something follows at once: @team, #12, !45, ~label, %milestone, $12, &7, [vulnerability:1].
const signs = "@#!%~^$&["

// What else hosts act on in rendered text: tracker keys, addresses with and without a scheme.
var (
	tracker = regexp.MustCompile(`(?:[A-Z][A-Z0-9_]+|(?i:\bgh))-[0-9]`)
	schemes = regexp.MustCompile(`(?i)(?:[a-z][a-z0-9+.-]*:/|\b(?:mailto|tel|sms|magnet|bitcoin|xmpp|cid|mid|file|data|javascript):)`)
	www     = regexp.MustCompile(`(?i)www\.`)

	// Escapes for Markdown and HTML. Entities where some host reads a backslash as itself.
	inert = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", "&lt;", ">", "&gt;", "&", "&amp;",
		"|", "&#124;", "~", `\~`, "$", "&#36;")
)

// words is prose without code spans.
func words(s string) string {
	var b strings.Builder
	s = line(s)
	for i, r := range s {
		b.WriteRune(r)
		if strings.ContainsRune(signs, r) && i+1 < len(s) && s[i+1] != ' ' {
			b.WriteString(gap)
		}
	}
	s = b.String()
	s = tracker.ReplaceAllStringFunc(s, func(m string) string { return m[:len(m)-1] + gap + m[len(m)-1:] })
	return inert.Replace(unlinked(s))
}

// unlinked keeps what looks like an address from becoming a link.
func unlinked(s string) string {
	s = schemes.ReplaceAllStringFunc(s, func(m string) string {
		colon := strings.LastIndexByte(m, ':')
		return m[:colon+1] + gap + m[colon+1:]
	})
	return www.ReplaceAllStringFunc(s, func(m string) string { return m[:3] + gap + m[3:] })
}

// Plain is data in running text for chat, whose markup has no escapes to rely on: signs that would begin formatting are shown as others that
// look alike; mentions, addresses, links in brackets and templates in braces are broken up. What the channel's own encoding needs (& < >
// for Slack) is left to it.
func Plain(s string) string {
	runes := []rune(alike.Replace(unlinked(line(s))))
	letter := func(i int) bool {
		return i >= 0 && i < len(runes) && (unicode.IsLetter(runes[i]) || unicode.IsDigit(runes[i]))
	}
	for i, r := range runes {
		if r == '_' && !(letter(i-1) && letter(i+1)) { // within words it formats nothing
			runes[i] = 'ˍ'
		}
	}
	return string(runes)
}

var alike = strings.NewReplacer("*", "∗", "~", "∼", "`", "ˋ", "@", "@"+gap, "](", "]"+gap+"(", "][", "]"+gap+"[", "]:", "]"+gap+":",
	"{{", "{"+gap+"{", "${", "$"+gap+"{")

// Literal is data as it is, on one line, for a place in chat where no markup counts but a backtick would end it.
func Literal(s string) string { return strings.ReplaceAll(line(s), "`", "ˋ") }

// Text is lines of data for a place in chat where no markup counts but a fence of backticks would end it. Terminal sequences are gone.
func Text(s string) string { return strings.ReplaceAll(visible(Clean(s)), "```", "ˋˋˋ") }

// fence is a code block. The fence is longer than any run of backticks inside. Lines that would look like the end of a block, or like a
// command to the host, are kept from beginning as such: some hosts look for both with simpler rules than Markdown's.
func fence(language string, lines []string) string {
	var b strings.Builder
	for _, l := range lines {
		for l := range strings.SplitSeq(visible(l), "\n") {
			switch start := strings.TrimLeft(l, " \t"); {
			case strings.HasPrefix(start, "/"), strings.HasPrefix(start, "```"), strings.HasPrefix(start, "~~~"):
				l = gap + l
			}
			b.WriteString(l)
			b.WriteByte('\n')
		}
	}
	ticks := strings.Repeat("`", max(3, longestRun(b.String(), '`')+1))
	return ticks + language + "\n" + b.String() + ticks + "\n"
}

func longestRun(s string, of byte) int {
	longest, n := 0, 0
	for i := range len(s) {
		if s[i] != of {
			n = 0
			continue
		}
		n++
		longest = max(longest, n)
	}
	return longest
}

// link is a Markdown link to an address of ours; without a usable address it is the text alone. The text is ours too.
func link(text, address string) string {
	if !usable.MatchString(address) {
		return text
	}
	return "[" + text + "](" + address + ")"
}

var usable = regexp.MustCompile(`^https?://[A-Za-z0-9._~:/?#@!$&'*+,;=%\[\]-]+$`)

// mention keeps the words of s that name an account or team and nothing else. Only names from the server's configuration, or logins that
// the host gave us, may come here.
func mention(s string) string {
	var out []string
	for w := range strings.FieldsSeq(s) {
		if account.MatchString(w) {
			out = append(out, w)
		}
	}
	return strings.Join(out, " ")
}

var account = regexp.MustCompile(`^@[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?:/[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)*$`)

// shorten keeps the beginning and the end of a text of more than limit characters and says how long it was.
func shorten(s string, limit int) string {
	n := utf8.RuneCountInString(s)
	if n <= limit {
		return s
	}
	runes := []rune(s)
	head := limit * 2 / 3
	return fmt.Sprintf("%s…%s (%s characters)", string(runes[:head]), string(runes[n-(limit-head):]), number(n))
}

// number writes n with commas: 3,412.
func number(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// count writes "1 project", "2 projects".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

// short is a commit as people write it.
func short(sha string) string {
	if len(sha) > 7 {
		sha = sha[:7]
	}
	return code(sha)
}

var hexadecimal = regexp.MustCompile(`^[0-9a-fA-F]{1,64}$`)
