package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/selector"
)

func TestModuleCredentialsBelongToProjects(t *testing.T) {
	t.Parallel()
	c := mustParse(t, host+`
module_credentials:
  - {name: modules, url: "https://git.example.com/acme/", token: geheim, projects: ["//prod/**"]}
  - {name: one, url: "https://git.example.com/acme/mod.git", username: bot, token: geheim, instead_of: [], projects: ["//prod/**"]}
  - {name: files, kind: https, url: "https://git.example.com/acme/", token: geheim, projects: ["//prod/**"]}
  - {name: registry, kind: https, url: "https://git.example.com/api/", header: PRIVATE-TOKEN, token: geheim, projects: ["//prod/**"]}
  - {name: twice, url: "https://git.example.com/acme/", token: geheim, projects: ["//prod/db"]}
`)
	target := func(dir string) selector.Target {
		return selector.Target{Host: "gitea", Repo: "acme/infra", Dir: dir, Workspace: "default"}
	}
	bound, err := c.ModulesFor(target("prod/net"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range bound {
		got = append(got, fmt.Sprint(b.Name, b.Kind, b.URL, b.InsteadOf, b.Header, b.Value.Reveal()))
	}
	want := []string{
		"modulesgithttps://git.example.com/acme/[git@git.example.com:acme/ ssh://git@git.example.com/acme/]AuthorizationBasic eC1hY2Nlc3MtdG9rZW46Z2VoZWlt",
		"onegithttps://git.example.com/acme/mod.git[]AuthorizationBasic Ym90OmdlaGVpbQ==",
		"fileshttpshttps://git.example.com/acme/[]AuthorizationBearer geheim",
		"registryhttpshttps://git.example.com/api/[]PRIVATE-TOKENgeheim",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("ModulesFor(prod/net) =\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if s := fmt.Sprintf("%+v", bound); strings.Contains(s, "geheim") {
		t.Errorf("a bound credential prints itself: %s", s)
	}
	if other, err := c.ModulesFor(target("stage")); err != nil || len(other) != 0 {
		t.Errorf("ModulesFor(stage) = %+v, %v, want nothing", other, err)
	}
	if _, err := c.ModulesFor(target("prod/db")); err == nil || !strings.Contains(err.Error(), "modules and twice are both for") {
		t.Errorf("ModulesFor(prod/db) = %v, want a conflict", err)
	}
}
