package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// The bounds of one change.
const (
	attrsMax  = 200
	valueMax  = 160 // characters of one value
	inlineMax = 80  // bytes of a list that is shown whole
	linesMax  = 80
)

// path leads to a value: strings are keys, ints are indexes.
type path []any

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

func (p path) String() string {
	var b strings.Builder
	for i, step := range p {
		switch s := step.(type) {
		case element:
			b.WriteString("[" + strconv.Quote(s.name) + "]")
		case decoded:
			inner := b.String()
			b.Reset()
			b.WriteString("jsondecode(" + inner + ")")
		case string:
			switch {
			case !identifier.MatchString(s):
				b.WriteString("[" + strconv.Quote(s) + "]")
			case i > 0:
				b.WriteString("." + s)
			default:
				b.WriteString(s)
			}
		default:
			fmt.Fprintf(&b, "[%v]", s)
		}
	}
	return b.String()
}

// decoded is a step into a string that holds JSON.
type decoded struct{}

// element is a step to a block of a list that people know by its name.
type element struct {
	index int
	name  string
}

// elementOf finds the name of a block, if both sides agree on it.
func elementOf(i int, before, after, beforeSecret, afterSecret any) any {
	for _, k := range []string{"name", "key"} {
		b, inBefore := asMap(before)[k].(string)
		a, inAfter := asMap(after)[k].(string)
		if key(beforeSecret, k) != nil || key(afterSecret, k) != nil {
			continue
		}
		switch {
		case inBefore && inAfter && b == a, before == nil && inAfter:
			return element{i, a}
		case after == nil && inBefore:
			return element{i, b}
		}
	}
	return i
}

func (p path) with(step any) path { return append(slices.Clip(p), step) }

// differ compares two values of one object and collects what differs.
type differ struct {
	ch      *tfjson.Change
	redact  func(string) string
	replace [][]string
	attrs   []Attr
	unknown int
	fresh   bool // the object is new: what is only known later is counted, not listed
}

func newDiffer(ch *tfjson.Change, redact func(string) string) *differ {
	d := &differ{ch: ch, redact: redact}
	for _, p := range ch.ReplacePaths {
		if steps, ok := p.([]any); ok {
			var texts []string
			for _, s := range steps {
				texts = append(texts, fmt.Sprint(s))
			}
			d.replace = append(d.replace, texts)
		}
	}
	return d
}

// run compares the whole object.
func (d *differ) run(kind ChangeKind) (attrs []Attr, more, unknown int) {
	d.fresh = kind == Create
	after := d.ch.After
	if kind == Delete || kind == Forget {
		after = nil
	}
	d.walkMap(nil, change{d.ch.Before, after, d.ch.AfterUnknown, d.ch.BeforeSensitive, d.ch.AfterSensitive})
	slices.SortStableFunc(d.attrs, func(a, b Attr) int {
		return cmp.Or(-compareBool(a.Forces, b.Forces), compareBool(a.Unknown, b.Unknown))
	})
	if more = max(0, len(d.attrs)-attrsMax); more > 0 {
		d.attrs = d.attrs[:attrsMax]
	}
	return d.attrs, more, d.unknown
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}

