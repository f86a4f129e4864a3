package config

import (
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
)

// hidden stands for a secret wherever one would be printed.
const hidden = "(secret)"

// Secret is text that does not print, format, log or marshal itself. Only Reveal returns it.
type Secret struct{ text string }

// NewSecret makes a secret of text.
func NewSecret(text string) Secret { return Secret{text: text} }

// Reveal returns the text.
func (s Secret) Reveal() string { return s.text }

// IsZero says whether there is none.
func (s Secret) IsZero() bool { return s.text == "" }

// Equal says whether two secrets have the same text. It is for tests, not for judging what a stranger sent.
func (s Secret) Equal(o Secret) bool { return s.text == o.text }

// String hides the text.
func (s Secret) String() string {
	if s.text == "" {
		return ""
	}
	return hidden
}

// Format hides the text from every verb, %#v and %x included.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalText hides the text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue hides the text.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Size is a number of bytes, written as 4GiB, 64MiB, 500MB or 1024.
type Size int64

var units = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3},
	{"B", 1},
}

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(text []byte) error {
	number, factor := string(text), int64(1)
	for _, u := range units {
		if cut, ok := strings.CutSuffix(number, u.name); ok {
			number, factor = strings.TrimSpace(cut), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/factor {
		return fmt.Errorf("%q is not a size; write a whole number with a unit, as in 4GiB, 512MiB or 64KiB", text)
	}
	*s = Size(n * factor)
	return nil
}

// String writes the size in the largest unit that divides it.
func (s Size) String() string {
	for _, u := range units[:4] {
		if s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText is String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
