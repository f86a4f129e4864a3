package planlatch.baseline_test

gone(n) := {"resource_changes": [change |
	some i in numbers.range(1, n)
	change := {
		"address": sprintf("terraform_data.x[%d]", [i]),
		"mode": "managed",
		"type": "terraform_data",
		"change": {"actions": [["delete"], ["delete", "create"]][i % 2], "before": {}, "after": {}, "after_unknown": {"id": true}},
	}
]}

test_more_deletions_and_replacements_than_allowed_are_one_finding if {
	[finding] := found("blast-radius", gone(11))
	finding.value == 11
	not finding.resource
}

test_as_many_as_allowed_are_none if count(found("blast-radius", gone(10))) == 0

test_the_limit_is_a_setting if count(found("blast-radius", gone(3))) == 1 with data.settings.blast_radius as 2

test_creations_with_unknown_values_do_not_count if {
	count(found("blast-radius", unknown("terraform_data.x", {}, {"id"}))) == 0 with data.settings.blast_radius as 0
}