// forcing names the attributes that force a replacement.
func (d *differ) forcing() []string {
	var names []string
	for _, steps := range d.replace {
		var p path
		for _, s := range steps {
			if n, err := strconv.Atoi(s); err == nil {
				p = append(p, n)
			} else {
				p = append(p, s)
			}
		}
		if name := d.redact(p.String()); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (d *differ) add(p path, a Attr) {
	a.Path = d.redact(p.String())
	for _, steps := range d.replace {
		same := len(steps) > 0
		for i := range min(len(steps), len(p)) {
			step := p[i]
			if e, ok := step.(element); ok {
				step = e.index
			}
			same = same && steps[i] == fmt.Sprint(step)
		}
		a.Forces = a.Forces || same
	}
	d.attrs = append(d.attrs, a)
}

// change is a value before and after. Marks have the shape of the value: true where it is unknown or sensitive.
type change struct{ before, after, unknown, beforeSecret, afterSecret any }

func (c change) equal() bool { return reflect.DeepEqual(c.before, c.after) && !anyTrue(c.unknown) }

// walk compares a value with what becomes of it.
func (d *differ) walk(p path, c change) {
	size := len(d.attrs) + d.unknown
	switch {
	case isTrue(c.beforeSecret) || isTrue(c.afterSecret):
		if !c.equal() || isTrue(c.beforeSecret) != isTrue(c.afterSecret) && c.before != nil && c.after != nil {
			d.add(p, Attr{Sensitive: true, Unknown: isTrue(c.unknown)})
		}
		return
	case isTrue(c.unknown) && d.fresh:
		d.unknown++
		return
	case isTrue(c.unknown):
		d.add(p, Attr{Before: d.value(c.before, c.beforeSecret), Unknown: true})
		return
	case c.equal(), d.fresh && empty(c.after) && !anyTrue(c.unknown): // a new object without something says nothing
		return
	}
	d.walkInto(p, c)
	switch {
	case len(d.attrs)+d.unknown > size:
	case anyTrue(c.unknown):
		d.add(p, Attr{Before: d.value(c.before, c.beforeSecret), Unknown: true})
	default: // an empty collection appears or goes
		d.scalar(p, d.value(c.before, c.beforeSecret), d.value(c.after, c.afterSecret))
	}
}

// walkInto compares what two values of the same kind are made of; one that is not there is of any kind.
func (d *differ) walkInto(p path, c change) {
	_, unknownIsList := c.unknown.([]any)
	switch {
	case both[map[string]any](c) && !unknownIsList:
		d.walkMap(p, c)
	case both[[]any](c):
		d.walkList(p, c)
	case both[string](c):
		d.walkText(p, c)
	default:
		d.scalar(p, d.value(c.before, c.beforeSecret), d.value(c.after, c.afterSecret))
	}
}

// both says whether a value has one kind before and after, if it is there.
func both[T any](c change) bool {
	_, before := c.before.(T)
	_, after := c.after.(T)
	return (before || c.before == nil) && (after || c.after == nil)
}

// scalar adds a pair of rendered values. If they read the same, what differs is something that is not shown.
func (d *differ) scalar(p path, before, after string) {
	if before == after {
		d.add(p, Attr{Sensitive: true})
		return
	}
	d.add(p, Attr{Before: before, After: after})
}

func (d *differ) walkMap(p path, c change) {
	before, after, unknown := asMap(c.before), asMap(c.after), asMap(c.unknown)
	keys := map[string]bool{}
	for _, m := range []map[string]any{before, after, unknown} {
		for k := range m {
			keys[k] = true
		}
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		d.walk(p.with(k), change{before[k], after[k], unknown[k], key(c.beforeSecret, k), key(c.afterSecret, k)})
	}
}

func (d *differ) walkList(p path, c change) {
	before, _ := c.before.([]any)
	after, _ := c.after.([]any)
	if flat(before) && flat(after) && !anyTrue(c.unknown) {
		b, a := d.whole(before, c.beforeSecret), d.whole(after, c.afterSecret)
		if len(b) <= inlineMax && len(a) <= inlineMax {
			if before == nil {
				b = ""
			}
			if after == nil {
				a = ""
			}
			d.scalar(p, b, a)
			return
		}
	}
	for _, pair := range align(texts(before, nil), texts(after, c.unknown)) {
		var b, a any
		step := pair.after
		if pair.before >= 0 {
			b = before[pair.before]
		}
		if pair.after >= 0 {
			a = after[pair.after]
		} else {
			step = pair.before
		}
		secretBefore, secretAfter := index(c.beforeSecret, pair.before), index(c.afterSecret, pair.after)
		d.walk(p.with(elementOf(step, b, a, secretBefore, secretAfter)), change{b, a, index(c.unknown, pair.after), secretBefore, secretAfter})
	}
}

func (d *differ) walkText(p path, c change) {
	before, _ := c.before.(string)
	after, _ := c.after.(string)
	noBefore, noAfter := c.before == nil, c.after == nil
	b, a := d.redact(before), d.redact(after)
	// A document that holds a secret is not taken apart: the secret was the whole of it, and its pieces would not be recognised.
	if b == before && a == after {
		beforeDoc, beforeOK := document(before)
		afterDoc, afterOK := document(after)
		if (beforeOK || noBefore) && (afterOK || noAfter) {
			size := len(d.attrs)
			d.walk(p.with(decoded{}), change{before: beforeDoc, after: afterDoc})
			if reflect.DeepEqual(beforeDoc, afterDoc) && len(d.attrs) == size {
				d.add(p, Attr{Before: "JSON", After: "the same JSON, written differently"})
			}
			return
		}
	}
	if b == a && !noBefore && !noAfter {
		d.add(p, Attr{Sensitive: true})
		return
	}
	if strings.Contains(strings.TrimSpace(b), "\n") || strings.Contains(strings.TrimSpace(a), "\n") {
		d.add(p, Attr{Lines: lineDiff(b, a)})
		return
	}
	b, a = focus(b, a)
	attr := Attr{Before: strconv.Quote(b), After: strconv.Quote(a)}
	if noBefore {
		attr.Before = ""
	}
	if noAfter {
		attr.After = ""
	}
	d.add(p, attr)
}

// document decodes a string that holds a JSON object or list with something in it.
func document(s string) (any, bool) {
	t := strings.TrimSpace(s)
	if len(t) < 3 || t[0] != '{' && t[0] != '[' {
		return nil, false
	}
	dec := json.NewDecoder(strings.NewReader(t))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil || dec.More() {
		return nil, false
	}
	return v, true
}

// texts are the elements of a list as text to compare. One with something unknown equals nothing.
func texts(list []any, unknown any) []string {
	out := make([]string, len(list))
	for i, v := range list {
		b, err := json.Marshal(v)
		if err != nil || anyTrue(index(unknown, i)) {
			b = []byte("unknown " + strconv.Itoa(i))
		}
		out[i] = string(b)
	}
	return out
}
