package provider

import (
	"slices"
	"strings"
)

// publicHosts are the registries whose names the patterns of policy leave out.
var publicHosts = []string{"registry.opentofu.org", "registry.terraform.io"}

// nobody is what init may have where it may have nothing: an empty list would mean everything.
const nobody = "nobody.invalid/none/none"

// Only translates allow-lists of policy into what the tools understand, which is stars for whole parts: patterns that say more become wider,
// never narrower. nil: one of them may be anything, so that nothing can be bounded.
func Only(patterns []string) []string {
	only := []string{nobody}
	for _, p := range patterns {
		parts := strings.Split(p, "/")
		last := len(parts) - 1
		deep := parts[last] == "**"
		if deep {
			parts[last] = "*"
		}
		if deep && last == 0 || slices.ContainsFunc(parts, acrossParts) {
			return nil
		}
		for n, part := range parts {
			if strings.ContainsAny(part, "*?!{[") {
				parts[n] = "*"
			}
		}
		if deep && last == 1 { // a namespace, or a host and all of its namespaces
			only = append(only, address(parts[0], "*", "*"))
		}
		switch len(parts) {
		case 2:
			for _, host := range publicHosts {
				only = append(only, address(host, parts[0], parts[1]))
			}
		case 3:
			only = append(only, address(parts[0], parts[1], parts[2]))
		}
	}
	slices.Sort(only)
	return slices.DeleteFunc(slices.Compact(only), func(a string) bool { return !plainAddress(strings.ReplaceAll(a, "*", "")) })
}

// acrossParts says whether a part of a pattern is only a piece of something that holds slashes.
func acrossParts(part string) bool {
	return strings.Contains(part, "**") || strings.Contains(part, `\`) || strings.Count(part, "{") != strings.Count(part, "}") ||
		strings.Count(part, "[") != strings.Count(part, "]")
}

// Both is what is allowed by two lists, each as Only returns them.
func Both(a, b []string) []string {
	if a == nil || b == nil {
		return slices.Concat(a, b)
	}
	only := []string{nobody}
	for _, one := range a {
		for _, other := range b {
			if parts, ok := common(strings.Split(one, "/"), strings.Split(other, "/")); ok {
				only = append(only, strings.Join(parts, "/"))
			}
		}
	}
	slices.Sort(only)
	return slices.Compact(only)
}

func common(a, b []string) (parts []string, ok bool) {
	for n := range min(len(a), len(b)) {
		switch {
		case a[n] == "*":
			parts = append(parts, b[n])
		case b[n] == "*" || a[n] == b[n]:
			parts = append(parts, a[n])
		default:
			return nil, false
		}
	}
	return parts, true
}

// address widens what the tools do not take: a part after a star is one, too.
func address(host, namespace, name string) string {
	if host == "*" {
		namespace = "*"
	}
	if namespace == "*" {
		name = "*"
	}
	return host + "/" + namespace + "/" + name
}

// within says whether an address is one of those that init may have.
func within(only []string, address string) bool {
	return only == nil || slices.ContainsFunc(only, func(pattern string) bool {
		want, have := strings.Split(pattern, "/"), strings.Split(address, "/")
		return len(want) == len(have) && !slices.ContainsFunc([]int{0, 1, 2}, func(n int) bool { return want[n] != "*" && want[n] != have[n] })
	})
}
