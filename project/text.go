package project

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
)

// quote puts a text from somebody else into a message: clipped, and without characters that hide.
func quote(s string) string { return strconv.Quote(clip(s)) }

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
