package inventory_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/testkit/pinned"

	"github.com/planlatch/planlatch/inventory"
)

// asked is how init says which provider it wants, and which module it fetches.
var asked = regexp.MustCompile(`(?:Finding [^\n]* of|Installing|Downloading) ([^\s]+?)(?:\.\.\.| v| for )`)

// TestInitAsksForNothingThatIsNotListed: the tools decide what they read. Whatever init of either wants to have must be in the inventory.
func TestInitAsksForNothingThatIsNotListed(t *testing.T) {
	t.Parallel()
	const requires = "terraform {\n  required_providers {\n    evil = { source = \"hashicorp/aws\" }\n  }\n}\n"
	tests := map[string]struct {
		files files
		tofu  string // what tofu asks for among others, so that the test shows something
	}{
		"ReplacedFile":      {files{"app/main.tf": requires, "app/main.tofu": "provider \"evil\" {}\n"}, "hashicorp/evil"},
		"ReplacedFileJSON":  {files{"app/x.tf.json": `{"terraform":{"required_providers":{"evil":{"source":"hashicorp/aws"}}}}`, "app/x.tofu.json": `{"provider":{"evil":{}}}`}, "hashicorp/evil"},
		"Override":          {files{"app/main.tf": requires, "app/override.tf": strings.ReplaceAll(requires, "aws", "other")}, "hashicorp/other"},
		"Import":            {files{"app/main.tf": "import {\n  to = evil_thing.x\n  id = \"y\"\n}\n"}, "hashicorp/evil"},
		"ImportInJSON":      {files{"app/main.tf.json": `{"import":[{"to":"evil_thing.x","id":"y"}]}`}, "hashicorp/evil"},
		"ProviderOfATest":   {files{"app/main.tf": "", "app/x.tftest.hcl": "provider \"evil\" {}\n"}, "hashicorp/evil"},
		"ModuleOfATest":     {files{"app/main.tf": "", "app/tests/x.tftest.hcl": "run \"r\" {\n  module {\n    source = \"./m\"\n  }\n}\n", "app/m/x.tf": "provider \"evil\" {}\n"}, "hashicorp/evil"},
		"RemoteInATest":     {files{"app/main.tf": "", "app/tests/x.tofutest.json": `{"run":{"r":{"module":{"source":"git::https://127.0.0.1:1/evil"}}}}`}, "git::https://127.0.0.1:1/evil"},
		"ModuleBehindALink": {files{"app/main.tf": "module \"m\" {\n  source = \"./m\"\n}\n", "app/m": "-> ../far/m", "far/m/x.tf": "module \"n\" {\n  source = \"../n\"\n}\n", "far/n/x.tf": "provider \"evil\" {}\n", "app/n/x.tf": ""}, "hashicorp/evil"},
		"BuiltInElsewhere":  {files{"app/main.tf": "terraform {\n  required_providers {\n    terraform = { source = \"hashicorp/terraform\" }\n  }\n}\n"}, "hashicorp/terraform"},
		"StateBesideChild":  {files{"app/main.tf": "module \"m\" {\n  source = \"./m\"\n}\n", "app/m/x.tf": "terraform {\n  backend \"s3\" {}\n}\n", "app/terraform.tfstate": stateOf("evil.example/evil/evil")}, "evil.example/evil/evil"},
		"StateWithoutS3":    {files{"app/main.tf": "terraform {\n  backend \"s3\" {}\n}\n", "app/main.tofu": "", "app/terraform.tfstate": stateOf("evil.example/evil/evil")}, "evil.example/evil/evil"},
		"MixedCase":         {files{"app/main.tf": "resource \"EVIL_x\" \"y\" {}\n"}, "hashicorp/evil"},
		"ChildWithout":      {files{"app/main.tf": requires + "module \"m\" {\n  source = \"./m\"\n}\n", "app/m/x.tf": "resource \"evil_x\" \"y\" {}\n"}, "hashicorp/evil"},
		"ByteOrderMark":     {files{"app/main.tf": "\ufeffprovider \"evil\" {}\n"}, "hashicorp/evil"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inv := read(tt.files)
			for _, tool := range []string{"tofu", "terraform"} {
				wanted := wantedByInit(t, pinned.Path(t, tool), tt.files)
				if tool == "tofu" && !strings.Contains(strings.Join(wanted, " "), tt.tofu) {
					t.Errorf("init of tofu asks for %q, want %s among it", wanted, tt.tofu)
				}
				for _, w := range wanted {
					if !lists(inv, w) {
						t.Errorf("init of %s asks for %s, which the inventory lacks:\n%s", tool, w, strings.Join(lines(inv), "\n"))
					}
				}
			}
		})
	}
}

func stateOf(provider string) string {
	return `{"version":4,"terraform_version":"1.5.0","serial":1,"lineage":"a","outputs":{},"resources":[{"mode":"managed","type":"x_y","name":"z",` +
		`"provider":"provider[\"` + provider + `\"]","instances":[]}]}`
}

// lists says whether an inventory has a provider or module, or says that it cannot tell.
func lists(inv inventory.Inventory, name string) bool {
	for _, p := range inv.Providers {
		if p.Address == name {
			return true
		}
	}
	for _, m := range inv.Modules {
		if m.Source == name {
			return true
		}
	}
	return len(inv.Unknown) > 0
}

// wantedByInit returns what init asks for where nothing can be had.
func wantedByInit(t *testing.T, program string, repo files) []string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range repo {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, link := strings.CutPrefix(content, "-> "); link {
			err = os.Symlink(target, at)
		} else {
			err = os.WriteFile(at, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(dir, "cli.tfrc")
	if err := os.WriteFile(config, []byte("provider_installation {\n  filesystem_mirror {\n    path = \""+dir+"/none\"\n  }\n}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "init", "-input=false", "-no-color")
	cmd.Dir = filepath.Join(dir, "app")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TF_CLI_CONFIG_FILE=" + config, "CHECKPOINT_DISABLE=1", "GIT_TERMINAL_PROMPT=0"}
	out, _ := cmd.CombinedOutput() // it fails, for nothing can be had
	var wanted []string
	for _, found := range asked.FindAllStringSubmatch(string(out), -1) {
		wanted = append(wanted, found[1])
	}
	return wanted
}
