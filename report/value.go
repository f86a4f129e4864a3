package report

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// value renders a value as the language writes it, on one line, redacted and shortened; null is empty.
func (d *differ) value(v, secret any) string {
	if v == nil {
		return ""
	}
	return shorten(d.whole(v, secret), valueMax)
}

func (d *differ) whole(v, secret any) string {
	var b strings.Builder
	d.render(&b, v, secret)
	return d.redact(b.String())
}

func (d *differ) render(b *strings.Builder, v, secret any) {
	if isTrue(secret) {
		b.WriteString("(sensitive)")
		return
	}
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
	case string:
		b.WriteString(strconv.Quote(d.redact(v)))
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			d.render(b, e, index(secret, i))
		}
		b.WriteByte(']')
	case map[string]any:
		b.WriteByte('{')
		for i, k := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b.WriteString(", ")
			}
			if identifier.MatchString(k) {
				b.WriteString(k)
			} else {
				b.WriteString(strconv.Quote(k))
			}
			b.WriteString(" = ")
			d.render(b, v[k], key(secret, k))
		}
		b.WriteByte('}')
	default:
		fmt.Fprint(b, v)
	}
}

func flat(list []any) bool {
	return !slices.ContainsFunc(list, func(v any) bool {
		switch v.(type) {
		case map[string]any, []any:
			return true
		}
		return false
	})
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

func asMap(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

// key and index look into marks; a mark of the whole is a mark of each part.
func key(marks any, k string) any {
	if isTrue(marks) {
		return true
	}
	return asMap(marks)[k]
}

func index(marks any, i int) any {
	if isTrue(marks) {
		return true
	}
	if list, ok := marks.([]any); ok && i >= 0 && i < len(list) {
		return list[i]
	}
	return nil
}

func isTrue(v any) bool {
	b, ok := v.(bool)
	return ok && b
}

func anyTrue(v any) bool {
	switch v := v.(type) {
	case bool:
		return v
	case map[string]any:
		for _, e := range v {
			if anyTrue(e) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, anyTrue)
	}
	return false
}
