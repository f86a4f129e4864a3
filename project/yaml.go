package project

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/planlatch/planlatch/meant"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/yamlnode"
)

// reader walks a YAML document that somebody we do not trust wrote, and collects every fault. It works on the syntax tree because a decoder
// stops at its first error. Anchors and aliases are refused: nobody needs them here, and a few lines of them unfold without end.
type reader struct {
	file     string
	problems []run.Problem
}

func (r *reader) reportAt(key string, at yamlnode.Place, message, fix string) {
	if len(r.problems) < 100 {
		r.problems = append(r.problems, run.Problem{File: r.file, Line: at.Line, Column: at.Column, Key: key, Message: message, Fix: fix})
	}
}

func (r *reader) report(key string, n ast.Node, message, fix string) {
	r.reportAt(key, yamlnode.PlaceOf(n), message, fix)
}

// parse returns the one document of a file, or nil when there is nothing to read.
func (r *reader) parse(data []byte) (body ast.Node) {
	switch {
	case len(data) > maxConfig:
		r.reportAt("", yamlnode.Place{}, fmt.Sprintf("has %d bytes, more than %d", len(data), maxConfig), "list directories by globs")
		return nil
	case !utf8.Valid(data) || bytes.ContainsRune(data, 0):
		r.reportAt("", yamlnode.Place{}, "is not text in UTF-8", "save it as UTF-8")
		return nil
	case tooMuch(data):
		r.reportAt("", yamlnode.Place{}, "is nested too deeply, or has too many keys in one place", "keep to the documented keys")
		return nil
	}
	defer func() {
		// The parser is fuzzed, but not ours; what it does with odd input must not end the server.
		if p := recover(); p != nil {
			r.reportAt("", yamlnode.Place{}, "is not valid YAML", "check it with a YAML linter")
			body = nil
		}
	}()
	parsed, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err)
		return nil
	}
	for _, doc := range parsed.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.NullType || doc.Body.Type() == ast.CommentType {
			continue
		}
		if body != nil {
			r.report("", doc.Body, "a second YAML document begins here", "keep everything in one document")
			return nil
		}
		body = doc.Body
	}
	return body
}

// What a document may hold.
const (
	mostNested = 200
	mostKeys   = 200    // of one mapping
	mostItems  = 10_000 // of one list in brackets
)

// tooMuch says whether a document has a shape that the parser would take very long over, or recurse into too deeply: it needs half a minute
// for fifty thousand keys in one mapping. The text is judged by its lines and brackets alone, so words in quotes count as well; what a
// person writes is far from these bounds.
func tooMuch(data []byte) bool {
	keys := map[int]int{} // by column, of the mappings that are open
	var open brackets
	for line := range bytes.Lines(data) {
		text := bytes.TrimLeft(line, " \t-?")
		column := len(line) - len(text)
		if column > mostNested {
			return true
		}
		if len(bytes.TrimSpace(text)) == 0 || text[0] == '#' {
			continue
		}
		dash := bytes.IndexByte(line[:column], '-')
		for c := range keys {
			if c > column || dash >= 0 && c > dash {
				delete(keys, c)
			}
		}
		if keys[column]++; keys[column] > mostKeys {
			return true
		}
		if slices.ContainsFunc(text, open.tooMuch) {
			return true
		}
	}
	return false
}

// brackets are those that are open, the innermost last.
type brackets []bracket

type bracket struct {
	kind  byte
	marks int // commas and colons between its items
}

// tooMuch reads the next byte.
func (b *brackets) tooMuch(c byte) bool {
	last := len(*b) - 1
	switch {
	case c == '[', c == '{':
		*b = append(*b, bracket{kind: c})
		return len(*b) > mostNested
	case last < 0:
		return false
	case c == ']', c == '}':
		*b = (*b)[:last]
	case c == ',', c == ':':
		open := &(*b)[last]
		open.marks++
		return open.kind == '{' && open.marks > 2*mostKeys || open.marks > mostItems
	}
	return false
}

func (r *reader) syntax(err error) {
	at, message := yamlnode.Place{}, "is not valid YAML"
	if e := yaml.Error(nil); errors.As(err, &e) {
		message += ": " + e.GetMessage()
		if tk := e.GetToken(); tk != nil && tk.Position != nil {
			at = yamlnode.Place{Line: tk.Position.Line, Column: tk.Position.Column}
		}
	}
	r.reportAt("", at, message, "check indentation and quotes in this line")
}

