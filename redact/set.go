package redact

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Mark stands where a secret stood.
const Mark = "(redacted)"

// MinLength is how many characters a secret needs to be redacted by value.
const MinLength = 8

// minPart is how long one line of a secret of several lines must be to count alone. Keys and certificates have lines of 64; shorter ones
// are often ordinary words ("apiVersion: v1") that must stay readable.
const minPart = 16

// Set is a compiled set of secrets: an automaton that knows, after each byte, the longest secret that ends there and the longest part of a
// secret that has begun. Nodes keep their children in a list, since nearly all have one: a table per node costs gigabytes for a few keys.
type Set struct {
	nodes []node
	root  [256]int32
}

type node struct {
	child   int32 // first child; 0: none
	sibling int32
	fail    int32 // where the longest proper suffix stands that is a beginning too
	depth   int32 // bytes matched so far
	longest int32 // length of the longest secret that ends here; 0: none
	b       byte
}

// Compile prepares secrets. Those that are too short and those given twice are left out; no secrets at all are fine.
func Compile(secrets []string) *Set {
	s := &Set{nodes: make([]node, 1)}
	for _, secret := range secrets {
		for _, form := range forms(secret) {
			s.insert(form)
		}
	}
	s.link()
	return s
}

func (s *Set) insert(form string) {
	at := int32(0)
	for i := range len(form) {
		next := s.find(at, form[i])
		if next == 0 {
			next = int32(len(s.nodes))
			s.nodes = append(s.nodes, node{b: form[i], sibling: s.nodes[at].child, depth: s.nodes[at].depth + 1})
			s.nodes[at].child = next
			if at == 0 {
				s.root[form[i]] = next
			}
		}
		at = next
	}
	s.nodes[at].longest = s.nodes[at].depth
}

// link sets the fail edges, level by level, so that every fail edge points to a node that is finished.
func (s *Set) link() {
	queue := make([]int32, 0, len(s.nodes))
	for c := s.nodes[0].child; c != 0; c = s.nodes[c].sibling {
		queue = append(queue, c)
	}
	for i := 0; i < len(queue); i++ {
		at := queue[i]
		for c := s.nodes[at].child; c != 0; c = s.nodes[c].sibling {
			n := &s.nodes[c]
			n.fail = s.step(s.nodes[at].fail, n.b)
			n.longest = max(n.longest, s.nodes[n.fail].longest)
			queue = append(queue, c)
		}
	}
}

func (s *Set) find(at int32, b byte) int32 {
	if at == 0 {
		return s.root[b]
	}
	for c := s.nodes[at].child; c != 0; c = s.nodes[c].sibling {
		if s.nodes[c].b == b {
			return c
		}
	}
	return 0
}

func (s *Set) step(at int32, b byte) int32 {
	for at != 0 {
		if next := s.find(at, b); next != 0 {
			return next
		}
		at = s.nodes[at].fail
	}
	return s.root[b]
}

// String returns text with every secret replaced by Mark.
func (s *Set) String(text string) string {
	var sp spans
	at := int32(0)
	for i := range len(text) {
		at = s.step(at, text[i])
		if n := int64(s.nodes[at].longest); n > 0 {
			sp.add(int64(i)+1-n, int64(i)+1)
		}
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

// parts returns the secret and, if it has several lines (also when they are written as \n, as in the key file of a service account), each
// line that is long enough: tools print such values line by line, indented.
func parts(secret string) []string {
	out := []string{secret}
	lines := strings.Split(strings.ReplaceAll(secret, `\n`, "\n"), "\n")
	if len(lines) == 1 {
		return out
	}
	for _, line := range lines {
		if line = strings.TrimSpace(line); utf8.RuneCountInString(line) >= minPart {
			out = append(out, line)
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
