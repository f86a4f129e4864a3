package planlatch.sources_test

import data.planlatch.sources

empty := {
	"version": 1, "dir": "app", "providers": [], "modules": [], "resources": [], "data": [], "ephemeral": [], "actions": [],
	"provisioners": [], "external": [], "encryption": [], "backends": [], "files": [], "steps": [], "unknown": [],
}

# found are the rules that find something on a source, with what they found it about.
found(source, settings) := {[f.rule, object.get(f, "value", "")] |
	some f in sources.finding with input as {"source": object.union(empty, source)} with data.settings as settings
}

provider(address) := {"providers": [{"file": "app/main.tf", "line": 3, "name": "x", "address": address, "version": "", "from": "provider"}]}

call(source, kind, address, pinned, odd) := {"modules": [{
	"file": "app/main.tf", "line": 7, "name": "m", "source": source, "kind": kind, "address": address, "package": split(address, "//")[0],
	"version": "", "ref": "", "pinned": pinned, "odd": odd,
}]}

block(list, type) := {list: [{"file": "app/main.tf", "line": 9, "type": type, "name": "x"}]}

test_nothing_is_found_where_nothing_is if {
	found({}, {"providers": [], "modules": [], "pinned_modules": true, "data": [], "resources": [], "ephemeral": [], "actions": [], "provisioners": [], "backends": [], "encryption": [], "external": false, "outside_files": false, "steps": false}) == set()
}

test_without_settings_only_the_unknown_counts if {
	found(object.union_n([provider("evil/evil"), call("evil/m/x", "registry", "evil/m/x", false, "odd"), block("data", "external"), block("resources", "evil")]), {}) == set()
	found({"unknown": [{"file": "a", "line": 1, "what": "x"}]}, {}) == {["not-understood", "x"]}
}

test_findings_say_where if {
	some f in sources.finding with input as {"source": object.union(empty, provider("evil/evil"))} with data.settings as {"providers": []}
	f.file == "app/main.tf"
	f.line == 3
}

test_an_empty_list_allows_no_provider if {
	found(provider("hashicorp/aws"), {"providers": []}) == {["provider", "hashicorp/aws"]}
}

test_a_listed_provider_is_allowed if {
	found(provider("hashicorp/aws"), {"providers": ["hashicorp/aws"]}) == set()
	found(provider("hashicorp/aws"), {"providers": ["hashicorp/*"]}) == set()
}

test_another_provider_of_the_same_name_is_not if {
	found(provider("evil/aws"), {"providers": ["hashicorp/aws"]}) == {["provider", "evil/aws"]}
	found(provider("evil.example/hashicorp/aws"), {"providers": ["hashicorp/aws", "hashicorp/*", "*/*"]}) == {["provider", "evil.example/hashicorp/aws"]}
	found(provider("hashicorp/awsx"), {"providers": ["hashicorp/aws"]}) == {["provider", "hashicorp/awsx"]}
	found(provider("xhashicorp/aws"), {"providers": ["hashicorp/aws"]}) == {["provider", "xhashicorp/aws"]}
}

test_the_provider_inside_the_tools_needs_no_entry if {
	found(provider("terraform.io/builtin/terraform"), {"providers": []}) == set()
}

test_an_empty_list_allows_no_remote_module if {
	found(call("acme/vpc/aws", "registry", "acme/vpc/aws", true, ""), {"modules": []}) == {["module", "acme/vpc/aws"]}
}

test_a_local_module_needs_no_entry if {
	found(call("./m", "local", "app/m", true, ""), {"modules": [], "pinned_modules": true}) == set()
}

test_a_listed_module_is_allowed if {
	found(call("acme/vpc/aws", "registry", "acme/vpc/aws", true, ""), {"modules": ["acme/*/aws"]}) == set()
	found(call("acme/vpc/aws//sub", "registry", "acme/vpc/aws//sub", true, ""), {"modules": ["acme/*/aws"]}) == set()
	found(call("github.com/acme/vpc", "git", "git::github.com/acme/vpc", true, ""), {"modules": ["git::github.com/acme/**"]}) == set()
	found(call("github.com/acme/vpc//a/b", "git", "git::github.com/acme/vpc//a/b", true, ""), {"modules": ["git::github.com/acme/vpc"]}) == set()
}

test_another_owner_is_not if {
	found(call("x", "git", "git::github.com/acme-evil/vpc", true, ""), {"modules": ["git::github.com/acme/**"]}) == {["module", "x"]}
	found(call("x", "git", "git::evil.example/github.com/acme/vpc", true, ""), {"modules": ["git::github.com/acme/**", "*/*"]}) == {["module", "x"]}
	found(call("x", "http", "https://github.com/acme/vpc", true, ""), {"modules": ["git::github.com/acme/**"]}) == {["module", "x"]}
}

test_an_odd_address_is_refused_though_it_matches if {
	found(call("x", "git", "git::github.com/acme/../evil", true, "it goes back"), {"modules": ["git::github.com/acme/**"]}) == {["module-address", "x"]}
}

test_an_odd_address_is_nobodys_matter_without_a_list if {
	found(call("x", "git", "git::github.com/acme/../evil", true, "it goes back"), {}) == set()
}

