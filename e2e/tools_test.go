package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/testkit/pinned"

	"golang.org/x/mod/sumdb/dirhash"
)

// ran returns which tool planned each project, once all of them have ended.
func (w *world) ran(projects int) map[string]string {
	w.t.Helper()
	tools := map[string]string{}
	w.eventually("every project to be planned", func() (string, bool) {
		req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.url+"/api/v1/runs", nil)
		if err != nil {
			w.t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer the-admin-token-of-the-tests")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			w.t.Fatal(err)
		}
		defer res.Body.Close()
		var list struct {
			Runs []struct{ Project, Tool, State string }
		}
		if err := json.NewDecoder(res.Body).Decode(&list); err != nil {
			w.t.Fatal(err)
		}
		ended := 0
		for _, r := range list.Runs {
			if r.State == "planned" || r.State == "failed" {
				ended++
				tools[r.Project] = r.Tool
			}
		}
		return fmt.Sprint(list.Runs), ended == projects
	})
	return tools
}

func TestEachProjectRunsWithItsOwnToolOffline(t *testing.T) {
	t.Parallel()
	w := begin(t, nil, rules{extra: "tools: {download: false}\n"})
	seeded := filepath.Join(w.dir, "data/tools/terraform/1.5.7")
	if err := os.MkdirAll(seeded, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(pinned.Path(t, "terraform"), filepath.Join(seeded, "terraform")); err != nil {
		t.Fatal(err)
	}
	requires := func(name, constraint string) map[string]string {
		return map[string]string{name + "/versions.tf": fmt.Sprintf("terraform {\n  required_version = %q\n}\n", constraint)}
	}
	dotTofu := map[string]string{"dot-tofu/main.tofu": network("dot-tofu", "v1")["dot-tofu/main.tf"]}
	pull, _ := w.propose("tools", merged(
		network("default", "v1"), dotTofu,
		network("terraform-file", "v1"), map[string]string{"terraform-file/.terraform-version": "1.5.7\n"},
		network("tofu-file", "v1"), map[string]string{"tofu-file/.opentofu-version": "1.12.6\n"},
		network("asdf", "v1"), map[string]string{"asdf/.tool-versions": "nodejs 20.1.0\nterraform 1.5.7\n"},
		network("range", "v1"), requires("range", ">= 1.6, < 2.0"),
		network("old-range", "v1"), requires("old-range", "~> 1.5.0"),
		network("nowhere", "v1"), map[string]string{"nowhere/.opentofu-version": "1.99.0\n"},
	))
	got := w.ran(8)
	for project, tool := range map[string]string{
		"default": "tofu 1.12.6", "dot-tofu": "tofu 1.12.6", "terraform-file": "terraform 1.5.7", "tofu-file": "tofu 1.12.6", "asdf": "terraform 1.5.7",
		"range": "tofu 1.12.6", "old-range": "terraform 1.5.7", "nowhere": "",
	} {
		if got[project] != tool {
			t.Errorf("%s was planned with %q, want %q", project, got[project], tool)
		}
	}
	w.shows(pull, "the server has no tofu that fits 1.99.0; it has tofu 1.12.6: ask for one of these, or its operator to install one")
	pull, _ = w.propose("old", merged(network("too-old", "v1"), map[string]string{"too-old/.terraform-version": "1.2.0\n"}))
	w.shows(pull, `version "1.2.0" is not allowed here`, "pin a version that meets")
}

// TestProvidersComeFromNowhereInTheRepository plans and applies with a real provider from a mirror, beside planted ones, in a network that
// reaches nothing.
func TestProvidersComeFromNowhereInTheRepository(t *testing.T) {
	t.Parallel()
	const address, file = "registry.opentofu.org/hashicorp/time", "terraform-provider-time_v0.14.2_x5"
	mirror := t.TempDir()
	at := filepath.Join(address, "0.14.2", "linux_amd64")
	code, err := os.ReadFile(pinned.Path(t, "provider-time"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(mirror, at), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(mirror, at, file), code, 0o755); err != nil {
		t.Fatal(err)
	}
	sum, err := dirhash.HashDir(filepath.Join(mirror, at), "", dirhash.Hash1)
	if err != nil {
		t.Fatal(err)
	}
	w := begin(t, nil, rules{extra: "tools: {provider_mirror: " + mirror + "}\n", requires: "[mergeable]"})
	stamp := func(name string) map[string]string {
		return map[string]string{
			name + "/time.tf": "terraform {\n  required_providers {\n    time = { source = \"hashicorp/time\" }\n  }\n}\nresource \"time_static\" \"now\" {}\n",
		}
	}
	planted := "#!/bin/sh\ntouch STATES/planted\n"
	pull, head := w.propose("time", merged(
		network("locked", "v1"), stamp("locked"),
		map[string]string{"locked/.terraform.lock.hcl": fmt.Sprintf("provider %q {\n  version = \"0.14.2\"\n  hashes = [\n    %q,\n  ]\n}\n", address, sum)},
		network("unlocked", "v1"), stamp("unlocked"),
		map[string]string{
			"locked/terraform.d/plugins/" + at + "/" + file: planted, "unlocked/terraform.d/plugins/" + at + "/" + file: planted,
			"locked/.terraform/providers/" + at + "/" + file: planted, "unlocked/.terraformrc": "plugin_cache_dir = \"terraform.d\"\n",
		},
	))
	w.status(head, "planlatch/plan", "success")
	w.shows(pull, "time_static.now")
	w.tells(w.alice, pull, "planlatch apply")
	w.status(head, "planlatch/apply", "success")
	for _, name := range []string{"locked", "unlocked"} {
		if s := w.state(name); !strings.Contains(s, "rfc3339") {
			t.Errorf("state of %s = %s, want a time", name, s)
		}
	}
	if _, err := os.Stat(filepath.Join(w.states, "planted")); err == nil {
		t.Error("a planted provider ran")
	}
	stored := filepath.Join(w.dir, "data/providers/packages/registry.opentofu.org@hashicorp@time@0.14.2", at, file)
	if got, err := os.ReadFile(stored); err != nil || string(got) != string(code) {
		t.Errorf("the store has another provider than the mirror, or none: %v", err)
	}
}
