package selector_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/planlatch/planlatch/selector"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	prod := selector.Target{Host: "github", Repo: "acme/infra", Dir: "prod/network", Workspace: "default"}
	root := selector.Target{Host: "gitea", Repo: "Acme/Infra", Dir: ".", Workspace: "prod"}
	nested := selector.Target{Host: "gitlab", Repo: "group/sub/infra", Dir: "a", Workspace: "default"}
	tests := []struct {
		selector string
		target   selector.Target
		want     bool
	}{
		{"//**", prod, true},
		{"//**", root, true},
		{"//", root, true},
		{"//prod/**", prod, true},
		{"//prod/*", prod, true},
		{"//prod", prod, false},
		{"//prod/**", root, false},
		{"//prod/**", selector.Target{Dir: "prod"}, true},
		{"//prod/**", selector.Target{Dir: "production/network"}, false},
		{"//PROD/**", prod, false},
		{"//**/network", prod, true},
		{"//{stage,prod}/**", prod, true},
		{"//.", root, true},
		{"//.", prod, false},
		{"//.:prod", root, true},
		{"//*", root, true},
		{"github/acme/infra", prod, true},
		{"GitHub/ACME/infra", prod, true},
		{"gitea/acme/infra", root, true},
		{"github/acme/infra", root, false},
		{"github/acme/inf", prod, false},
		{"github/acme", prod, true},
		{"github", prod, true},
		{"git*", prod, true},
		{"*", nested, true},
		{"github/acme/infra//prod/**", prod, true},
		{"github/acme/infra-prod//**", prod, false},
		{"*/acme/*//**", root, true},
		{"*//**:prod", root, true},
		{"*//**:prod", prod, false},
		{"//**:default", prod, true},
		{"//:prod", root, true},
		{"//**:pr*", root, true},
		{"//odd:name:", selector.Target{Dir: "odd:name", Workspace: "x"}, true},
		{"//odd:name", selector.Target{Dir: "odd:name", Workspace: "default"}, false},
		{"gitlab/group", nested, true},
		{"gitlab/group/sub", nested, false},
		{"gitlab/group/**", nested, true},
		{"gitlab/group/*/infra", nested, true},
	}
	for _, tt := range tests {
		t.Run(tt.selector, func(t *testing.T) {
			t.Parallel()
			s, err := selector.Parse(tt.selector)
			if err != nil {
				t.Fatalf("Parse(%q) = %v", tt.selector, err)
			}
			if got := s.Match(tt.target); got != tt.want {
				t.Errorf("Parse(%q).Match(%+v) = %v, want %v", tt.selector, tt.target, got, tt.want)
			}
		})
	}
}

func TestParseRefusesWhatCannotBeMeant(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, selector, want string }{
		{"Empty", "", "//** for every project"},
		{"Spaces", " //prod", "begins or ends with a space"},
		{"Negation", "!//prod", "only include"},
		{"URL", "https://github.com/acme/infra", "is a URL"},
		{"WorkspaceOnRepository", "github/acme/infra:prod", "follows the directory"},
		{"LeadingSlash", "///prod", "begins with a slash"},
		{"AbsoluteRepository", "/acme/infra", "begins with a slash"},
		{"TrailingSlash", "//prod/", "//prod/** for it and all below"},
		{"EmptyPart", "//a//b", "empty part"},
		{"Parent", "//../other", `part ".."`},
		{"Here", "//./prod", `part "."`},
		{"OpenBracket", "//prod[", "malformed"},
		{"OpenBrace", "{github,gitea/acme", "malformed"},
		{"Workspace", "//a:b/c", `what follows the last ":"`},
		{"Explosion", "//" + strings.Repeat("{a,aa}", 9), "more than 256 alternatives"},
		{"Control", "//a\nb", "control character"},
		{"NotUTF8", "//\xff", "UTF-8"},
		{"TooLong", "//" + strings.Repeat("a", selector.Longest), "at most 1024"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := selector.Parse(tt.selector)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Parse(%q) = %v, want an error with %q", tt.selector, err, tt.want)
			}
		})
	}
}

func TestZeroSelectorMatchesNothing(t *testing.T) {
	t.Parallel()
	if (selector.Selector{}).Match(selector.Target{}) {
		t.Error("Selector{}.Match(Target{}) = true, want false")
	}
	if (selector.List{}).Match(selector.Target{Dir: "."}) {
		t.Error("List{}.Match(…) = true, want false")
	}
}

func TestTextFormsSurviveARoundTrip(t *testing.T) {
	t.Parallel()
	type doc struct {
		Projects selector.List `json:"projects" yaml:"projects"`
	}
	var fromYAML doc
	if err := yaml.Unmarshal([]byte(`projects: ["//prod/**", github/acme/infra]`), &fromYAML); err != nil {
		t.Fatalf("yaml.Unmarshal() = %v", err)
	}
	text, err := json.Marshal(fromYAML)
	if err != nil {
		t.Fatalf("json.Marshal() = %v", err)
	}
	if got, want := string(text), `{"projects":["//prod/**","github/acme/infra"]}`; got != want {
		t.Errorf("json.Marshal() = %s, want %s", got, want)
	}
	var fromJSON doc
	if err := json.Unmarshal(text, &fromJSON); err != nil {
		t.Fatalf("json.Unmarshal() = %v", err)
	}
	if !fromJSON.Projects.Match(selector.Target{Host: "x", Repo: "y/z", Dir: "prod/a", Workspace: "default"}) {
		t.Error("selector read back from JSON does not match prod/a")
	}
	if err := json.Unmarshal([]byte(`{"projects":["//.."]}`), &fromJSON); err == nil {
		t.Error("json.Unmarshal() of a bad selector = nil, want an error")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"//**", "github/acme/infra//prod/**:default", "*//**:prod", "//{a,b}/[c-d]?", "//**/**/**/**/a", `//\`, "//a:b:c", "{a/b}//x"} {
		f.Add(s, "prod/network", "default")
	}
	f.Fuzz(func(t *testing.T, s, dir, workspace string) {
		sel, err := selector.Parse(s)
		if err != nil {
			return
		}
		target := selector.Target{Host: "github", Repo: "acme/infra", Dir: dir, Workspace: workspace}
		began := time.Now()
		got := sel.Match(target)
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("Parse(%q).Match(%q) took %s", s, dir, took)
		}
		again, err := selector.Parse(sel.String())
		if err != nil {
			t.Fatalf("Parse(%q) of its own text = %v", sel, err)
		}
		if again.Match(target) != got {
			t.Errorf("Parse(%q) twice disagrees about %+v", s, target)
		}
	})
}
