package planlatch.baseline_test

import data.planlatch.baseline

# found are the findings of one rule on a plan.
found(rule, plan) := [finding |
	some finding in baseline.finding with input as plan
	finding.rule == rule
]

# changed is a plan that changes one resource.
changed(address, actions, after, unknown) := {"resource_changes": [{
	"address": address,
	"mode": "managed",
	"type": type,
	"name": "x",
	"change": {"actions": actions, "before": {}, "after": after, "after_unknown": unknown},
}]} if {
	parts := split(address, ".")
	type := parts[count(parts) - 2]
}

created(address, after) := changed(address, ["create"], after, {})

unknown(address, after, names) := changed(address, ["create"], after, {name: true | some name in names})

levels(findings) := [object.get(finding, "level", "of the set") | some finding in findings]

attributes(findings) := {resource | resource := findings[_].resource}

test_nothing_to_say_about_a_plan_without_changes if {
	baseline.finding == set() with input as {"format_version": "1.2"}
}
