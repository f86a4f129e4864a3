package redact

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strings"
)

// InFile lists what must not be shown of a file with credentials: the file as a whole, whose lines count as those of any secret, and the
// secret values in it, since a program that read the file prints them alone. Values are found in a JSON document and in lines like
// "key: value" and "key = value"; one is secret if its key says so or if it looks like a key itself. The rest (a project, a user, an
// address) stays readable, for it is in every plan.
func InFile(content string) []string {
	out := []string{content}
	add := func(key, value string) {
		if !secretIn(key, value) {
			return
		}
		out = append(out, value)
		if decoded, err := base64.StdEncoding.DecodeString(value); err == nil && strings.HasPrefix(string(decoded), pem) {
			out = append(out, string(decoded))
		}
	}
	var document any
	if json.Unmarshal([]byte(content), &document) == nil {
		leaves("", document, add)
		return out
	}
	for line := range strings.Lines(content) {
		if m := setting.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			add(m[1], strings.Trim(m[2], `"'`))
		}
	}
	return out
}

const pem = "-----BEGIN"

var (
	setting    = regexp.MustCompile(`^(?:- )?["']?([A-Za-z0-9_.-]+)["']?\s*[:=]\s*(.+?),?$`)
	secretKey  = regexp.MustCompile(`(?i)key|secret|token|pass|pwd|credential|auth|private|sas|signature|assertion`)
	looksLike  = regexp.MustCompile(`^[A-Za-z0-9+/=_.~-]{32,}$`)
	withDigit  = regexp.MustCompile(`[0-9]`)
	withLetter = regexp.MustCompile(`[A-Za-z]`)
)

func secretIn(key, value string) bool {
	switch {
	case strings.Contains(value, "://"): // where something is, unless it says who comes
		return strings.Contains(value, "@")
	case strings.HasPrefix(value, pem), secretKey.MatchString(key):
		return true
	}
	return looksLike.MatchString(value) && withDigit.MatchString(value) && withLetter.MatchString(value)
}

// leaves calls f with each text of a JSON document and the key that it stands under.
func leaves(key string, v any, f func(key, value string)) {
	switch v := v.(type) {
	case string:
		f(key, v)
	case []any:
		for _, inner := range v {
			leaves(key, inner, f)
		}
	case map[string]any:
		for k, inner := range v {
			leaves(k, inner, f)
		}
	}
}
