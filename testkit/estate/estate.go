// Package estate is a repository as a grown organisation has it: sixty projects in one tree, for tests of selection and order.
//
// It promises the same files on every call and valid code that plans without any provider. Sixteen stacks in each of three environments, of
// which each region has eight with chains of depends_on; shared modules that use modules; var files; files that are read from afar;
// projects written in .tf, .tofu and .tf.json; directories with two workspaces; a module without state among the projects; examples that are
// ignored. STATES stands for the directory that keeps the states. Only tests import it.
package estate

import (
	"fmt"
	"maps"
	"strings"
)

// Projects is how many projects the repository has.
const Projects = 60

// Environments and Regions are where each of the Stacks stands once.
var (
	Environments = []string{"dev", "staging", "prod"}
	Regions      = []string{"eu", "us"}
	Stacks       = []string{"app", "cache", "cluster", "database", "dns", "monitor", "network", "queue"}
)

// after is what each stack depends on, within its region.
var after = map[string][]string{
	"cache": {"network"}, "cluster": {"network"}, "database": {"network"}, "app": {"cluster", "database", "dns"}, "monitor": {"app"},
}

// Label is the name of a stack's project.
func Label(environment, region, stack string) string {
	return environment + "-" + region + "-" + stack
}

// Files is the repository: paths and contents.
func Files() map[string]string {
	files := map[string]string{
		"README.md":              "Sixty projects.\n",
		"shared/zones.json":      `{"zone": "example.test"}` + "\n",
		"docs/ownership.md":      "Who owns what.\n",
		"planlatch.yaml":         configuration(),
		"tools/ci/main.tf":       keeps("ci") + resource("runners", `"two"`),
		"tools/bastion/main.tf":  "# bastion.tofu is what OpenTofu reads\n",
		"tools/legacy/main.tf":   keeps("legacy") + resource("cron", `"nightly"`),
		"tools/shared/main.tf":   "variable \"team\" {\n  type = string\n}\n" + resource("shared", "var.team"),
		"tools/wiki/main.tf":     keeps("wiki") + resource("wiki", `"pages"`),
		"global/iam/main.tf":     keeps("iam") + uses("label", "../../modules/label", `name = "iam"`),
		"global/org/main.tf":     keeps("org") + resource("org", `"acme"`),
		"global/billing/a.tofu":  keeps("billing") + resource("budget", `"100"`),
		"global/registry/r.json": "[]\n",

		"tools/bastion/bastion.tofu":     keeps("bastion") + resource("host", `"one"`),
		"tools/examples/basic/main.tf":   keeps("never") + resource("example", `"never"`),
		"global/registry/main.tf.json":   written("registry", "../../modules/label"),
		"data/lake/main.tf":              shared("lake"),
		"data/warehouse/main.tf":         shared("warehouse"),
		"data/warehouse/blue.tfvars":     "size = \"small\"\n",
		"data/warehouse/green.tfvars":    "size = \"large\"\n",
		"data/lake/common.auto.tfvars":   "size = \"vast\"\n",
		"modules/unused/main.tf":         "variable \"who\" {}\n",
		"modules/service/templates/unit": "unit of ${name}\n",
	}
	maps.Copy(files, modules())
	for _, environment := range Environments {
		for _, region := range Regions {
			maps.Copy(files, stacks(environment, region))
		}
	}
	return files
}

// configuration is planlatch.yaml: the stacks by name, the rest by globs.
func configuration() string {
	var b strings.Builder
	b.WriteString("version: 1\nprojects:\n")
	for _, environment := range Environments {
		for _, region := range Regions {
			for _, stack := range Stacks {
				fmt.Fprintf(&b, "  - name: %s\n    dir: %s\n", Label(environment, region, stack), Dir(environment, region, stack))
				if stack == "network" || stack == "database" {
					b.WriteString("    var_files: [../region.tfvars]\n")
				}
				var names []string
				for _, before := range after[stack] {
					names = append(names, Label(environment, region, before))
				}
				if len(names) > 0 {
					fmt.Fprintf(&b, "    depends_on: [%s]\n", strings.Join(names, ", "))
				}
			}
		}
	}
	b.WriteString(`  - {name: warehouse-blue, dir: data/warehouse, workspace: blue, var_files: [blue.tfvars]}
  - {name: warehouse-green, dir: data/warehouse, workspace: green, var_files: [green.tfvars], depends_on: [warehouse-blue]}
  - {dir: data/lake, workspaces: [blue, green]}
  - dir: global/*
  - dir: tools/**
discover:
  ignore: ["tools/examples/**"]
`)
	return b.String()
}

