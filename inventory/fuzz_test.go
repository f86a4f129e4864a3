package inventory_test

import (
	"encoding/json"
	"testing"

	"github.com/planlatch/planlatch/inventory"
)

// Whoever opens a pull request writes these files. Whatever they hold, reading them ends, in bounds, the same way twice.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "[]", "null", "resource \"a\" \"b\" {}", "module \"m\" {\n  source = \"../app\"\n}", "terraform {\n  required_providers {\n    a = {}\n  }\n}",
		`{"terraform":[{"required_providers":[{"a":{"source":"b/c"}}]}]}`, `{"resource":{"a":{"b":{"provisioner":{"local-exec":{}}}}}}`,
		`{"module":{"m":{"source":"./x","providers":{"a":"b.c"}}}}`, "locals {\n  x = \"${file(\"${path.module}/x\")}\"\n}", "check \"x\" {\n  data \"a\" \"b\" {}\n}",
		"removed {\n  provisioner \"x\" {}\n}", "provider \"x\" {\n  exec {}\n}", "terraform {\n  backend \"local\" {\n    path = 1\n  }\n}", `{"//":"x"}`,
		"module \"m\" {\n  source = \"git::https://a/b//c?ref=d\"\n}", "\ufeff", "resource", "a = <<E\nE", `{"data":{"terraform_remote_state":{"x":{"backend":7}}}}`,
	} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, native, form string) {
		repo := files{"app/x.tf": native, "app/x.tf.json": form, "m/x.tf": native, "app/.terraform.lock.hcl": native}
		got, err := json.Marshal(read(repo))
		if err != nil || len(got) > 64<<20 {
			t.Fatalf("Read() is %d bytes of JSON, %v", len(got), err)
		}
		again, err := json.Marshal(inventory.Read(repo.fs(), "app", inventory.Options{}))
		if err != nil || string(got) != string(again) {
			t.Errorf("Read() = %s, then %s, %v; want the same twice", got, again, err)
		}
	})
}
