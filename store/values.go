package store

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// micros is how a time is kept: microseconds since 1970, 0 for the zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func moment(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// doc is a value kept as JSON text: what is read whole and never queried.
type doc[T any] struct{ V T }

// Value implements driver.Valuer.
func (d doc[T]) Value() (driver.Value, error) {
	b, err := json.Marshal(d.V)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", d.V, err)
	}
	return string(b), nil
}

// Scan implements sql.Scanner.
func (d *doc[T]) Scan(src any) error {
	var b []byte
	switch v := src.(type) {
	case string:
		b = []byte(v)
	case []byte:
		b = v
	default:
		return fmt.Errorf("decode %T: the column holds %T", d.V, src)
	}
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		return fmt.Errorf("decode %T: %w", d.V, err)
	}
	d.V = v
	return nil
}

// limitOf makes 0 the 1,000 that Filter promises.
func limitOf(n int) int64 {
	if n <= 0 {
		return 1000
	}
	return int64(n)
}

// clean makes text that may come from anywhere fit for a database: PostgreSQL takes neither NUL nor what is not UTF-8.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}

// cleaned cleans every string field of a row that is about to be written. Documents need it not: JSON escapes what is odd.
func cleaned[T any](row *T) *T {
	v := reflect.ValueOf(row).Elem()
	for _, f := range v.Fields() {
		if f.Kind() == reflect.String {
			f.SetString(clean(f.String()))
		}
	}
	return row
}
