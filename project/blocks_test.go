package project_test

import (
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/planlatch/planlatch/project"
)

func TestBlocksAreWrittenAsTheToolsReadThem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ address, id, want string }{
		{"aws_s3_bucket.a", "my-bucket", "import {\n  to = aws_s3_bucket.a\n  id = \"my-bucket\"\n}\n"},
		{`module.a["x y"].aws_instance.web[0]`, "i-1", "import {\n  to = module.a[\"x y\"].aws_instance.web[0]\n  id = \"i-1\"\n}\n"},
		{`aws_x.y["${z}\"]"]`, "${file(\"/etc/passwd\")}\"\n%{ for }", "import {\n  to = aws_x.y[\"$${z}\\\"]\"]\n  id = \"$${file(\\\"/etc/passwd\\\")}\\\"\\n%%{ for }\"\n}\n"},
	} {
		got, err := project.ImportBlock(c.address, c.id)
		if c.address == `aws_x.y["${z}\"]"]` {
			if err == nil {
				t.Errorf("ImportBlock(%s) = %s, want a refusal of the template", c.address, got)
			}
			got, err = project.ImportBlock(`aws_x.y["$${z}\"]"]`, c.id)
		}
		if err != nil || got != c.want {
			t.Errorf("ImportBlock(%s, %s) = %q, %v, want %q", c.address, c.id, got, err, c.want)
		}
	}
	for address, want := range map[string]string{
		"aws_s3_bucket.a":          "removed {\n  from = aws_s3_bucket.a\n\n  lifecycle {\n    destroy = false\n  }\n}\n",
		"module.a.module.b":        "removed {\n  from = module.a.module.b\n\n  lifecycle {\n    destroy = false\n  }\n}\n",
		"module.a.aws_s3_bucket.b": "removed {\n  from = module.a.aws_s3_bucket.b\n\n  lifecycle {\n    destroy = false\n  }\n}\n",
	} {
		if got, err := project.RemovedBlock(address); err != nil || got != want {
			t.Errorf("RemovedBlock(%s) = %q, %v, want %q", address, got, err, want)
		}
	}
}

func TestWhatIsNoAddressMakesNoBlock(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"": "no address", "aws_instance": "a type and a name", "aws_instance.a.b": "a type and a name", "aws_instance.a[b]": "single quotes",
		"aws_instance.a[*]": "single quotes", "aws_instance.a[-1]": "no address", "aws_instance.a[1.5]": "whole number", "data.aws_ami.x": "data source",
		"module.a.data.aws_ami.x": "data source", "module": "after module comes its name", "module.a.b": "a type and a name", "a.b\n}": "no address",
		"aws_instance[0].a": "brackets follow a name", `a.b["${x}"]`: "no address", "a.b }\nresource \"x\" \"y\" {": "no address", strings.Repeat("a", 2000) + ".b": "too long",
	} {
		if got, err := project.ImportBlock(address, "x"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ImportBlock(%q) = %q, %v, want an error with %q", address, got, err, want)
		}
		if got, err := project.RemovedBlock(address); err == nil {
			t.Errorf("RemovedBlock(%q) = %q, want an error", address, got)
		}
	}
	for _, refused := range []func() (string, error){
		func() (string, error) { return project.ImportBlock("module.a", "x") },
		func() (string, error) { return project.ImportBlock("aws_instance.a", "") },
		func() (string, error) { return project.RemovedBlock("aws_instance.a[0]") },
		func() (string, error) { return project.RemovedBlock(`module.a["x"].aws_instance.a`) },
	} {
		if got, err := refused(); err == nil {
			t.Errorf("%q, want an error", got)
		}
	}
}

func FuzzBlocks(f *testing.F) {
	f.Add("module.a[\"x\"].aws_instance.web[0]", "i-1")
	f.Add("a.b", "\"\n}\nresource \"null\" \"x\" {")
	f.Add("a.b[\"\\\"]\"]", "${x}")
	f.Fuzz(func(t *testing.T, address, id string) {
		for _, block := range []func() (string, error){
			func() (string, error) { return project.ImportBlock(address, id) }, func() (string, error) { return project.RemovedBlock(address) },
		} {
			text, err := block()
			if err != nil {
				continue
			}
			file, diags := hclsyntax.ParseConfig([]byte(text), "x.tf", hcl.InitialPos)
			if diags.HasErrors() {
				t.Fatalf("the block does not parse: %v\n%s", diags, text)
			}
			if body := file.Body.(*hclsyntax.Body); len(body.Blocks) != 1 || len(body.Attributes) > 0 {
				t.Errorf("more than a block came out of %q, %q:\n%s", address, id, text)
			}
		}
	})
}
