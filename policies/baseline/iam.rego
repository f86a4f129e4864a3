# A wildcard permission turns the next leaked key into the whole account.
package planlatch.baseline

import data.planlatch.plan

finding contains {
	"rule": "iam-wildcard",
	"resource": change.address,
	"message": sprintf("%s allows %s on %s", [attribute, statement.action, statement.resource]),
	"fix": "Name the actions and the resources that are needed.",
	"value": {"action": statement.action, "resource": statement.resource},
} if {
	some change in plan.written
	some [attribute, text] in policy_texts(change)
	some statement in policy_statements(text)
	is_wildcard(statement)
}

# The tool reads policy documents while planning where it can; then only their result is in the plan. Those it must read during apply are
# listed with the statements that are known.
finding contains {
	"rule": "iam-wildcard",
	"resource": change.address,
	"message": sprintf("statement allows %s on %s", [statement.action, statement.resource]),
	"fix": "Name the actions and the resources that are needed.",
	"value": {"action": statement.action, "resource": statement.resource},
} if {
	some change in input.resource_changes
	change.type == "aws_iam_policy_document"
	change.change.actions == ["read"]
	some statement in document_statements(change.change.after)
	is_wildcard(statement)
}

finding contains {
	"rule": "iam-wildcard",
	"resource": change.address,
	"message": sprintf("%s gives %s", [attribute, role]),
	"fix": "Give a role with just the permissions that are needed.",
	"value": {attribute: role},
} if {
	some change in plan.written
	[attribute, role] := almighty(change)
}

finding contains {
	"rule": "iam-wildcard",
	"resource": change.address,
	"message": "assume_role_policy lets everybody take this role",
	"fix": "Name the principals, or add a Condition that limits who it is.",
	"value": "Principal \"*\"",
} if {
	some change in plan.written
	change.type == "aws_iam_role"
	some statement in policy_statements(change.change.after.assume_role_policy)
	statement.effect == "Allow"
	statement.anybody
	not statement.conditional
}

finding contains {
	"rule": "iam-wildcard",
	"resource": change.address,
	"message": sprintf("%s %s, so nobody can say yet what it allows", [attribute, problem]),
	"fix": "Build it from values that are known while planning, or with the data source aws_iam_policy_document.",
	"value": problem,
	"level": "advisory",
} if {
	some change in plan.written
	[attribute, problem] := unreadable_policy(change)
}

policy_attribute := {
	"aws_iam_policy": "policy",
	"aws_iam_role_policy": "policy",
	"aws_iam_user_policy": "policy",
	"aws_iam_group_policy": "policy",
	"aws_ssoadmin_permission_set_inline_policy": "inline_policy",
}

policy_texts(change) := [[attribute, change.change.after[attribute]]] if attribute := policy_attribute[change.type]

policy_texts(change) := [["inline_policy.policy", inline.policy] | some inline in change.change.after.inline_policy] if change.type == "aws_iam_role"

unreadable_policy(change) := [attribute, "is known only after apply"] if {
	attribute := policy_attribute[change.type]
	plan.unknown(change, [attribute])
	not documented_policy(change, attribute)
}

unreadable_policy(change) := [attribute, "is no JSON"] if {
	attribute := policy_attribute[change.type]
	text := change.change.after[attribute]
	is_string(text)
	not json.is_valid(text)
}

# policy_statements are the statements of a policy in JSON, one for each pair of action and resource.
policy_statements(text) := {statement |
	json.is_valid(text)
	policy := json.unmarshal(text)
	some entry in plan.items(object.get(policy, "Statement", null))
	some action in action_list(entry, "Action", "NotAction")
	some resource in action_list(entry, "Resource", "NotResource")
	statement := {
		"effect": entry.Effect,
		"action": action,
		"resource": resource,
		"anybody": is_anybody(object.get(entry, "Principal", null)),
		"conditional": object.get(entry, "Condition", {}) != {},
	}
}

# document_statements are the same of a data source aws_iam_policy_document.
document_statements(document) := {statement |
	some entry in document.statement
	some action in action_list(entry, "actions", "not_actions")
	some resource in action_list(entry, "resources", "not_resources")
	statement := {
		"effect": effect_of(entry),
		"action": action,
		"resource": resource,
		"anybody": false,
		"conditional": count(plan.items(object.get(entry, "condition", null))) > 0,
	}
}

# The data source allows unless it says otherwise.
effect_of(entry) := "Allow" if object.get(entry, "effect", null) == null

effect_of(entry) := entry.effect if entry.effect != null

# action_list are the values of a key. What is named by exclusion is everything but a little; a trust policy has no resource.
action_list(entry, key, excluding) := plan.items(entry[key]) if {
	object.get(entry, key, null) != null
	count(plan.items(entry[key])) > 0
} else := [sprintf("all but %s", [concat(", ", plan.items(entry[excluding]))])] if {
	object.get(entry, excluding, null) != null
	count(plan.items(entry[excluding])) > 0
} else := ["itself"]

default is_anybody(_) := false

is_anybody("*") := true

is_anybody(principal) if {
	some who in plan.items(object.get(principal, "AWS", null))
	who == "*"
}

# Everything, or everything of a service on everything.
is_wildcard(statement) if {
	statement.effect == "Allow"
	statement.action in {"*", "*:*"}
}

is_wildcard(statement) if {
	statement.effect == "Allow"
	statement.resource == "*"
	regex.match(`^[A-Za-z0-9-]+:\*$|^all but `, statement.action)
}

almighty(change) := ["policy_arn", arn] if {
	change.type in {"aws_iam_role_policy_attachment", "aws_iam_user_policy_attachment", "aws_iam_group_policy_attachment", "aws_iam_policy_attachment"}
	arn := change.change.after.policy_arn
	regex.match(`^arn:[a-z-]+:iam::aws:policy/(AdministratorAccess|PowerUserAccess|IAMFullAccess)$`, arn)
}

almighty(change) := ["role", role] if {
	regex.match(`^google_(project|folder|organization)_iam_(member|binding)$`, change.type)
	role := change.change.after.role
	role in {"roles/owner", "roles/editor"}
}

almighty(change) := ["role_definition_name", role] if {
	change.type == "azurerm_role_assignment"
	role := change.change.after.role_definition_name
	role in {"Owner", "Contributor", "User Access Administrator"}
	regex.match(`^/(subscriptions/[^/]+|providers/Microsoft\.Management/managementGroups/[^/]+)?/?$`, change.change.after.scope)
}

almighty(change) := ["permissions.actions", "*"] if {
	change.type == "azurerm_role_definition"
	some permission in change.change.after.permissions
	"*" in permission.actions
}
