package inventory_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/inventory"
	"github.com/planlatch/planlatch/run"
)

func TestEverythingThatCouldRunIsListedWithItsPlace(t *testing.T) {
	t.Parallel()
	inv := read(files{
		"app/main.tf": `terraform {
  backend "s3" {}
  required_providers {
    aws  = { source = "hashicorp/aws", version = "~> 5.0" }
    corp = { source = "registry.corp.example/acme/corp" }
  }
  provider_meta "meta" {}
}
provider "random" {}
resource "aws_instance" "web" {
  provider = aws.west
  provisioner "local-exec" { command = "true" }
}
resource "corp_thing" "x" {}
data "http" "page" { url = "https://example.com" }
ephemeral "vault_secret" "s" {}
module "vpc" {
  source  = "acme/vpc/aws"
  version = "1.2.3"
}
module "shared" { source = "../modules/shared" }
output "o" { value = provider::time::rfc3339_parse("x") }
`,
		"modules/shared/main.tf": "data \"external\" \"x\" {\n  program = [\"sh\"]\n}\n",
	})
	got := lines(inv)
	want := []string{
		"app/main.tf:4 provider aws hashicorp/aws",
		"app/main.tf:5 provider corp registry.corp.example/acme/corp",
		"app/main.tf:7 provider meta hashicorp/meta",
		"app/main.tf:9 provider random hashicorp/random",
		"app/main.tf:15 provider http hashicorp/http",
		"app/main.tf:16 provider vault hashicorp/vault",
		"app/main.tf:22 provider time hashicorp/time",
		"modules/shared/main.tf:1 provider external hashicorp/external",
		"app/main.tf:18 module vpc registry acme/vpc/aws",
		"app/main.tf:21 module shared local modules/shared",
	}
	if diff := cmp.Diff(want, got[:len(want)]); diff != "" {
		t.Errorf("Read() (-want +got):\n%s", diff)
	}
	wants(t, inv, "app/main.tf:10 resource aws_instance.web", "app/main.tf:14 resource corp_thing.x", "app/main.tf:15 data http.page",
		"modules/shared/main.tf:1 data external.x", "app/main.tf:16 ephemeral vault_secret.s", "app/main.tf:12 provisioner local-exec on aws_instance.web",
		"modules/shared/main.tf:1 external data.external.x", "app/main.tf:2 backend s3")
	if len(inv.Unknown) > 0 {
		t.Errorf("Read().Unknown = %v, want none", inv.Unknown)
	}
	if !inv.Modules[0].Pinned {
		t.Errorf("Read().Modules[0] = %+v, want it pinned", inv.Modules[0])
	}
}

