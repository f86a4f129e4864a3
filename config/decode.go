package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/planlatch/planlatch/meant"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/yamlnode"
)

// deepest bounds nesting, so that an alias to its own parent ends with a message.
const deepest = 32

// decoder lays a parsed file over a struct. It is ours, not the YAML library's, because that one stops at the first fault and this one
// reports them all. It obeys these struct tags: yaml (name, or ",inline"), oneof (the words allowed), least (smallest number), need (must
// be there), filled (must not be an empty list), exact (a file's content is taken as it is).
type decoder struct {
	refs     references
	file     string
	at       map[string]yamlnode.Place // of each key that was written, by its path
	anchors  map[string]ast.Node
	problems []run.Problem
}

// parse reads text into v, a pointer to a struct.
func (d *decoder) parse(text []byte, v any) {
	parsed, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		d.syntax(err)
		return
	}
	var body ast.Node
	for _, doc := range parsed.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			d.report("", doc.Body, "a second YAML document begins here", "keep everything in one document")
			return
		}
		body = doc.Body
	}
	if body == nil {
		return
	}
	d.structure("", reflect.ValueOf(v).Elem(), body, 0)
}

func (d *decoder) syntax(err error) {
	p := run.Problem{File: d.file, Message: "is not valid YAML: " + err.Error()}
	if e, ok := errors.AsType[yaml.Error](err); ok {
		p.Message = "is not valid YAML: " + e.GetMessage()
		if tk := e.GetToken(); tk != nil && tk.Position != nil {
			p.Line, p.Column = tk.Position.Line, tk.Position.Column
		}
	}
	d.problems = append(d.problems, p)
}

func (d *decoder) report(path string, n ast.Node, message, fix string) {
	p := yamlnode.PlaceOf(n)
	d.problems = append(d.problems, run.Problem{File: d.file, Line: p.Line, Column: p.Column, Key: path, Message: message, Fix: fix})
}

// value lays one node over v, whose field has the given tag.
func (d *decoder) value(path string, v reflect.Value, n ast.Node, tag reflect.StructTag, depth int) {
	if n = d.resolve(path, n); n == nil || depth > deepest {
		if n != nil {
			d.report(path, n, fmt.Sprintf("is nested more than %d deep", deepest), "look for an alias that contains itself")
		}
		return
	}
	d.at[path] = yamlnode.PlaceOf(n)
	if _, ok := n.(*ast.NullNode); ok {
		d.nothing(path, n, tag)
		return
	}
	switch v.Interface().(type) {
	case Secret, time.Duration:
		d.scalar(path, v, n, tag)
		return
	}
	if _, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		d.scalar(path, v, n, tag)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(path, v, n, depth+1)
	case reflect.Slice:
		d.list(path, v, n, tag, depth+1)
	case reflect.Map:
		d.mapping(path, v, n, tag, depth+1)
	case reflect.Interface:
		d.free(path, v, n)
	default:
		d.scalar(path, v, n, tag)
	}
}

// nothing judges a key with nothing behind it. A section whose keys are all commented out keeps its defaults. An entry of a list has none: there a
// rule would be left without what it asks for, or be about everything, and somebody who took lines out would not be told.
func (d *decoder) nothing(path string, n ast.Node, tag reflect.StructTag) {
	item := strings.HasSuffix(path, "]") // told by the list
	if (tag.Get("filled") != "" || strings.Contains(path, "].")) && tag.Get("need") == "" && !item {
		d.report(path, n, "is empty", "fill it in, or leave the key out")
	}
}

// free takes whatever stands there, for a field whose shape somebody else defines. References are not resolved in it.
func (d *decoder) free(path string, v reflect.Value, n ast.Node) {
	var out any
	if err := yaml.NodeToValue(n, &out); err != nil {
		d.report(path, n, "cannot be read: "+err.Error(), "")
		return
	}
	if out != nil {
		v.Set(reflect.ValueOf(out))
	}
}

