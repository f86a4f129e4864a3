package runner

import (
	"encoding/base64"
	"strings"
)

// lentForms lists what would give away a lent credential, which is the value of a header: the whole, what follows its scheme, and the password
// in a basic one.
func lentForms(values []string) []string {
	var all []string
	for _, v := range values {
		all = append(all, v)
		scheme, text, ok := strings.Cut(v, " ")
		if !ok {
			continue
		}
		all = append(all, text)
		if pair, err := base64.StdEncoding.DecodeString(text); err == nil && scheme == "Basic" {
			_, password, _ := strings.Cut(string(pair), ":")
			all = append(all, password)
		}
	}
	return all
}
