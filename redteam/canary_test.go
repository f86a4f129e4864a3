package redteam_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// canary is a secret that lies somewhere and must not be seen elsewhere.
type canary struct {
	Name  string // where it lies, for whoever reads a breach
	Value string
}

// hatch makes a canary that exists nowhere else. Programs of attacks look for the word that all begin with.
func hatch(name string) canary {
	return canary{Name: name, Value: "cnry" + strings.ToLower(rand.Text())}
}

// forms are the ways in which a value may leave, by name.
func (c canary) forms() map[string]string {
	forms := formsOf(c.Value)
	// A part that no way of escaping changes gives the whole away.
	if at := strings.IndexFunc(c.Value, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }); at > 12 {
		for name, form := range formsOf(c.Value[:at]) {
			forms["a part, "+name] = form
		}
	}
	return forms
}

// formsOf has base64 at each alignment, cut to what does not depend on the neighbours.
func formsOf(v string) map[string]string {
	forms := map[string]string{
		"as it is": v, "in hex": hex.EncodeToString([]byte(v)), "in capital hex": strings.ToUpper(hex.EncodeToString([]byte(v))),
		"in a URL": url.QueryEscape(v), "in a path": url.PathEscape(v), "in HTML": html.EscapeString(v), "reversed": reversed(v),
	}
	if text, err := json.Marshal(v); err == nil {
		forms["in JSON"] = strings.Trim(string(text), `"`)
	}
	for shift := range 3 {
		padded := append(make([]byte, shift), v...)
		cut := 8 * shift                       // bits that the neighbour before has a part in
		from, to := (cut+5)/6, len(padded)*8/6 // whole characters of ours
		std := base64.StdEncoding.EncodeToString(padded)[from:to]
		forms[fmt.Sprintf("in base64, shifted by %d", shift)] = std
		forms[fmt.Sprintf("in base64 for URLs, shifted by %d", shift)] = base64.URLEncoding.EncodeToString(padded)[from:to]
	}
	return forms
}

func reversed(s string) string {
	runes := []rune(s)
	slices.Reverse(runes)
	return string(runes)
}

// find tells where a canary is seen: one line per place and form, none when it is nowhere. Line breaks in between hide nothing.
func (c canary) find(places map[string]string) (found []string) {
	forms := c.forms()
	for _, place := range slices.Sorted(maps.Keys(places)) {
		text := places[place]
		joined := strings.NewReplacer("\n", "", "\r", "").Replace(text)
		for _, form := range slices.Sorted(maps.Keys(forms)) {
			if needle := forms[form]; strings.Contains(text, needle) || strings.Contains(joined, needle) {
				found = append(found, fmt.Sprintf("%s, %s, in %s", c.Name, form, place))
				break
			}
		}
	}
	return found
}
