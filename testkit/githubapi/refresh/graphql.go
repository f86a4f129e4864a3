package main

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/formatter"
	"github.com/vektah/gqlparser/v2/parser"
)

// fields are what vcs/fakehost can answer of each type; a type without fields here is kept whole, which is for enumerations and scalars.
var fields = map[string][]string{
	"Query":                              {"repository"},
	"Repository":                         {"pullRequest"},
	"PullRequest":                        {"reviewDecision", "baseRef", "commits", "reviewThreads"},
	"Ref":                                {"refUpdateRule", "branchProtectionRule"},
	"RefUpdateRule":                      {"requiredApprovingReviewCount", "requiredStatusCheckContexts", "requiresCodeOwnerReviews", "requiresConversationResolution", "requiresSignatures"},
	"BranchProtectionRule":               {"requiredApprovingReviewCount", "requiredStatusCheckContexts", "requiresCodeOwnerReviews", "requiresConversationResolution", "requiresCommitSignatures", "lockBranch", "requiresDeployments", "requireLastPushApproval"},
	"PullRequestCommitConnection":        {"nodes"},
	"PullRequestCommit":                  {"commit"},
	"Commit":                             {"oid", "statusCheckRollup"},
	"StatusCheckRollup":                  {"contexts"},
	"StatusCheckRollupContextConnection": {"nodes", "pageInfo"},
	"PageInfo":                           {"endCursor", "hasNextPage"},
	"StatusCheckRollupContext":           nil,
	"StatusContext":                      {"context", "state", "isRequired"},
	"CheckRun":                           {"name", "status", "conclusion", "isRequired", "checkSuite"},
	"CheckSuite":                         {"app"},
	"App":                                {"databaseId"},
	"PullRequestReviewThreadConnection":  {"nodes", "pageInfo"},
	"PullRequestReviewThread":            {"isResolved"},
	"PullRequestReviewDecision":          nil, "StatusState": nil, "CheckStatusState": nil, "CheckConclusionState": nil,
	"GitObjectID": nil,
}

// writeGraphQL keeps these fields, with the arguments whose types are kept too, and no prose.
func writeGraphQL(raw []byte) error {
	all, err := parser.ParseSchema(&ast.Source{Name: "schema.graphql", Input: string(raw)})
	if err != nil {
		return fmt.Errorf("read schema: %w", err)
	}
	out := &ast.SchemaDocument{}
	for _, d := range all.Definitions {
		names, keep := fields[d.Name]
		if !keep {
			continue
		}
		kept := &ast.Definition{Kind: d.Kind, Name: d.Name, EnumValues: d.EnumValues, Types: d.Types}
		for _, v := range kept.EnumValues {
			v.Description, v.Directives = "", nil
		}
		for _, name := range names {
			f := d.Fields.ForName(name)
			if f == nil {
				return fmt.Errorf("no field %s.%s", d.Name, name)
			}
			f.Description, f.Directives = "", nil
			f.Arguments = slices.DeleteFunc(f.Arguments, func(a *ast.ArgumentDefinition) bool {
				a.Description = ""
				return !slices.Contains([]string{"Int", "String", "ID", "Boolean"}, a.Type.Name())
			})
			kept.Fields = append(kept.Fields, f)
		}
		out.Definitions = append(out.Definitions, kept)
	}
	if len(out.Definitions) != len(fields) {
		return fmt.Errorf("found %d types of %d", len(out.Definitions), len(fields))
	}
	var b bytes.Buffer
	b.WriteString("# What fakehost answers of GitHub's GraphQL schema, cut from the npm package " + graphqlPackage + " (MIT, see\n" +
		"# testkit/githubapi/testdata/LICENSE-graphql) by go generate ./testkit/githubapi.\n\n")
	formatter.NewFormatter(&b).FormatSchemaDocument(out)
	return write("../../vcs/fakehost/schema.graphql", b.Bytes())
}
