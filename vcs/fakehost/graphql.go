package fakehost

import (
	_ "embed"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"
)

//go:embed schema.graphql
var schemaText string

var schema = sync.OnceValue(func() *ast.Schema {
	return gqlparser.MustLoadSchema(&ast.Source{Name: "schema.graphql", Input: schemaText})
})

// resolver is a field with arguments.
type resolver func(args map[string]any) any

// forbidden is the value of something that the token may not read: null, with an error beside the data.
type forbidden struct{}

// query is one GraphQL query being answered.
type query struct {
	vars     map[string]any
	problems []object
}

// POST /api/graphql: what schema.graphql has, which is cut from GitHub's own; anything else is refused as GitHub does.
func (s *Server) postQuery(c *call) (int, any, error) {
	var in struct {
		Query     string         `json:"query"`
		Variables map[string]any `json:"variables"`
	}
	if err := c.read(&in); err != nil {
		return 0, nil, err
	}
	doc, problems := gqlparser.LoadQueryWithRules(schema(), in.Query, rules.NewDefaultRules())
	if len(problems) == 0 && len(doc.Operations) != 1 {
		problems = gqlerror.List{gqlerror.Errorf("want one operation")}
	}
	if len(problems) > 0 {
		return http.StatusOK, object{"errors": refusedQuery(problems...)}, nil
	}
	vars, err := validator.VariableValues(schema(), doc.Operations[0], in.Variables)
	if err != nil {
		return http.StatusOK, object{"errors": refusedQuery(gqlerror.WrapIfUnwrapped(err))}, nil
	}
	q := &query{vars: vars}
	answer := object{"data": q.object(doc.Operations[0].SelectionSet, object{"repository": s.queryRepo(c, q)}, nil)}
	if len(q.problems) > 0 {
		answer["errors"] = q.problems
	}
	return http.StatusOK, answer, nil
}

func refusedQuery(problems ...*gqlerror.Error) []object {
	var out []object
	for _, p := range problems {
		out = append(out, object{"message": p.Message, "extensions": object{"code": "undefinedField"}})
	}
	return out
}

func (q *query) refuse(kind, message string, path []any) any {
	q.problems = append(q.problems, object{"type": kind, "path": path, "message": message})
	return nil
}

// object picks the fields that a selection asks for.
func (q *query) object(set ast.SelectionSet, from object, path []any) object {
	out := object{}
	for _, selection := range set {
		switch f := selection.(type) {
		case *ast.InlineFragment:
			if from["__typename"] == f.TypeCondition {
				maps.Copy(out, q.object(f.SelectionSet, from, path))
			}
		case *ast.Field:
			value, known := from[f.Name]
			at := slices.Concat(path, []any{f.Alias})
			if !known {
				out[f.Alias] = q.refuse("INTERNAL", "the fake host has no "+f.Name, at)
				continue
			}
			if call, ok := value.(resolver); ok {
				value = call(f.ArgumentMap(q.vars))
			}
			out[f.Alias] = q.value(f.SelectionSet, value, at)
		}
	}
	return out
}

func (q *query) value(set ast.SelectionSet, v any, path []any) any {
	switch v := v.(type) {
	case forbidden:
		return q.refuse("FORBIDDEN", "Resource not accessible by personal access token", path)
	case object:
		if v == nil {
			return nil
		}
		return q.object(set, v, path)
	case []any:
		out := make([]any, len(v))
		for i, one := range v {
			out[i] = q.value(set, one, slices.Concat(path, []any{i}))
		}
		return out
	}
	return v
}

func (s *Server) queryRepo(c *call, q *query) resolver {
	return func(args map[string]any) any {
		name := fmt.Sprint(args["owner"], "/", args["name"])
		r := s.repos[key(name)]
		if r == nil || s.permission(r, c.user).rank() < Read.rank() {
			return q.refuse("NOT_FOUND", fmt.Sprintf("Could not resolve to a Repository with the name '%s'.", name), []any{"repository"})
		}
		return object{"pullRequest": resolver(func(args map[string]any) any {
			number := integer(args["number"])
			p, err := r.pull(number)
			if err != nil {
				return q.refuse("NOT_FOUND", fmt.Sprintf("Could not resolve to a PullRequest with the number of %d.", number), []any{"repository", "pullRequest"})
			}
			return s.queryPull(c, p)
		})}
	}
}