// mapping reads the keys it knows and reports the others. It is false when n is no mapping.
func (r *reader) mapping(key string, n ast.Node, fields map[string]func(key string, n ast.Node)) bool {
	m, ok := n.(ast.MapNode)
	if !ok {
		r.report(key, n, "is "+yamlnode.Kind(n)+", not a mapping of keys to values", "write key: value lines below it")
		return false
	}
	var known []string
	for k := range fields {
		known = append(known, k)
	}
	slices.Sort(known)
	lines := map[string]int{}
	for it := m.MapRange(); it.Next(); {
		k := it.Key()
		name := k.GetToken().Value
		full := name
		if key != "" {
			full = key + "." + name
		}
		first, twice := lines[name]
		switch {
		case k.IsMergeKey():
			r.report(full, k, "merging of anchors is not read here", "write the values out")
		case twice:
			r.report(full, k, fmt.Sprintf("is written twice, first in line %d", first), "keep one of them")
		case fields[name] == nil:
			r.report(full, k, fmt.Sprintf("%q is not a key here", clip(name)), meant.Instead(name, known))
		default:
			fields[name](full, it.Value())
		}
		lines[name] = yamlnode.PlaceOf(k).Line
	}
	return true
}

// list reads the items of a sequence.
func (r *reader) list(key string, n ast.Node, most int, item func(key string, n ast.Node)) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		if n.Type() != ast.NullType {
			r.report(key, n, "is "+yamlnode.Kind(n)+", not a list", "write one item per line, each after a dash")
		}
		return
	}
	if len(s.Values) > most {
		r.report(key, n, fmt.Sprintf("has %d items, more than %d", len(s.Values), most), "use globs")
		return
	}
	for i, v := range s.Values {
		item(fmt.Sprintf("%s[%d]", key, i), v)
	}
}

// text reads a scalar. It is empty after a fault.
func (r *reader) text(key string, n ast.Node) string {
	var s string
	switch t := n.(type) {
	case *ast.StringNode:
		s = t.Value
	case *ast.LiteralNode:
		s = t.Value.Value
	case *ast.IntegerNode, *ast.FloatNode:
		s = t.GetToken().Value
	default:
		r.report(key, n, "is "+yamlnode.Kind(n)+", not text", "write a text, in quotes if need be")
		return ""
	}
	switch {
	case s == "":
		r.report(key, n, "is empty", "write a value, or remove the key")
	case len(s) > maxText:
		r.report(key, n, fmt.Sprintf("has %d bytes, more than %d", len(s), maxText), "shorten it")
		return ""
	case strings.ContainsFunc(s, unprintable):
		r.report(key, n, fmt.Sprintf("%q contains a character that cannot be seen", s), "remove it")
		return ""
	}
	return s
}

func unprintable(c rune) bool {
	return unicode.IsControl(c) || unicode.Is(unicode.Cf, c) || c == utf8.RuneError
}

func (r *reader) texts(key string, n ast.Node, check func(key string, n ast.Node, text string)) []string {
	var out []string
	r.list(key, n, maxList, func(key string, n ast.Node) {
		text := r.text(key, n)
		switch {
		case text == "":
		case slices.Contains(out, text):
			r.report(key, n, fmt.Sprintf("%q is in the list twice", text), "keep one of them")
		default:
			if check != nil {
				check(key, n, text)
			}
			out = append(out, text)
		}
	})
	return out
}

func (r *reader) globs(key string, n ast.Node, dir string) []string {
	return r.texts(key, n, func(key string, n ast.Node, text string) {
		if _, inside := clean(dir, text); !inside || !doublestar.ValidatePattern(text) {
			r.report(key, n, fmt.Sprintf("%q is not a glob of directories in this repository", text), `write, for example, "modules/**"`)
		}
	})
}

func (r *reader) choice(key string, n ast.Node, words ...string) string {
	text := r.text(key, n)
	if text == "" || !r.oneOf(key, n, text, words...) {
		return ""
	}
	return text
}

func (r *reader) oneOf(key string, n ast.Node, text string, words ...string) bool {
	if slices.Contains(words, text) {
		return true
	}
	r.report(key, n, fmt.Sprintf("%q is not one of its values", text), meant.Instead(text, words))
	return false
}

func (r *reader) isName(key string, n ast.Node, text string) {
	if !namePattern.MatchString(text) {
		r.report(key, n, fmt.Sprintf("%q is not a valid name", text),
			"use up to 100 letters, digits, dots, dashes and underscores, beginning with a letter or digit")
	}
}

func (r *reader) isWorkspace(key string, n ast.Node, text string) {
	if !workspacePattern.MatchString(text) {
		r.report(key, n, fmt.Sprintf("%q is not a valid workspace", text),
			"use up to 90 letters, digits, dots, dashes and underscores, beginning with a letter or digit")
	}
}

// clip keeps a text from somebody else short enough for a message.
func clip(s string) string {
	if len(s) <= 100 {
		return s
	}
	return strings.ToValidUTF8(s[:100], "") + "…"
}
