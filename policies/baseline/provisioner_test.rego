package planlatch.baseline_test

provisioned(actions) := {
	"resource_changes": [
		{
			"address": "terraform_data.root", "mode": "managed", "type": "terraform_data",
			"change": {"actions": actions, "before": null, "after": {}, "after_unknown": {"id": true}},
		},
		{
			"address": "module.a[\"b.c]\"].module.d.null_resource.deep[0]", "mode": "managed", "type": "null_resource",
			"change": {"actions": actions, "before": null, "after": {}, "after_unknown": {"id": true}},
		},
		{
			"address": "terraform_data.plain", "mode": "managed", "type": "terraform_data",
			"change": {"actions": actions, "before": null, "after": {}, "after_unknown": {"id": true}},
		},
	],
	"configuration": {"root_module": {
		"resources": [
			{"address": "terraform_data.root", "provisioners": [{"type": "local-exec"}, {"type": "remote-exec"}]},
			{"address": "terraform_data.plain"},
		],
		"module_calls": {"a": {"module": {"module_calls": {"d": {"module": {"resources": [
			{"address": "null_resource.deep", "provisioners": [{"type": "local-exec"}]},
		]}}}}}},
	}},
}

test_provisioners_of_created_resources_are_found_in_every_module if {
	findings := found("provisioner", provisioned(["create"]))
	{[f.resource, f.value] | some f in findings} == {
		["terraform_data.root", "local-exec"],
		["terraform_data.root", "remote-exec"],
		["module.a[\"b.c]\"].module.d.null_resource.deep[0]", "local-exec"],
	}
	every finding in findings {
		contains(finding.message, "when it is created")
	}
}

test_provisioners_of_replaced_and_destroyed_resources_are_found if {
	count(found("provisioner", provisioned(["delete", "create"]))) == 3
	count(found("provisioner", provisioned(["delete"]))) == 3
}

test_provisioners_that_do_not_run_are_not if {
	count(found("provisioner", provisioned(["update"]))) == 0
	count(found("provisioner", provisioned(["no-op"]))) == 0
}

test_a_value_that_looks_like_a_module_is_not if {
	plan := object.union(unknown("terraform_data.x", {}, {"input"}), {"configuration": {"root_module": {"resources": [{
		"address": "terraform_data.x",
		"expressions": {"input": {"constant_value": {"module_calls": {"a": {"module": {"resources": [
			{"address": "terraform_data.x", "provisioners": [{"type": "local-exec"}]},
		]}}}}}},
	}]}}})
	count(found("provisioner", plan)) == 0
}
