package web

import (
	"bytes"
	"html"
	"strconv"
	"strings"
	"unicode/utf8"
)

// painter turns the raw text of a log into HTML, or into plain text, piece by piece. Of what a terminal would obey only colours and weight
// are left, as classes; everything else that is not seen appears as its escape. What a piece cuts in two waits for the next one. Every piece
// of HTML is whole in itself, so it can be inserted wherever the last one ended.
type painter struct {
	plain bool // no HTML: colours are dropped
	style style
	rest  []byte
}

// style is what the colour sequences so far ask for; 0 is the terminal's own colour, others are 1 more than their number.
type style struct {
	fore, back                   int
	bold, dim, italic, underline bool
}

// paint renders the next piece. end says that it is the last one.
func (p *painter) paint(text []byte, end bool) string {
	text = append(p.rest, text...)
	p.rest = nil
	var out strings.Builder
	for len(text) > 0 {
		n := bytes.IndexAny(text, "\x1b\r")
		if n < 0 {
			n = len(text)
			if !end {
				n -= partial(text)
			}
			if n == 0 {
				break
			}
		}
		if n > 0 {
			p.write(&out, text[:n])
			text = text[n:]
			continue
		}
		n, known := p.control(&out, text, end)
		if !known {
			break
		}
		text = text[n:]
	}
	p.rest = bytes.Clone(text)
	return out.String()
}

// control handles an escape character or carriage return at the beginning of text and returns how much it used up; known is false while
// more is needed to tell.
func (p *painter) control(out *strings.Builder, text []byte, end bool) (n int, known bool) {
	if text[0] == '\r' {
		switch {
		case len(text) == 1 && !end:
			return 0, false
		case len(text) > 1 && text[1] == '\n':
			return 1, true
		}
		out.WriteByte('\n') // a progress line that would overwrite itself: show each state
		return 1, true
	}
	codes, n, whole := sequence(text)
	switch {
	case n == 0 && !whole && !end:
		return 0, false
	case n == 0:
		p.write(out, text[:1])
		return 1, true
	}
	p.style.apply(codes)
	return n, true
}

// sequenceMax bounds a colour sequence, in bytes.
const sequenceMax = 40

// sequence reads a colour sequence, "ESC [ numbers m". n is 0 if there is none; then whole is false if more text could make it one.
func sequence(text []byte) (codes string, n int, whole bool) {
	if len(text) > 1 && text[1] != '[' {
		return "", 0, true
	}
	for i := 2; i < len(text); i++ {
		switch c := text[i]; {
		case i >= sequenceMax:
			return "", 0, true
		case c == 'm':
			return string(text[2:i]), i + 1, true
		case c != ';' && (c < '0' || c > '9'):
			return "", 0, true
		}
	}
	return "", 0, false
}

// apply obeys the numbers of a sequence. Colours out of a palette of 256 or more are not followed: their numbers are skipped.
func (s *style) apply(codes string) {
	numbers := strings.Split(codes, ";")
	for i := 0; i < len(numbers); i++ {
		n := 0
		if numbers[i] != "" {
			var err error
			if n, err = strconv.Atoi(numbers[i]); err != nil {
				return
			}
		}
		switch {
		case n == 0:
			*s = style{}
		case n == 1:
			s.bold = true
		case n == 2:
			s.dim = true
		case n == 3:
			s.italic = true
		case n == 4:
			s.underline = true
		case n == 22:
			s.bold, s.dim = false, false
		case n == 23:
			s.italic = false
		case n == 24:
			s.underline = false
		case n >= 30 && n <= 37:
			s.fore = n - 30 + 1
		case n >= 90 && n <= 97:
			s.fore = n - 90 + 8 + 1
		case n == 39:
			s.fore = 0
		case n >= 40 && n <= 47:
			s.back = n - 40 + 1
		case n >= 100 && n <= 107:
			s.back = n - 100 + 8 + 1
		case n == 49:
			s.back = 0
		case (n == 38 || n == 48) && i+1 < len(numbers):
			i += map[string]int{"5": 2, "2": 4}[numbers[i+1]]
		}
	}
}

// classes are those of assets/style.css: f0 to f15, b0 to b15, bold, dim, italic, line.
func (s style) classes() string {
	var names []string
	if s.fore > 0 {
		names = append(names, "f"+strconv.Itoa(s.fore-1))
	}
	if s.back > 0 {
		names = append(names, "b"+strconv.Itoa(s.back-1))
	}
	for _, c := range []struct {
		on   bool
		name string
	}{{s.bold, "bold"}, {s.dim, "dim"}, {s.italic, "italic"}, {s.underline, "line"}} {
		if c.on {
			names = append(names, c.name)
		}
	}
	return strings.Join(names, " ")
}

func (p *painter) write(out *strings.Builder, text []byte) {
	seen := shown(string(text))
	if p.plain {
		out.WriteString(seen)
		return
	}
	seen = html.EscapeString(seen)
	if classes := p.style.classes(); classes != "" {
		out.WriteString(`<span class="` + classes + `">` + seen + `</span>`)
		return
	}
	out.WriteString(seen)
}

// partial counts the bytes at the end of text that may begin a character whose rest is still to come.
func partial(text []byte) int {
	for n := 1; n <= min(utf8.UTFMax-1, len(text)); n++ {
		last := text[len(text)-n:]
		if utf8.RuneStart(last[0]) {
			if utf8.FullRune(last) {
				return 0
			}
			return n
		}
	}
	return 0
}
