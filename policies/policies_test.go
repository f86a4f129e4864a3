package policies_test

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/format"

	"github.com/planlatch/planlatch/policies"
	"github.com/planlatch/planlatch/policy"
)

var update = flag.Bool("update", false, "format the Rego files")

func TestShippedSetsPassTheirOwnTests(t *testing.T) {
	t.Parallel()
	for _, name := range policies.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			results, err := policy.Test(t.Context(), policy.Set{Name: name, Source: "builtin:" + name}, policy.TestOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if len(results) < 30 {
				t.Errorf("policy.Test(%s) ran %d tests, want at least 30", name, len(results))
			}
			for _, r := range results {
				if !r.Passed {
					t.Errorf("%s:%d: %s did not pass: %s%s\n%s", r.File, r.Line, r.Name, r.FailedAt, r.Error, r.Output)
				}
			}
		})
	}
}

func TestShippedRegoIsFormatted(t *testing.T) {
	t.Parallel()
	for _, name := range policies.Names() {
		err := filepath.WalkDir(name, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".rego") {
				return err
			}
			got, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			want, err := format.Source(path, got)
			if err != nil {
				return err
			}
			if string(got) == string(want) {
				return nil
			}
			if *update {
				return os.WriteFile(path, want, 0o644)
			}
			t.Errorf("%s is not formatted; run: go test ./policies -update", path)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpenRefusesAnUnknownSet(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "nothing", "../policies", "baseline/.."} {
		if _, ok := policies.Open(name); ok {
			t.Errorf("Open(%q) = true, want false", name)
		}
	}
}