func (d *decoder) structure(path string, v reflect.Value, n ast.Node, depth int) {
	entries, ok := d.entries(path, n)
	if !ok {
		return
	}
	fields := map[string]int{}
	var inline []int
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("yaml")
		switch name {
		case "":
		case ",inline":
			inline = append(inline, i)
		default:
			fields[name] = i
		}
	}
	find := func(name string) (reflect.Value, reflect.StructTag, bool) {
		if i, ok := fields[name]; ok {
			return v.Field(i), v.Type().Field(i).Tag, true
		}
		for _, i := range inline {
			if f, tag, ok := fieldByKey(v.Field(i), name); ok {
				return f, tag, true
			}
		}
		return reflect.Value{}, "", false
	}
	for _, e := range entries {
		f, tag, ok := find(e.key)
		if !ok {
			d.report(join(path, e.key), e.keyNode, "is not a setting", meant.Instead(e.key, keys(v.Type())))
			continue
		}
		d.value(join(path, e.key), f, e.value, tag, depth)
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Tag.Get("need") != "" && v.Field(i).IsZero() && !d.faulty(join(path, f.Tag.Get("yaml"))) {
			d.lacking(join(path, f.Tag.Get("yaml")), n)
		}
	}
}

// lacking reports a key that must be there: at its own place if it was left empty, else at the mapping that should have it.
func (d *decoder) lacking(path string, n ast.Node) {
	p, message := yamlnode.PlaceOf(n), "is missing"
	if at, ok := d.at[path]; ok {
		p, message = at, "is empty"
	}
	d.problems = append(d.problems, run.Problem{File: d.file, Line: p.Line, Column: p.Column, Key: path, Message: message})
}

func (d *decoder) list(path string, v reflect.Value, n ast.Node, tag reflect.StructTag, depth int) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.report(path, n, "is "+yamlnode.Kind(n)+", not a list", "write it in brackets: [ … ]")
		return
	}
	if len(seq.Values) == 0 && tag.Get("filled")+tag.Get("need") != "" {
		d.report(path, n, "is an empty list", "list at least one, or leave the key out")
	}
	out := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, item := range seq.Values {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.value(at, out.Index(i), item, reflect.StructTag(strings.ReplaceAll(string(tag), "need:", "-:")), depth)
		if _, null := item.(*ast.NullNode); null {
			d.report(at, item, "is empty", "remove it or fill it in")
		}
	}
	v.Set(out)
}

func (d *decoder) mapping(path string, v reflect.Value, n ast.Node, tag reflect.StructTag, depth int) {
	entries, ok := d.entries(path, n)
	if !ok {
		return
	}
	out := reflect.MakeMapWithSize(v.Type(), len(entries))
	for _, e := range entries {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(join(path, e.key), item, e.value, tag, depth)
		out.SetMapIndex(reflect.ValueOf(e.key), item)
	}
	v.Set(out)
}

type entry struct {
	key     string
	keyNode ast.Node
	value   ast.Node
}

// entries lists a mapping's keys, those merged with "<<" last and only where not written, and reports duplicates.
func (d *decoder) entries(path string, n ast.Node) ([]entry, bool) {
	if n = d.resolve(path, n); n == nil {
		return nil, false
	}
	m, ok := n.(ast.MapNode)
	if !ok {
		d.report(path, n, "is "+yamlnode.Kind(n)+", not a mapping of keys to values", "write key: value lines below it")
		return nil, false
	}
	var out, merged []entry
	lines := map[string]int{}
	for it := m.MapRange(); it.Next(); {
		key := it.Key()
		if key.IsMergeKey() {
			if more, ok := d.entries(path, it.Value()); ok {
				merged = append(merged, more...)
			}
			continue
		}
		name := key.GetToken().Value
		if first, ok := lines[name]; ok {
			d.report(join(path, name), key, fmt.Sprintf("is written twice, first in line %d", first), "keep one of them")
			continue
		}
		lines[name] = yamlnode.PlaceOf(key).Line
		out = append(out, entry{name, key, it.Value()})
	}
	for _, e := range merged {
		if _, ok := lines[e.key]; !ok {
			lines[e.key] = 0
			out = append(out, e)
		}
	}
	return out, true
}

// resolve follows anchors, aliases and tags to the node that holds the value.
func (d *decoder) resolve(path string, n ast.Node) ast.Node {
	for range deepest {
		switch t := n.(type) {
		case *ast.AnchorNode:
			d.anchors[t.Name.GetToken().Value] = t.Value
			n = t.Value
		case *ast.AliasNode:
			name := t.Value.GetToken().Value
			target, ok := d.anchors[name]
			if !ok {
				d.report(path, n, fmt.Sprintf("alias *%s has no anchor before it", name), fmt.Sprintf("define it above with &%s", name))
				return nil
			}
			n = target
		case *ast.TagNode:
			n = t.Value
		case *ast.MappingKeyNode:
			n = t.Value
		default:
			return n
		}
	}
	return n
}

