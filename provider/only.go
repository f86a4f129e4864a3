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
		if strings.ContainsAny(p, `{}\[]`) || strings.Contains(strings.Join(parts, "/"), "**") || deep && last == 0 {
			return nil
		}
		for n, part := range parts {
			if strings.ContainsAny(part, "*?!") {
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