func TestNothingIsOverlookedWhereverItHides(t *testing.T) {
	t.Parallel()
	const program = "data \"external\" \"x\" {\n  program = [\"sh\"]\n}\n"
	const found = "external data.external.x"
	tests := map[string]struct {
		files files
		want  string
	}{
		"JSON":                      {files{"app/x.tf.json": `{"data":{"external":{"x":{"program":["sh"]}}}}`}, "app/x.tf.json:1 " + found},
		"JSON with lists of blocks": {files{"app/x.tf.json": `[{"data":[{"external":[{"x":[{"program":["sh"]}]}]}]}]`}, "app/x.tf.json:1 " + found},
		"Override":                  {files{"app/main.tf": "", "app/override.tf": program}, "app/override.tf:1 " + found},
		"NamedOverride":             {files{"app/main.tf": "", "app/x_override.tf": program}, "app/x_override.tf:1 " + found},
		"OverrideInJSON":            {files{"app/x_override.tf.json": `{"data":{"external":{"x":{}}}}`}, "app/x_override.tf.json:1 " + found},
		"OpenTofuFile":              {files{"app/main.tofu": program}, "app/main.tofu:1 " + found},
		"OpenTofuFileInJSON":        {files{"app/main.tofu.json": `{"data":{"external":{"x":{}}}}`}, "app/main.tofu.json:1 " + found},
		"BehindAFileForTheOther":    {files{"app/main.tf": program, "app/main.tofu": ""}, "app/main.tf:1 " + found},
		"NameLikeAnEditorsBackup":   {files{"app/#x.tf": program}, "app/#x.tf:1 " + found},
		"SymlinkedFile":             {files{"app/x.tf": "-> ../other/x.txt", "other/x.txt": program}, "app/x.tf:1 " + found},
		"LocalModule":               {files{"app/x.tf": `module "m" { source = "../m" }`, "m/x.tf": program}, "m/x.tf:1 " + found},
		"ModuleOfAModule": {
			files{"app/x.tf": `module "m" { source = "../m" }`, "m/x.tf": `module "n" { source = "./n" }`, "m/n/x.tf": program}, "m/n/x.tf:1 " + found,
		},
		"SymlinkedModule":         {files{"app/x.tf": `module "m" { source = "./m" }`, "app/m": "-> ../far/m", "far/m/x.tf": program}, "far/m/x.tf:1 " + found},
		"ModuleBehindASymlink":    {files{"app/x.tf": `module "m" { source = "../l/m" }`, "l": "-> far", "far/m/x.tf": program}, "far/m/x.tf:1 " + found},
		"ModuleWhereNobodyLooks":  {files{"app/x.tf": `module "m" { source = "../node_modules/m" }`, "node_modules/m/x.tf": program}, "node_modules/m/x.tf:1 " + found},
		"ModuleInAHiddenDir":      {files{"app/x.tf": `module "m" { source = "../.m" }`, ".m/x.tf": program}, ".m/x.tf:1 " + found},
		"ModuleWithBackslashes":   {files{"app/x.tf": `module "m" { source = "..\\m" }`, "m/x.tf": program}, "m/x.tf:1 " + found},
		"ModuleSourceWithEscapes": {files{"app/x.tf": `module "m" { source = "\u002e./m" }`, "m/x.tf": program}, "m/x.tf:1 " + found},
		"ModuleSourceInHeredoc":   {files{"app/x.tf": "module \"m\" {\n  source = <<E\n../m\nE\n}\n", "m/x.tf": program}, "m\n:0 unknown: "},
		"WindowsLines":            {files{"app/x.tf": strings.ReplaceAll(program, "\n", "\r\n")}, "app/x.tf:1 " + found},
		"ByteOrderMark":           {files{"app/x.tf": "\ufeff" + program}, "app/x.tf:1 " + found},
		"Check":                   {files{"app/x.tf": "check \"c\" {\n  data \"external\" \"x\" {\n  }\n}\n"}, "app/x.tf:2 " + found},
		"CheckInJSON":             {files{"app/x.tf.json": `{"check":{"c":{"data":{"external":{"x":{}}}}}}`}, "app/x.tf.json:1 " + found},
		"ProvisionerInRemoved":    {files{"app/x.tf": "removed {\n  from = a.b\n  provisioner \"local-exec\" {\n  }\n}\n"}, "app/x.tf:3 provisioner local-exec on removed"},
		"ProvisionerInJSON":       {files{"app/x.tf.json": `{"resource":{"terraform_data":{"x":{"provisioner":[{"local-exec":{"command":"sh"}}]}}}}`}, "app/x.tf.json:1 provisioner local-exec on terraform_data.x"},
		"ProvisionerOfData":       {files{"app/x.tf": "resource \"terraform_data\" \"x\" {\n  provisioner \"remote-exec\" {}\n}\n"}, "app/x.tf:2 provisioner remote-exec"},
		"KeyProvider": {
			files{"app/x.tf": "terraform {\n  encryption {\n    key_provider \"external\" \"k\" {\n      command = [\"sh\"]\n    }\n  }\n}\n"}, "app/x.tf:3 external key_provider.external.k",
		},
		"EncryptionMethod": {files{"app/x.tf.json": `{"terraform":{"encryption":{"method":{"external":{"m":{}}}}}}`}, "app/x.tf.json:1 external method.external.m"},
		"ProviderFunction": {files{"app/x.tf": "locals {\n  x = [for a in [1] : \"${provider::evil::run(a)}\"]\n}\n"}, "app/x.tf:2 provider evil hashicorp/evil"},
		"ProviderFunctionInJSON": {
			files{"app/x.tf.json": "{\"locals\":{\n\"x\":\"${provider::evil::run(1)}\"}}"}, "app/x.tf.json:2 provider evil hashicorp/evil",
		},
		"ProviderFunctionInAKey": {files{"app/x.tf.json": `{"locals":{"x":{"${provider::evil::run(1)}":1}}}`}, "app/x.tf.json:1 provider evil hashicorp/evil"},
		"ProviderByAlias":        {files{"app/x.tf": "resource \"aws_x\" \"y\" {\n  provider = evil.alias\n}\n"}, "app/x.tf:1 provider evil hashicorp/evil"},
		"ProviderByQuotedAlias":  {files{"app/x.tf": "resource \"aws_x\" \"y\" {\n  provider = \"evil.alias\"\n}\n"}, "app/x.tf:1 provider evil hashicorp/evil"},
		"ProviderByKey":          {files{"app/x.tf": "resource \"aws_x\" \"y\" {\n  provider = evil.by[each.key]\n}\n"}, "app/x.tf:1 provider evil hashicorp/evil"},
		"ProviderHandedDown":     {files{"app/x.tf": "module \"m\" {\n  source = \"a/b/c\"\n  providers = { aws = evil.x }\n}\n"}, "app/x.tf:3 provider evil hashicorp/evil"},
		"ProviderRenamed":        {files{"app/x.tf": "terraform {\n  required_providers {\n    aws = { source = \"Evil/AWS\" }\n  }\n}\n"}, "app/x.tf:3 provider aws evil/aws"},
		"ProviderOfOld":          {files{"app/x.tf": "terraform {\n  required_providers {\n    evil = \"~> 1\"\n  }\n}\n"}, "app/x.tf:3 provider evil hashicorp/evil"},
		"ProviderInJSON":         {files{"app/x.tf.json": `{"terraform":{"required_providers":{"aws":{"source":"evil/aws"}}}}`}, "app/x.tf.json:1 provider aws evil/aws"},
		"ProviderOfTheLockFile":  {files{"app/x.tf": "", "app/.terraform.lock.hcl": "provider \"registry.opentofu.org/evil/aws\" {\n  version = \"1.0.0\"\n}\n"}, "app/.terraform.lock.hcl:1 provider aws evil/aws"},
		"ProgramOfAProvider":     {files{"app/x.tf": "provider \"kubernetes\" {\n  exec {\n    command = \"sh\"\n  }\n}\n"}, "app/x.tf:2 external provider.kubernetes"},
		"ProgramInAnObject":      {files{"app/x.tf": "provider \"helm\" {\n  kubernetes = {\n    exec = { command = \"sh\" }\n  }\n}\n"}, "app/x.tf:3 external provider.helm"},
		"ProgramInJSON":          {files{"app/x.tf.json": `{"provider":{"kubernetes":[{"exec":{"command":"sh"}}]}}`}, "app/x.tf.json:1 external provider.kubernetes"},
		"DynamicProgram":         {files{"app/x.tf": "provider \"kubernetes\" {\n  dynamic \"exec\" {\n  }\n}\n"}, "app/x.tf:2 external provider.kubernetes"},
		"Action":                 {files{"app/x.tf": "action \"local_command\" \"x\" {}\n"}, "app/x.tf:1 action local_command.x"},
		"StateOfAnother":         {files{"app/x.tf": "data \"terraform_remote_state\" \"x\" {\n  backend = \"http\"\n}\n"}, "app/x.tf:1 data terraform_remote_state.x"},
		"StateStore":             {files{"app/x.tf": "terraform {\n  state_store \"evil_store\" \"x\" {\n  }\n}\n"}, "app/x.tf:"},
		"FileOfTheMachine":       {files{"app/x.tf": "locals {\n  x = file(\"/proc/self/environ\")\n}\n"}, `app/x.tf:2 file file "/proc/self/environ" outside=true`},
		"FileAboveTheRepository": {files{"app/x.tf": "locals {\n  x = templatefile(\"${path.module}/../../x\", {})\n}\n"}, `app/x.tf:2 file templatefile "/../../x" outside=true`},
		"FileOfAVariable":        {files{"app/x.tf": "locals {\n  x = core::file(var.x)\n}\n"}, `app/x.tf:2 file file "" outside=false`},
		"RequiredInAFileThatIsReplaced": {
			files{"app/main.tf": "terraform {\n  required_providers {\n    evil = { source = \"hashicorp/aws\" }\n  }\n}\n", "app/main.tofu": "provider \"evil\" {}\n"},
			"app/main.tofu:1 provider evil hashicorp/evil",
		},
		"RequiredForTheOtherTool": {
			files{"app/a.tofu": "terraform {\n  required_providers {\n    evil = { source = \"hashicorp/aws\" }\n  }\n}\n", "app/b.tf": "provider \"evil\" {}\n"},
			"app/b.tf:1 provider evil hashicorp/evil",
		},
		"Import":            {files{"app/x.tf": "import {\n  to = evil_thing.x\n  id = 1\n}\n"}, "app/x.tf:1 provider evil hashicorp/evil"},
		"ImportIntoAModule": {files{"app/x.tf": "import {\n  to = module.m[\"a\"].evil_thing.x[each.key]\n}\n"}, "app/x.tf:1 provider evil hashicorp/evil"},
		"ImportInJSON":      {files{"app/x.tf.json": `{"import":{"to":"evil_thing.x","id":"1"}}`}, "app/x.tf.json:1 provider evil hashicorp/evil"},
		"ModuleOfATest": {
			files{"app/x.tf": "", "app/tests/x.tftest.hcl": "run \"r\" {\n  module {\n    source = \"git::https://evil.example/m\"\n  }\n}\n"},
			"app/tests/x.tftest.hcl:3 module r git git::evil.example/m",
		},
		"ModuleOfATestInJSON": {
			files{"app/x.tf": "", "app/x.tofutest.json": `{"run":{"r":{"module":{"source":"evil/m/x"}}}}`}, "app/x.tofutest.json:1 module r registry evil/m/x",
		},
		"LocalModuleOfATest": {
			files{"app/x.tf": "", "app/tests/x.tofutest.hcl": "run \"r\" {\n  module {\n    source = \"./m\"\n  }\n}\n", "app/m/x.tf": program}, "app/m/x.tf:1 " + found,
		},
		"ProviderOfATest":  {files{"app/x.tf": "", "app/x.tftest.hcl": "provider \"evil\" {}\n"}, "app/x.tftest.hcl:1 provider evil hashicorp/evil"},
		"ProviderOfAQuery": {files{"app/x.tf": "", "app/x.tfquery.hcl": "list \"evil_x\" \"y\" {\n}\n"}, "app/x.tfquery.hcl:1 provider evil hashicorp/evil"},
		"TestsBehindALink": {files{"app/x.tf": "", "app/tests": "-> ../t", "t/x.tftest.hcl": "provider \"evil\" {}\n"}, "t/x.tftest.hcl:1 provider evil hashicorp/evil"},
		"SourceOfTheBuiltIn": {
			files{"app/x.tf": "terraform {\n  required_providers {\n    terraform = { source = \"hashicorp/terraform\" }\n  }\n}\n"},
			"app/x.tf:3 provider terraform hashicorp/terraform",
		},
		"ProgramOfABackend":         {files{"app/x.tf": "terraform {\n  backend \"kubernetes\" {\n    exec {\n    }\n  }\n}\n"}, "app/x.tf:3 external backend.kubernetes"},
		"ProgramInAFileOfABackend":  {files{"app/x.tf": "terraform {\n  backend \"s3\" {\n    shared_config_files = [\"./x\"]\n  }\n}\n"}, "app/x.tf:3 external backend.s3 (shared_config_files)"},
		"ProgramInAFileOfAProvider": {files{"app/x.tf": "provider \"kubernetes\" {\n  config_path = \"./x\"\n}\n"}, "app/x.tf:2 external provider.kubernetes (config_path)"},
		"ProgramOfABackendInJSON":   {files{"app/x.tf.json": `{"terraform":{"backend":{"kubernetes":{"exec":{}}}}}`}, "app/x.tf.json:1 external backend"},
		"ProgramOfARemoteState": {
			files{"app/x.tf": "data \"terraform_remote_state\" \"x\" {\n  backend = \"kubernetes\"\n  config = {\n    exec = {}\n  }\n}\n"}, "app/x.tf:4 external data.terraform_remote_state.x",
		},
		"TemplateThatReads": {
			files{"app/x.tf": "locals {\n  x = templatefile(\"${path.module}/x.tpl\", {})\n}\n", "app/x.tpl": "${file(\"/proc/self/environ\")}"},
			`app/x.tpl:0 file file "/proc/self/environ" outside=true`,
		},
		"TemplateOfAString": {files{"app/x.tf": "locals {\n  x = templatestring(local.y, {})\n}\n"}, `app/x.tf:2 file templatestring "" outside=false`},
		"PatternThatGoesUp": {files{"app/x.tf": "locals {\n  x = fileset(path.module, \"../../*\")\n}\n"}, `app/x.tf:2 file fileset "../../*" outside=true`},
		"FileOfTheHome":     {files{"app/x.tf.json": `{"locals":{"x":"${pathexpand(\"~/.aws\")}"}}`}, `app/x.tf.json:1 file pathexpand "~/.aws" outside=true`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wants(t, read(tt.files), tt.want)
		})
	}
}