// scalar reads one text, number or switch.
func (d *decoder) scalar(path string, v reflect.Value, n ast.Node, tag reflect.StructTag) {
	raw, ok := raw(n)
	if !ok {
		d.report(path, n, "is "+yamlnode.Kind(n)+", not "+want(v), "")
		return
	}
	text, faults := d.refs.expand(raw)
	for _, fault := range faults {
		d.report(path, n, fault, "")
	}
	if len(faults) > 0 {
		return
	}
	_, isText := n.(*ast.StringNode)
	_, isBlock := n.(*ast.LiteralNode)
	quoted := (isText || isBlock) && text == raw
	switch p := v.Addr().Interface().(type) {
	case *Secret:
		secret, err := d.refs.secret(text, tag.Get("exact") != "")
		if err != nil {
			d.report(path, n, err.Error(), "")
			return
		}
		if raw != "" && strings.TrimSpace(secret) == "" {
			d.report(path, n, "is empty once its variables are filled in", "set the environment variable that it names, or leave the key out")
			return
		}
		*p = NewSecret(secret)
		return
	case *time.Duration:
		duration, err := readDuration(text)
		if err != nil {
			d.report(path, n, fmt.Sprintf("%q is not a duration", text), "write a number with a unit, as in 30s, 10m, 2h or 90d")
			return
		}
		*p = duration
	case encoding.TextUnmarshaler:
		if err := p.UnmarshalText([]byte(text)); err != nil {
			d.report(path, n, err.Error(), "")
			return
		}
	default:
		if fault := set(v, n, text, quoted); fault != "" {
			d.report(path, n, fault, "")
			return
		}
	}
	d.bounds(path, v, n, tag)
}

// bounds holds v to the tags oneof and least.
func (d *decoder) bounds(path string, v reflect.Value, n ast.Node, tag reflect.StructTag) {
	if words := strings.Fields(tag.Get("oneof")); len(words) > 0 && !slices.Contains(words, v.String()) {
		fix := ""
		if near := meant.Near(v.String(), words); near != "" {
			fix = fmt.Sprintf("did you mean %q?", near)
		}
		d.report(path, n, fmt.Sprintf("is %q, not %s", v.String(), meant.OneOf(words)), fix)
	}
	if least, err := strconv.ParseInt(tag.Get("least"), 10, 64); err == nil && v.CanInt() && v.Int() < least {
		fix := "write 0 or more"
		if least > 0 {
			fix = "write more than 0"
		}
		d.report(path, n, "is too small", fix)
	}
}

// set puts text into a plain Go value; the answer is what is wrong.
func set(v reflect.Value, n ast.Node, text string, quoted bool) string {
	wrong := fmt.Sprintf("is %s, not %s", yamlnode.Kind(n), want(v))
	switch v.Kind() {
	case reflect.String:
		if _, ok := n.(*ast.BoolNode); ok {
			return fmt.Sprintf("is %s, which YAML reads as a switch; put it in quotes", text)
		}
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil || quoted {
			return wrong
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int64:
		i, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil || quoted {
			return wrong
		}
		v.SetInt(i)
	default:
		return wrong
	}
	return ""
}

// faulty says whether a problem was reported at path or below.
func (d *decoder) faulty(path string) bool {
	return slices.ContainsFunc(d.problems, func(p run.Problem) bool {
		rest, ok := strings.CutPrefix(p.Key, path)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// raw returns a scalar as it was written.
func raw(n ast.Node) (string, bool) {
	switch t := n.(type) {
	case *ast.StringNode:
		return t.Value, true
	case *ast.LiteralNode:
		return t.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return t.GetToken().Value, true
	}
	return "", false
}

// want names what a field takes, for people.
func want(v reflect.Value) string {
	switch v.Interface().(type) {
	case time.Duration:
		return "a duration such as 30m"
	case Size:
		return "a size such as 4GiB"
	}
	switch v.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	default:
		return "text"
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// fieldByKey finds the field of a struct that a key names.
func fieldByKey(v reflect.Value, name string) (reflect.Value, reflect.StructTag, bool) {
	for i := range v.NumField() {
		if tag := v.Type().Field(i).Tag; tag.Get("yaml") == name {
			return v.Field(i), tag, true
		}
	}
	return reflect.Value{}, "", false
}

// keys lists the keys a struct takes, inlined ones included.
func keys(t reflect.Type) []string {
	var out []string
	for f := range t.Fields() {
		switch name := f.Tag.Get("yaml"); name {
		case "":
		case ",inline":
			out = append(out, keys(f.Type)...)
		default:
			out = append(out, name)
		}
	}
	return out
}
