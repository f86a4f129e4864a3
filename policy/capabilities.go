package policy

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// capabilities is what policies may use: all of OPA but the built-in functions whose result depends on more than their arguments, by
// OPA's own mark. That takes away the network, the environment, the clock, chance, and the JSON schema functions, which fetch what a
// schema refers to. A policy that names one, also as the target or the value of `with`, does not compile.
//
// OPA's list of "unsafe" built-ins would be the wrong tool: `with` replaced a harmless function by a forbidden one behind its back
// (CVE-2022-36085).
func capabilities() *ast.Capabilities {
	caps := ast.CapabilitiesForThisVersion()
	caps.Builtins = slices.DeleteFunc(caps.Builtins, (*ast.Builtin).IsNondeterministic)
	caps.AllowNet = []string{} // not nil, which would allow every host
	return caps
}

// withheld says whether OPA has a built-in function of that name that policies may not use.
func withheld(name string) bool {
	for _, b := range ast.CapabilitiesForThisVersion().Builtins {
		if b.Name == name {
			return b.IsNondeterministic()
		}
	}
	return false
}

// explainError words OPA's error for people. Only the words depend on OPA's text: what is refused is decided by capabilities.
func explainError(err *ast.Error) string {
	name, ok := strings.CutPrefix(err.Message, "undefined function ")
	if !ok || !withheld(name) {
		return err.Message
	}
	message := name + " is not available to policies: a verdict may depend on the plan, its context and the set's data alone"
	if name == "time.now_ns" {
		message += "; read input.planlatch.time"
	}
	return message
}
