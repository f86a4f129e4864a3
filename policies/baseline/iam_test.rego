package planlatch.baseline_test

policy_of(statement) := created("module.iam.aws_iam_policy.x", {"policy": json.marshal({"Version": "2012-10-17", "Statement": statement})})

test_wildcards_in_policy_texts_are_found if {
	every statement in [
		{"Effect": "Allow", "Action": "*", "Resource": "*"},
		[{"Effect": "Allow", "Action": ["s3:GetObject", "*"], "Resource": "arn:aws:s3:::x"}],
		[{"Effect": "Allow", "Action": "iam:*", "Resource": ["*"]}],
		[{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}],
	] {
		[finding] := found("iam-wildcard", policy_of(statement))
		finding.resource == "module.iam.aws_iam_policy.x"
		startswith(finding.message, "policy allows ")
	}
}

test_wildcards_in_inline_policies_of_roles_are_found if {
	plan := created("aws_iam_role.x", {"inline_policy": [{"policy": json.marshal({"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})}]})
	[finding] := found("iam-wildcard", plan)
	startswith(finding.message, "inline_policy.policy allows * on *")
}

test_named_actions_are_not if {
	every statement in [
		{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"},
		{"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::x/*"},
		{"Effect": "Deny", "Action": "*", "Resource": "*"},
	] {
		count(found("iam-wildcard", policy_of(statement))) == 0
	}
}

document(statement) := {"resource_changes": [{
	"address": "data.aws_iam_policy_document.x", "mode": "data", "type": "aws_iam_policy_document",
	"change": {"actions": ["read"], "before": null, "after": {"statement": [statement]}, "after_unknown": {"id": true, "json": true}},
}]}

test_wildcards_in_documents_that_are_read_during_apply_are_found if {
	count(found("iam-wildcard", document({"effect": null, "actions": ["*"], "resources": ["*"]}))) == 1
	count(found("iam-wildcard", document({"effect": "Allow", "actions": ["ec2:*"], "resources": ["*"]}))) == 1
	count(found("iam-wildcard", document({"effect": "Deny", "actions": ["*"], "resources": ["*"]}))) == 0
	count(found("iam-wildcard", document({"actions": ["s3:GetObject"], "resources": ["*"], "not_actions": null}))) == 0
}

test_a_policy_that_is_unknown_is_advice if {
	levels(found("iam-wildcard", unknown("aws_iam_policy.x", {}, {"policy"}))) == ["advisory"]
	levels(found("iam-wildcard", created("aws_iam_policy.x", {"policy": "{"}))) == ["advisory"]
}

test_an_unknown_policy_from_a_document_is_judged_there if {
	plan := object.union(unknown("aws_iam_policy.x[0]", {}, {"policy"}), {"configuration": {"root_module": {"resources": [{
		"address": "aws_iam_policy.x",
		"expressions": {"policy": {"references": ["data.aws_iam_policy_document.x.json", "data.aws_iam_policy_document.x"]}},
	}]}}})
	count(found("iam-wildcard", plan)) == 0
}

test_roles_that_everybody_may_take_are_found if {
	trust := {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
	count(found("iam-wildcard", created("aws_iam_role.x", {"assume_role_policy": json.marshal({"Statement": [trust]})}))) == 1
	limited := object.union(trust, {"Condition": {"StringEquals": {"sts:ExternalId": "1"}}})
	count(found("iam-wildcard", created("aws_iam_role.x", {"assume_role_policy": json.marshal({"Statement": [limited]})}))) == 0
	service := {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
	count(found("iam-wildcard", created("aws_iam_role.x", {"assume_role_policy": json.marshal({"Statement": [service]})}))) == 0
}

test_almighty_roles_are_found_on_every_cloud if {
	every plan in [
		created("aws_iam_role_policy_attachment.x", {"policy_arn": "arn:aws:iam::aws:policy/AdministratorAccess"}),
		created("google_project_iam_member.x", {"role": "roles/owner"}),
		created("google_folder_iam_binding.x", {"role": "roles/editor"}),
		created("azurerm_role_assignment.x", {"role_definition_name": "Owner", "scope": "/subscriptions/1"}),
		created("azurerm_role_definition.x", {"permissions": [{"actions": ["*"]}]}),
	] {
		count(found("iam-wildcard", plan)) == 1
	}
}

test_lesser_roles_are_not if {
	every plan in [
		created("aws_iam_role_policy_attachment.x", {"policy_arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}),
		unknown("aws_iam_role_policy_attachment.x", {}, {"policy_arn"}),
		created("google_project_iam_member.x", {"role": "roles/viewer"}),
		created("azurerm_role_assignment.x", {"role_definition_name": "Owner", "scope": "/subscriptions/1/resourceGroups/a"}),
	] {
		count(found("iam-wildcard", plan)) == 0
	}
}