func TestWhatCannotBeUnderstoodIsSaid(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		files files
		want  string
	}{
		"SourceOfAVariable":        {files{"app/x.tf": "module \"m\" {\n  source = var.x\n}\n"}, "app/x.tf:2 unknown: source of a module"},
		"SourceOfATemplate":        {files{"app/x.tf": "module \"m\" {\n  source = \"./${\"x\"}\"\n}\n"}, "app/x.tf:2 unknown: source of a module"},
		"SourceInJSON":             {files{"app/x.tf.json": `{"module":{"m":{"source":"${var.x}"}}}`}, "app/x.tf.json:1 unknown: source of a module"},
		"ModuleWithoutSource":      {files{"app/x.tf": "module \"m\" {}\n"}, "app/x.tf:1 unknown: module \"m\" without a source"},
		"ModuleOutside":            {files{"app/x.tf": "module \"m\" {\n  source = \"../../x\"\n}\n"}, "app/x.tf:2 unknown: module source"},
		"ModuleThroughALink":       {files{"app/x.tf": "module \"m\" {\n  source = \"./m\"\n}\n", "app/m": "-> /etc"}, "app/x.tf:2 unknown: module source"},
		"ModuleThatInitDownloads":  {files{"app/x.tf": "module \"m\" {\n  source = \"./.terraform/modules/x\"\n}\n"}, "app/x.tf:2 unknown: module source"},
		"ModuleThatIsNotThere":     {files{"app/x.tf": "module \"m\" {\n  source = \"./m\"\n}\n"}, "app/m:0 unknown: the directory cannot be read"},
		"FileThroughALink":         {files{"app/x.tf": "-> /etc/passwd"}, "app/x.tf:0 unknown: a symlink that leads outside the repository"},
		"LoopOfLinks":              {files{"app/x.tf": "-> y.tf", "app/y.tf": "-> x.tf"}, "app/x.tf:0 unknown: a symlink that is a loop"},
		"DirectoryAsAFile":         {files{"app/x.tf": "-> ../m", "m/main.txt": ""}, "app/x.tf:0 unknown: it is not a file"},
		"Syntax":                   {files{"app/x.tf": "resource {"}, "app/x.tf:1 unknown: "},
		"ByteOrderMarkInJSON":      {files{"app/x.tf.json": "\ufeff{}"}, "app/x.tf.json:1 unknown: "},
		"NotUTF8":                  {files{"app/x.tf": "locals {\n  x = \"\xff\"\n}\n"}, "app/x.tf:2 unknown: "},
		"UTF16":                    {files{"app/x.tf": "l\x00o\x00c\x00"}, "app/x.tf:1 unknown: "},
		"UnknownBlock":             {files{"app/x.tf": "future \"x\" {}\n"}, "app/x.tf:1 unknown: Unsupported block type"},
		"UnknownBlockInJSON":       {files{"app/x.tf.json": `{"future":{}}`}, "app/x.tf.json:1 unknown: "},
		"UnknownBlockOfTerraform":  {files{"app/x.tf": "terraform {\n  future {}\n}\n"}, "app/x.tf:2 unknown: Unsupported block type"},
		"HomoglyphBlock":           {files{"app/x.tf": "resourсe \"x\" \"y\" {}\n"}, "app/x.tf:1 unknown: Unsupported block type"},
		"TooLarge":                 {files{"app/x.tf": strings.Repeat("# comment\n", 300_000)}, "app/x.tf:0 unknown: it has more than"},
		"TooDeep":                  {files{"app/x.tf": "locals {\n  x = " + strings.Repeat("[", 100_000)}, "app/x.tf:1 unknown: Nested too deeply"},
		"TooDeepInJSON":            {files{"app/x.tf.json": strings.Repeat(`{"a":`, 100_000)}, "app/x.tf.json:1 unknown: Nested too deeply"},
		"ProviderThatIsNotWritten": {files{"app/x.tf": "resource \"a_b\" \"c\" {\n  provider = local.x ? a : b\n}\n"}, "app/x.tf:2 unknown: a provider that is not written out"},
		"RequirementOfAFunction":   {files{"app/x.tf": "terraform {\n  required_providers {\n    a = merge({})\n  }\n}\n"}, "app/x.tf:3 unknown: provider \"a\""},
		"RequirementOfATemplate":   {files{"app/x.tf": "terraform {\n  required_providers {\n    a = { source = \"x/${\"y\"}\" }\n  }\n}\n"}, "app/x.tf:3 unknown: source of provider"},
		"RequirementOfTooMany":     {files{"app/x.tf": "terraform {\n  required_providers {\n    a = { source = \"a/b/c/d\" }\n  }\n}\n"}, "app/x.tf:3 unknown: source of provider"},
		"HomoglyphProvider":        {files{"app/x.tf": "terraform {\n  required_providers {\n    a = { source = \"hashiсorp/aws\" }\n  }\n}\n"}, "app/x.tf:3 unknown: source of provider"},
		"StateInTheRepository":     {files{"app/x.tf": "", "app/terraform.tfstate": "{}"}, "app/terraform.tfstate:0 unknown: a state in the repository"},
		"WorkspacesInTheTree":      {files{"app/x.tf": "", "app/terraform.tfstate.d/a/terraform.tfstate": "{}"}, "app/terraform.tfstate.d:0 unknown: a state in the repository"},
		"StateElsewhereInTheTree":  {files{"app/x.tf": "terraform {\n  backend \"local\" {\n    path = \"../x\"\n  }\n}\n"}, "app/x.tf:3 unknown: path of a local backend"},
		"StateThroughProc":         {files{"app/x.tf": "terraform {\n  backend \"local\" {\n    path = \"/proc/self/cwd/x\"\n  }\n}\n"}, "app/x.tf:3 unknown: path of a local backend"},
		"RemoteStateOfAVariable":   {files{"app/x.tf": "data \"terraform_remote_state\" \"x\" {\n  backend = var.x\n}\n"}, "app/x.tf:1 unknown: terraform_remote_state"},
		"LockFileOutside":          {files{"app/x.tf": "", "app/.terraform.lock.hcl": "-> /etc/x"}, "app/.terraform.lock.hcl:0 unknown: "},
		"LockFileOfNonsense":       {files{"app/x.tf": "", "app/.terraform.lock.hcl": "x = 1\n"}, "app/.terraform.lock.hcl:0 unknown: "},
		"BrokenTemplateInJSON":     {files{"app/x.tf.json": `{"locals":{"x":"${provider::"}}`}, "app/x.tf.json:1 unknown: a text with a template"},
		"LabelsThatLack":           {files{"app/x.tf": "resource \"x\" {}\n"}, "app/x.tf:1 unknown: "},
		"StateWhenAnotherFileIsRead": {
			files{"app/main.tf": "terraform {\n  backend \"s3\" {}\n}\n", "app/main.tofu": "", "app/terraform.tfstate": "{}"}, "app/terraform.tfstate:0 unknown: a state in the repository",
		},
		"StateBesideAModuleWithBackend": {
			files{"app/x.tf": "module \"m\" {\n  source = \"./m\"\n}\n", "app/m/x.tf": "terraform {\n  backend \"s3\" {}\n}\n", "app/terraform.tfstate": "{}"},
			"app/terraform.tfstate:0 unknown: a state in the repository",
		},
		"ImportOfAVariable":      {files{"app/x.tf": "import {\n  to = var.x ? a.b : c.d\n}\n"}, "app/x.tf:2 unknown: an import of what is not written out"},
		"TestsOutside":           {files{"app/x.tf": "", "app/tests": "-> /etc"}, "app/tests:0 unknown: a symlink that leads outside"},
		"UnknownBlockOfATest":    {files{"app/x.tf": "", "app/x.tftest.hcl": "future {}\n"}, "app/x.tftest.hcl:1 unknown: Unsupported block type"},
		"SettingsOfALocal":       {files{"app/x.tf": "provider \"helm\" {\n  kubernetes = local.k\n}\n"}, "app/x.tf:2 unknown: kubernetes of provider.helm"},
		"SettingsOfALocalInJSON": {files{"app/x.tf.json": `{"data":{"terraform_remote_state":{"x":{"backend":"s3","config":"${local.c}"}}}}`}, "app/x.tf.json:1 unknown: settings that"},
		"KeyOfAVariable":         {files{"app/x.tf": "provider \"helm\" {\n  kubernetes = {\n    (var.x) = {}\n  }\n}\n"}, "app/x.tf:2 unknown: kubernetes of provider.helm"},
		"BrokenTemplateFile":     {files{"app/x.tf": "locals {\n  x = templatefile(\"x.tpl\", {})\n}\n", "app/x.tpl": "${"}, "app/x.tpl:0 unknown: a text with a template"},
		"DynamicProvisioner":     {files{"app/x.tf": "resource \"a_b\" \"c\" {\n  dynamic \"provisioner\" {\n  }\n}\n"}, "app/x.tf:2 unknown: "},
		"Directory":              {files{"other/x.tf": ""}, "app:0 unknown: the directory cannot be read"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wants(t, read(tt.files), tt.want)
		})
	}
}

