package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

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

// compileFaults words why modules did not compile. Where a line names a built-in function that policies may not use, the fault says so
// instead of what the compiler makes of a name it has never heard of.
func compileFaults(set string, modules map[string]*ast.Module, errs ast.Errors) []Fault {
	type line struct {
		file string
		row  int
	}
	var faults []Fault
	explained := map[line]bool{}
	for _, use := range withheldUses(modules) {
		at := line{use.Location.File, use.Location.Row}
		if explained[at] {
			continue
		}
		explained[at] = true
		message := fmt.Sprintf("%s is not available to policies: a verdict may depend on the plan, its context and the set's data alone", use.name)
		if use.name == "time.now_ns" {
			message += "; read input.planlatch.time"
		}
		faults = append(faults, Fault{Set: set, File: at.file, Line: at.row, Column: use.Location.Col, Message: message})
	}
	for _, f := range faultsOf(set, "", errs) {
		if !explained[line{f.File, f.Line}] {
			faults = append(faults, f)
		}
	}
	slices.SortStableFunc(faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return faults
}

// use is a place that names a built-in function.
type use struct {
	*ast.Location
	name string
}

// withheldUses finds where modules name built-in functions that capabilities leaves out. It only words errors: names that a module
// imports or defines itself may look the same.
func withheldUses(modules map[string]*ast.Module) []use {
	withheld := map[string]bool{}
	for _, b := range ast.CapabilitiesForThisVersion().Builtins {
		if b.IsNondeterministic() {
			withheld[b.Name] = true
		}
	}
	var uses []use
	for _, file := range slices.Sorted(maps.Keys(modules)) {
		ast.WalkTerms(modules[file], func(term *ast.Term) bool {
			ref, ok := term.Value.(ast.Ref)
			if ok && term.Location != nil && withheld[ref.String()] {
				uses = append(uses, use{term.Location, ref.String()})
			}
			return false
		})
	}
	return uses
}
