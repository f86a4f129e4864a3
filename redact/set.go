package redact

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Mark stands where a secret stood.
const Mark = "(redacted)"

// MinLength is how many characters a secret needs to be redacted by value.
const MinLength = 8

// password is a line that is no ordinary words.
var password = regexp.MustCompile(`^[^\s:=]+$`)

// minPart is how long a part of a secret must be to count alone, such as one of several lines. Keys and certificates have lines of 64; shorter ones
// are often ordinary words ("apiVersion: v1") that must stay readable.
const minPart = 16

// Set is a compiled set of secrets.
type Set struct {
	own    *automaton // of secrets that the writer of a text has: their blanks are any layout
	others *automaton // of secrets that it does not have: they are looked for within a line
	most   int64      // bytes of the longest form
}

// Compile prepares secrets. Those that are too short and those given twice are left out; no secrets at all are fine.
func Compile(secrets []string) *Set { return CompileFor(secrets, nil) }

// CompileFor prepares the secrets that whoever writes a text has, and others that it does not have. When a [Writer] lets text go says
// nothing of the others, so that they cannot be found out bit by bit. For that they are looked for within single lines.
func CompileFor(own, others []string) *Set {
	s := &Set{own: newAutomaton(), others: newAutomaton()}
	for _, secret := range own {
		for _, form := range forms(secret) {
			s.insert(s.own, squeezed(form))
		}
	}
	for _, secret := range others {
		for _, form := range forms(secret) {
			if !strings.Contains(form, "\n") {
				s.insert(s.others, form)
			}
		}
	}
	s.own.link()
	s.others.link()
	return s
}

func (s *Set) insert(into *automaton, form string) {
	into.insert(form)
	s.most = max(s.most, int64(len(form)))
}

// String returns text with every secret replaced by Mark.
func (s *Set) String(text string) string {
	var sp spans
	m := matcher{set: s}
	for i := range len(text) {
		m.step(text[i], &sp)
	}
	if len(sp) == 0 {
		return text
	}
	var b strings.Builder
	from := int64(0)
	for _, x := range sp {
		b.WriteString(text[from:x.from])
		b.WriteString(Mark)
		from = x.to
	}
	b.WriteString(text[from:])
	return b.String()
}

// String compiles secrets and returns a function that redacts whole texts.
func String(secrets []string) func(string) string { return Compile(secrets).String }

// span is a part of the text that must not leave.
type span struct{ from, to int64 }

// spans are disjoint and in order.
type spans []span

// add joins a new span, which ends at or after all others, with those it overlaps.
func (s *spans) add(from, to int64) {
	kept := len(*s)
	for kept > 0 && (*s)[kept-1].to > from {
		kept--
		from = min(from, (*s)[kept].from)
	}
	*s = append((*s)[:kept], span{from, to})
}

// forms lists the shapes in which a secret is looked for.
func forms(secret string) []string {
	secret = strings.TrimSpace(secret)
	if utf8.RuneCountInString(secret) < MinLength {
		return nil
	}
	seen := map[string]bool{}
	var out []string
	add := func(form string) {
		if len(form) >= MinLength && !seen[form] {
			seen[form] = true
			out = append(out, form)
		}
	}
	for _, text := range parts(secret) {
		add(text)
		add(strings.NewReplacer("${", "$${", "%{", "%%{").Replace(hclQuote(text)))
		for _, html := range []bool{false, true} {
			once := jsonQuote(text, html)
			add(once)
			add(jsonQuote(once, false)) // a JSON document inside a JSON string
		}
		for _, escaped := range []string{url.QueryEscape(text), url.PathEscape(text), url.User(text).String()} {
			add(escaped)
			add(lowerHex(escaped))
		}
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			add(enc.EncodeToString([]byte(text)))
			for offset := range 3 {
				add(base64Inside(enc, text, offset))
			}
		}
	}
	return out
}

// parts returns the secret, and what of it counts alone. Of several lines (also when they are written as \n, as in the key file of a service
// account) each that is long enough or looks like a password: tools print such values line by line, with signs in front of them. Between
// characters that are not ASCII, what is long enough: some programs replace those, or leave them out.
func parts(secret string) []string {
	out := []string{secret}
	lines := strings.Split(strings.ReplaceAll(secret, `\n`, "\n"), "\n")
	for _, line := range lines {
		line = strings.TrimSpace(line)
		n := utf8.RuneCountInString(line)
		if len(lines) > 1 && (n >= minPart || n >= MinLength && password.MatchString(line) && withDigit.MatchString(line) && withLetter.MatchString(line)) {
			out = append(out, line)
		}
		for _, part := range strings.FieldsFunc(line, func(r rune) bool { return r > unicode.MaxASCII }) {
			if part = strings.TrimSpace(part); len(part) >= minPart && part != line {
				out = append(out, part)
			}
		}
	}
	return out
}

// base64Inside returns the characters of the encoding that depend on text alone, when text begins offset bytes after a group of three.
func base64Inside(enc *base64.Encoding, text string, offset int) string {
	whole := enc.WithPadding(base64.NoPadding).EncodeToString(append(make([]byte, offset), text...))
	lead := (offset*8 + 5) / 6 // characters that also hold bits of what stands before
	full := (offset + len(text)) * 8 / 6
	return whole[lead:full]
}

func jsonQuote(text string, html bool) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(html)
	if err := enc.Encode(text); err != nil {
		return text // a string always encodes
	}
	quoted := strings.TrimSuffix(b.String(), "\n")
	return quoted[1 : len(quoted)-1]
}

func hclQuote(text string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(text)
}

// lowerHex writes the hexadecimal digits of %XX in lower case, as some programs do.
func lowerHex(escaped string) string {
	b := []byte(escaped)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], strings.ToLower(string(b[i+1:i+3])))
			i += 2
		}
	}
	return string(b)
}
