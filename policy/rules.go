package policy

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// style is how a rule words its findings.
type style string

// The styles of rules. The last three are those of conftest, so that policies written for it judge as they did.
const (
	styleFinding   style = "finding"
	styleDeny      style = "deny"
	styleViolation style = "violation"
	styleWarn      style = "warn"
)

// decision is one rule document that yields findings.
type decision struct {
	ref   ast.Ref // data.planlatch.baseline.finding
	style style
	name  string // planlatch.baseline.finding, for messages and for findings that carry no rule name
}

// conftestName matches what conftest takes for a rule: deny, deny_public, warn_tags …
var conftestName = regexp.MustCompile(`^(deny|violation|warn)(_[a-zA-Z0-9]+)*$`)

// decisions finds the rules of a set that yield findings, in the order of their names. Functions of such a name are helpers.
func decisions(set string, modules map[string]*ast.Module) ([]decision, []Fault) {
	found := map[string]decision{}
	var faults []Fault
	for _, file := range slices.Sorted(maps.Keys(modules)) {
		module := modules[file]
		for _, rule := range module.Rules {
			head := rule.Head.Ref()
			first, isVar := head[0].Value.(ast.Var)
			how, decides := styleOf(string(first))
			if !isVar || !decides || len(rule.Head.Args) > 0 {
				continue
			}
			if len(head) > 1 {
				faults = append(faults, Fault{
					Set: set, File: file, Line: rule.Location.Row, Column: rule.Location.Col,
					Message: fmt.Sprintf("%s makes an object, which is no list of findings; write `%s contains … if`", head, first),
				})
				continue
			}
			ref := module.Package.Path.Append(ast.StringTerm(string(first)))
			name := strings.TrimPrefix(ref.String(), "data.")
			found[name] = decision{ref: ref, style: how, name: name}
		}
	}
	list := make([]decision, 0, len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		list = append(list, found[name])
	}
	return list, faults
}

func styleOf(name string) (style, bool) {
	if name == string(styleFinding) {
		return styleFinding, true
	}
	if match := conftestName.FindStringSubmatch(name); match != nil {
		return style(match[1]), true
	}
	return "", false
}

// answer is the variable that the query binds.
const answer = "answer"

// query asks for all decisions at once, so that they share what they compute: answer = [[x | x = data.a.deny], …]. The comprehensions
// keep one undefined rule from emptying the rest. It is built from the rules' own references, never from text.
func query(list []decision) ast.Body {
	var items []*ast.Term
	for _, d := range list {
		x := ast.VarTerm("x")
		items = append(items, ast.ArrayComprehensionTerm(x, ast.NewBody(ast.Equality.Expr(x, ast.NewTerm(d.ref)))))
	}
	return ast.NewBody(ast.Equality.Expr(ast.VarTerm(answer), ast.ArrayTerm(items...)))
}
