// Package meant guesses which of the words that are known somebody wanted to write, and says so in the words of our errors.
package meant

import (
	"fmt"
	"strings"

	"github.com/agnivade/levenshtein"
)

// longest is how long a word may be that somebody mistyped: what is longer is something else, and takes long to compare.
const longest = 200

// Near is the known word that a typing error could have led away from: one letter in three may be wrong, four at most. It is empty when there is
// none.
func Near(word string, known []string) string {
	if len(word) > longest {
		return ""
	}
	best, distance := "", max(1, min(len(word)/3, 4))+1
	for _, k := range known {
		if len(k) > len(word)+distance || len(word) > len(k)+distance {
			continue
		}
		if d := levenshtein.ComputeDistance(strings.ToLower(word), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	return best
}

// Instead says what to write instead of a word: the nearest of those that are known, else any of them.
func Instead(word string, known []string) string {
	if near := Near(word, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "write " + OneOf(known)
}

// OneOf writes "a, b or c".
func OneOf(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
