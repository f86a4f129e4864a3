package policy_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/planlatch/planlatch/policy"
	"github.com/planlatch/planlatch/run"
)

// write puts files, by their path, into a fresh directory.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// hard is a hard set with the given rules in one file.
func hard(t testing.TB, rego string) policy.Set {
	t.Helper()
	return policy.Set{Name: "rules", Source: write(t, map[string]string{"rules.rego": rego}), Level: run.Hard}
}

func load(t testing.TB, sets ...policy.Set) *policy.Engine {
	t.Helper()
	engine, err := policy.Load(t.Context(), sets, policy.Options{})
	if err != nil {
		t.Fatalf("Load() = %v, want no fault", err)
	}
	return engine
}

// plan is a plan with the given resource changes.
func plan(t testing.TB, changes ...any) json.RawMessage {
	t.Helper()
	return marshal(t, map[string]any{"format_version": "1.2", "resource_changes": changes})
}

func marshal(t testing.TB, value any) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

var infra = policy.Target{Host: "github", Repo: "acme/infra", Dir: "prod/database", Workspace: "default"}