test_an_unpinned_module_is_found if {
	found(call("x", "git", "git::github.com/acme/vpc", false, ""), {"pinned_modules": true}) == {["unpinned-module", "x"]}
	found(call("x", "registry", "acme/vpc/aws", false, ""), {"pinned_modules": true}) == {["unpinned-module", "x"]}
	found(call("x", "http", "https://a/b.zip", false, ""), {"pinned_modules": true}) == {["unpinned-module", "x"]}
	found(call("x", "other", "s3::x", false, ""), {"pinned_modules": true}) == {["unpinned-module", "x"]}
}

test_a_pinned_module_is_not if {
	found(call("x", "git", "git::github.com/acme/vpc", true, ""), {"pinned_modules": true}) == set()
}

test_pins_are_not_asked_for_by_themselves if {
	found(call("x", "git", "git::github.com/acme/vpc", false, ""), {"pinned_modules": false}) == set()
}

test_a_data_source_that_is_not_listed_is_found if {
	found(block("data", "http"), {"data": ["aws_*"]}) == {["data-source", "http"]}
}

test_a_listed_data_source_is_allowed if {
	found(block("data", "aws_ami"), {"data": ["aws_*"]}) == set()
}

test_an_empty_list_allows_no_data_source if {
	found(block("data", "aws_ami"), {"data": []}) == {["data-source", "aws_ami"]}
}

test_resources_are_judged if {
	found(block("resources", "null_resource"), {"resources": ["aws_*"]}) == {["resource-type", "null_resource"]}
	found(block("resources", "aws_instance"), {"resources": ["aws_*"]}) == set()
}

test_ephemeral_resources_are_judged if {
	found(block("ephemeral", "vault_secret"), {"ephemeral": []}) == {["ephemeral-type", "vault_secret"]}
}

test_actions_are_judged if {
	found(block("actions", "local_command"), {"actions": []}) == {["action-type", "local_command"]}
}

test_provisioners_are_judged if {
	source := {"provisioners": [{"file": "a", "line": 1, "type": "local-exec", "on": "x.y"}]}
	found(source, {"provisioners": []}) == {["provisioner", "local-exec"]}
	found(source, {"provisioners": ["file"]}) == {["provisioner", "local-exec"]}
	found(source, {"provisioners": ["local-exec"]}) == set()
}

test_external_programs_are_judged if {
	source := {"external": [{"file": "a", "line": 1, "what": "data.external.x"}]}
	found(source, {"external": false}) == {["external-program", "data.external.x"]}
	found(source, {"external": true}) == set()
}

test_backends_are_judged if {
	source := {"backends": [{"file": "a", "line": 1, "type": "http"}]}
	found(source, {"backends": ["s3"]}) == {["backend", "http"]}
	found(source, {"backends": ["s3", "http"]}) == set()
}

test_backends_of_other_states_are_judged if {
	source := {"data": [{"file": "a", "line": 1, "type": "terraform_remote_state", "name": "x", "backend": "http"}]}
	found(source, {"backends": ["s3"]}) == {["backend", "http"]}
	found(source, {"backends": ["http"]}) == set()
}

test_other_data_sources_have_no_backend if {
	found(block("data", "aws_ami"), {"backends": []}) == set()
}

test_encryption_is_judged if {
	source := {"encryption": [{"file": "a", "line": 1, "kind": "key_provider", "type": "external", "name": "x"}]}
	found(source, {"encryption": ["aws_kms"]}) == {["encryption", "external"]}
	found(source, {"encryption": ["external"]}) == set()
}

test_files_outside_are_judged if {
	source := {"files": [{"file": "a", "line": 1, "function": "file", "path": "/etc/x", "outside": true}, {"file": "a", "line": 1, "function": "file", "path": "", "outside": false}]}
	found(source, {"outside_files": false}) == {["outside-file", "/etc/x"], ["outside-file", ""]}
	found(source, {"outside_files": true}) == set()
}

test_steps_are_judged if {
	source := {"steps": [{"key": "before_init", "argv": ["./x.sh", "y"]}]}
	found(source, {"steps": false}) == {["step", ["./x.sh", "y"]]}
	found(source, {"steps": true}) == set()
}

test_a_list_that_is_none_allows_nothing if {
	found(provider("hashicorp/aws"), {"providers": "hashicorp/aws"}) == {["settings", ""], ["provider", "hashicorp/aws"]}
	found(provider("hashicorp/aws"), {"providers": [1]}) == {["settings", ""], ["provider", "hashicorp/aws"]}
	found(provider("hashicorp/aws"), {"providers": ["[", "{a"]}) == {["provider", "hashicorp/aws"]}
}

test_a_switch_that_is_none_is_found if {
	found({}, {"external": "no"}) == {["settings", ""]}
}

test_an_inventory_that_is_not_there_is_not_understood if {
	some f in sources.finding with input as {} with data.settings as {}
	f.rule == "not-understood"
}

test_an_inventory_of_another_version_is_not_understood if {
	found({"version": 2}, {}) == {["not-understood", ""]}
}
