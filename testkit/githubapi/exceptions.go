package githubapi

import (
	"fmt"

	"github.com/getkin/kin-openapi/openapi3"
)

// nullable are fields that GitHub answers with null, against its own description: schema, path to the field, and when it does.
var nullable = []struct {
	schema string
	path   []string
	reason string
}{
	{"pull-request", []string{"head", "repo"}, "the fork was deleted"},
	{"pull-request-simple", []string{"head", "repo"}, "the fork was deleted"},
}

// correct repairs the description where GitHub itself does not keep to it.
func correct(doc *openapi3.T) {
	for _, n := range nullable {
		at := doc.Components.Schemas[n.schema]
		for _, name := range n.path {
			if at == nil || at.Value == nil {
				panic(fmt.Errorf("no %v in %s of GitHub's description any more (%s)", n.path, n.schema, n.reason))
			}
			at = at.Value.Properties[name]
		}
		free := *at.Value // other users of the same schema stay as they are
		free.Nullable = true
		at.Ref, at.Value = "", &free
	}
}
