package provider_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/executor/local"
	"github.com/planlatch/planlatch/provider"
)

func TestAnAllowListIsNeverMadeNarrower(t *testing.T) {
	t.Parallel()
	const nobody = "nobody.invalid/none/none"
	both := func(name string) []string {
		return []string{nobody, "registry.opentofu.org/" + name, "registry.terraform.io/" + name}
	}
	for name, tt := range map[string]struct {
		patterns []string
		want     []string
	}{
		"Nothing":        {[]string{}, []string{nobody}},
		"OneProvider":    {[]string{"hashicorp/aws"}, both("hashicorp/aws")},
		"OneNamespace":   {[]string{"hashicorp/*"}, both("hashicorp/*")},
		"SomeNames":      {[]string{"hashicorp/aws*"}, both("hashicorp/*")},
		"AnyNamespace":   {[]string{"*/aws"}, both("*/*")},
		"AHost":          {[]string{"corp.example:8443/acme/*"}, []string{"corp.example:8443/acme/*", nobody}},
		"AHostDeep":      {[]string{"corp.example/**"}, append([]string{"corp.example/*/*"}, both("corp.example/*")...)},
		"Anything":       {[]string{"hashicorp/aws", "**"}, nil},
		"Alternatives":   {[]string{"hashicorp/{aws,google}"}, both("hashicorp/*")},
		"OfWholeNames":   {[]string{"{hashicorp/aws,evil/*}"}, nil},
		"Classes":        {[]string{"hashicorp/[a-z]*"}, both("hashicorp/*")},
		"OfASlash":       {[]string{"hashicorp[/]aws"}, nil},
		"NoProviderEver": {[]string{"aws", "a/b/c/d", ""}, []string{nobody}},
		"NotAnAddress":   {[]string{"hashi\"corp/aws"}, []string{nobody}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, provider.Only(tt.patterns)); diff != "" {
				t.Errorf("Only(%q) (-want +got):\n%s", tt.patterns, diff)
			}
		})
	}
}

func TestTwoAllowListsAllowWhatBothDo(t *testing.T) {
	t.Parallel()
	const nobody = "nobody.invalid/none/none"
	for name, tt := range map[string]struct{ a, b, want []string }{
		"None":           {nil, nil, nil},
		"OnlyOne":        {nil, []string{nobody, "h/a/x"}, []string{nobody, "h/a/x"}},
		"OneIsNarrower":  {[]string{nobody, "h/a/*"}, []string{nobody, "h/a/x", "h/b/x"}, []string{"h/a/x", nobody}},
		"EachIsNarrower": {[]string{"h/*/*", "g/a/x"}, []string{"*/*/*"}, []string{"g/a/x", "h/*/*", nobody}},
		"NothingInBoth":  {[]string{nobody, "h/a/x"}, []string{nobody, "h/a/y"}, []string{nobody}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, provider.Both(tt.a, tt.b)); diff != "" {
				t.Errorf("Both(%q, %q) (-want +got):\n%s", tt.a, tt.b, diff)
			}
			if diff := cmp.Diff(provider.Both(tt.a, tt.b), provider.Both(tt.b, tt.a)); diff != "" {
				t.Errorf("the order matters:\n%s", diff)
			}
		})
	}
}

// TestInitInstallsNothingButWhatIsAllowed: a state names a provider that no code does, and each tool wants it at init.
func TestInitInstallsNothingButWhatIsAllowed(t *testing.T) {
	t.Parallel()
	for tool, host := range hosts {
		for name, tt := range map[string]struct {
			patterns []string
			refused  bool
		}{
			"Listed":    {[]string{"hashicorp/time"}, false},
			"NotListed": {[]string{"hashicorp/aws"}, true},
			"NoneIs":    {[]string{}, true},
		} {
			t.Run(tool+"/"+name, func(t *testing.T) {
				t.Parallel()
				b := setup(t, local.Options{}, nil)
				v, err := b.View(t.Context(), tool, kit.tools[tool], nil, provider.Only(tt.patterns))
				if err != nil {
					t.Fatalf("View() = %v", err)
				}
				dir := t.TempDir()
				state := `{"version":4,"terraform_version":"1.5.0","serial":1,"lineage":"a","outputs":{},"resources":[{"mode":"managed","type":"time_static",` +
					`"name":"z","provider":"provider[\"` + host + `/hashicorp/time\"]","instances":[]}]}`
				for file, text := range map[string]string{"main.tf": "", "terraform.tfstate": state} {
					if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				cmd := exec.CommandContext(t.Context(), kit.tools[tool], "init", "-input=false", "-no-color")
				cmd.Dir = dir
				cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TF_CLI_CONFIG_FILE=" + v.Config, "CHECKPOINT_DISABLE=1"}
				out, err := cmd.CombinedOutput()
				text := strings.Join(strings.Fields(string(out)), " ")
				if refused := err != nil; refused != tt.refused || refused && !strings.Contains(text, "not found in any of the search locations") {
					t.Errorf("init = %v, want it refused: %v\n%s", err, tt.refused, out)
				}
				installed, _ := filepath.Glob(filepath.Join(dir, ".terraform/providers/*/*/*"))
				if tt.refused && len(installed) > 0 {
					t.Errorf("init installed %q", installed)
				}
			})
		}
	}
}