func TestWhatNoToolReadsIsNotListed(t *testing.T) {
	t.Parallel()
	const program = "data \"external\" \"x\" {}\n"
	inv := inventory.Read(files{
		"app/.hidden.tf": program, "app/x.tf~": program, "app/x.tf.bak": program, "app/x.tfmock.hcl": program, "app/tests/sub/x.tftest.hcl": program, "app/sub/x.tf": program, "app/x.tofu": program,
		"app/.terraform/x.tf": program,
	}.fs(), "app", inventory.Options{Terraform: true})
	if got := lines(inv); len(got) > 0 {
		t.Errorf("Read() = %v, want nothing", got)
	}
}

func TestStepsMayCallAnyTool(t *testing.T) {
	t.Parallel()
	steps := run.Steps{BeforeInit: [][]string{{"./gen.sh"}}}
	inv := inventory.Read(files{"app/x.tofu": "data \"external\" \"x\" {}\n"}.fs(), "app", inventory.Options{Terraform: true, Steps: steps})
	wants(t, inv, "app/x.tofu:1 external")
	if diff := cmp.Diff([]inventory.Step{{Key: "before_init", Argv: []string{"./gen.sh"}}}, inv.Steps); diff != "" {
		t.Errorf("Read().Steps (-want +got):\n%s", diff)
	}
}