// Dir is the directory of a stack.
func Dir(environment, region, stack string) string {
	return "live/" + environment + "/" + region + "/" + stack
}

func stacks(environment, region string) map[string]string {
	files := map[string]string{"live/" + environment + "/" + region + "/region.tfvars": fmt.Sprintf("cidr = %q\n", region)}
	for _, stack := range Stacks {
		label, dir := Label(environment, region, stack), Dir(environment, region, stack)
		name := fmt.Sprintf("name = %q", label)
		const modules = "../../../../modules/"
		switch stack {
		case "app":
			files[dir+"/main.tofu"] = keeps(label) + uses("service", modules+"service", name)
		case "queue":
			files[dir+"/main.tf.json"] = written(label, modules+"label")
		case "dns":
			files[dir+"/main.tf"] = keeps(label) + resource("zone", `jsondecode(file("${path.module}/../../../../shared/zones.json")).zone`)
		case "monitor":
			files[dir+"/main.tf"] = keeps(label) + resource("alerts", `"quiet"`)
		case "cache":
			files[dir+"/main.tf"] = keeps(label) + uses("label", modules+"label", name)
		case "cluster":
			files[dir+"/main.tf"] = keeps(label) + uses("cluster", modules+"cluster", name)
		case "database":
			files[dir+"/main.tf"] = keeps(label) + variable("cidr") + uses("database", modules+"database", name)
		case "network":
			files[dir+"/main.tf"] = keeps(label) + variable("cidr") + uses("vpc", modules+"vpc", name+"\n  cidr = var.cidr")
		}
	}
	return files
}

// modules use each other: cluster → subnets → label, vpc → label, database → label.
func modules() map[string]string {
	label := uses("label", "../label", "name = var.name")
	return map[string]string{
		"modules/label/main.tf":    variable("name") + resource("label", "var.name"),
		"modules/subnets/main.tf":  variable("name") + label,
		"modules/cluster/main.tf":  variable("name") + uses("subnets", "../subnets", "name = var.name") + resource("cluster", "var.name"),
		"modules/vpc/main.tf":      variable("name") + variable("cidr") + label + resource("vpc", "var.cidr"),
		"modules/database/main.tf": variable("name") + label + resource("database", "var.name"),
		"modules/service/main.tf":  variable("name") + resource("unit", `templatefile("${path.module}/templates/unit", { name = var.name })`),
	}
}

func keeps(name string) string {
	return fmt.Sprintf("terraform {\n  backend \"local\" {\n    path = \"STATES/%s.tfstate\"\n  }\n}\n\n", name)
}

// shared is a project of two workspaces.
func shared(name string) string {
	return fmt.Sprintf("terraform {\n  backend \"local\" {\n    path          = \"STATES/%[1]s.tfstate\"\n    workspace_dir = \"STATES/%[1]s\"\n  }\n}\n\n", name) +
		variable("size") + resource("store", `"${terraform.workspace}: ${var.size}"`)
}

func variable(name string) string {
	return fmt.Sprintf("variable %q {\n  type = string\n}\n\n", name)
}

func resource(name, input string) string {
	return fmt.Sprintf("resource \"terraform_data\" %q {\n  input = %s\n}\n\n", name, input)
}

func uses(name, source, arguments string) string {
	return fmt.Sprintf("module %q {\n  source = %q\n\n  %s\n}\n\n", name, source, arguments)
}

// written is a project in JSON.
func written(name, module string) string {
	return fmt.Sprintf(`{
  "terraform": {"backend": {"local": {"path": "STATES/%[1]s.tfstate"}}},
  "module": {"label": {"source": %[2]q, "name": %[1]q}}
}
`, name, module)
}