func (s *Server) queryPull(c *call, p *pull) object {
	threads := []any{}
	for _, resolved := range p.threads {
		threads = append(threads, object{"isResolved": resolved})
	}
	return object{
		"reviewDecision": s.reviewDecision(p), "baseRef": s.queryBase(c, p),
		"reviewThreads": resolver(func(args map[string]any) any { return connection(threads, args) }),
		"commits": resolver(func(map[string]any) any {
			return object{"nodes": []any{object{"commit": object{"oid": p.headSHA, "statusCheckRollup": s.queryRollup(p)}}}}
		}),
	}
}

// reviewDecision is null where nobody asks for reviews.
func (s *Server) reviewDecision(p *pull) any {
	want := p.repo.protected[p.base].Approvals
	approvals, against := s.reviews(p)
	switch {
	case want == 0:
		return nil
	case against:
		return "CHANGES_REQUESTED"
	case approvals < want:
		return "REVIEW_REQUIRED"
	}
	return "APPROVED"
}

// queryBase tells the protection of the base, in one form to administrators and in another to everyone else.
func (s *Server) queryBase(c *call, p *pull) object {
	if s.tip(p.repo, p.base) == "" {
		return nil
	}
	want := p.repo.protected[p.base]
	rule := object{
		"requiredApprovingReviewCount": want.Approvals, "requiredStatusCheckContexts": want.Checks, "requiresCodeOwnerReviews": false,
		"requiresConversationResolution": want.Threads, "requiresSignatures": false, "requiresCommitSignatures": false, "lockBranch": false,
		"requiresDeployments": false, "requireLastPushApproval": false,
	}
	base := object{"refUpdateRule": nil, "branchProtectionRule": nil}
	switch {
	case !want.asked() || want.RuleSet:
	case s.permission(p.repo, c.user) == Admin:
		base["branchProtectionRule"] = rule
	default:
		base["refUpdateRule"] = rule
	}
	return base
}

// queryRollup lists the last result of each context on the head; null if there is none.
func (s *Server) queryRollup(p *pull) any {
	want := p.repo.protected[p.base]
	required := func(name string, app int64) resolver {
		return func(map[string]any) any {
			for _, have := range want.Checks {
				if have == name && (want.Apps[name] == 0 || want.Apps[name] == app) {
					return true
				}
			}
			return false
		}
	}
	var nodes []any
	for _, st := range p.repo.latest(p.headSHA) {
		nodes = append(nodes, object{
			"__typename": "StatusContext", "context": st.Context, "state": strings.ToUpper(st.State), "isRequired": required(st.Context, 0),
		})
	}
	for _, c := range p.repo.runs[p.headSHA] {
		var conclusion any
		if c.Status == "completed" {
			conclusion = strings.ToUpper(c.Conclusion)
		}
		run := object{
			"__typename": "CheckRun", "name": c.Name, "status": strings.ToUpper(c.Status), "conclusion": conclusion,
			"isRequired": required(c.Name, c.App), "checkSuite": object{"app": object{"databaseId": c.App}},
		}
		if s.options.FineGrained {
			nodes = append(nodes, forbidden{})
		} else {
			nodes = append(nodes, run)
		}
	}
	if len(nodes) == 0 {
		return nil
	}
	return object{"contexts": resolver(func(args map[string]any) any { return connection(nodes, args) })}
}

// integer is an argument, which is one kind of number in a query and another among its variables.
func integer(v any) int {
	n, _ := strconv.Atoi(fmt.Sprint(v)) // what is none was refused before
	return n
}

// connection is one page of a list; a cursor is the number of what came before.
func connection(list []any, args map[string]any) object {
	from := 0
	if after, ok := args["after"].(string); ok {
		from, _ = strconv.Atoi(after) // an odd cursor starts at the front
	}
	from = min(max(from, 0), len(list))
	to := min(from+min(max(integer(args["first"]), 1), 100), len(list))
	return object{"nodes": list[from:to], "pageInfo": object{"endCursor": strconv.Itoa(to), "hasNextPage": to < len(list)}}
}