func TestThereIsAnEndToWhatIsRead(t *testing.T) {
	t.Parallel()
	many := files{}
	for n := range 600 {
		many["m/"+strings.Repeat("x", n+1)+"/x.tf"] = ""
	}
	var calls strings.Builder
	for n := range 600 {
		calls.WriteString("module \"m" + strings.Repeat("x", n+1) + "\" {\n  source = \"../m/" + strings.Repeat("x", n+1) + "\"\n}\n")
	}
	many["app/x.tf"] = calls.String()
	tests := map[string]files{
		"Directories": many,
		"Blocks":      {"app/x.tf": strings.Repeat("locals {}\n", 30_000)},
		"Problems":    {"app/x.tf": strings.Repeat("module \"m\" {}\n", 10_000)},
		"Names":       {"app/x.tf": "resource \"" + strings.Repeat("x", 100_000) + "\" \"y\" {}\n"},
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inv := read(f)
			if len(inv.Unknown) == 0 && name != "Names" {
				t.Errorf("Read().Unknown is empty, want the bound that was reached")
			}
			text, err := json.Marshal(inv)
			if err != nil || len(text) > 1<<20 {
				t.Errorf("Read() is %d bytes of JSON, %v; want less than 1 MiB", len(text), err)
			}
		})
	}
}
