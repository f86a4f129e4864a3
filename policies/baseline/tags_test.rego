package planlatch.baseline_test

test_tags_are_not_checked_until_some_are_required if {
	count(found("missing-tags", created("aws_s3_bucket.x", {"tags": null}))) == 0
}

test_missing_tags_are_named if {
	[finding] := found("missing-tags", created("aws_s3_bucket.x", {"tags": {"env": "prod"}})) with data.settings.required_tags as ["team", "env", "cost"]
	finding.value == ["cost", "team"]
	contains(finding.message, "tags lacks cost, team")
}

test_labels_and_azure_tags_are_checked if {
	count(found("missing-tags", created("google_storage_bucket.x", {"labels": null}))) == 1 with data.settings.required_tags as ["team"]
	count(found("missing-tags", created("azurerm_storage_account.x", {"tags": {}}))) == 1 with data.settings.required_tags as ["team"]
}

test_tags_of_the_resource_or_the_provider_count if {
	count(found("missing-tags", created("aws_s3_bucket.x", {"tags": {"team": "a"}}))) == 0 with data.settings.required_tags as ["team"]
	count(found("missing-tags", created("aws_s3_bucket.x", {"tags": null, "tags_all": {"team": "a"}}))) == 0 with data.settings.required_tags as ["team"]
	count(found("missing-tags", created("google_sql_database_instance.x", {"labels": null, "effective_labels": {"team": "a"}}))) == 0 with data.settings.required_tags as ["team"]
}

test_a_tag_whose_value_is_unknown_counts if {
	plan := changed("aws_s3_bucket.x", ["create"], {"tags": {}}, {"tags": {"team": true}})
	count(found("missing-tags", plan)) == 0 with data.settings.required_tags as ["team"]
}

test_tags_that_are_unknown_as_a_whole_cannot_be_checked if {
	count(found("missing-tags", unknown("aws_s3_bucket.x", {}, {"tags"}))) == 0 with data.settings.required_tags as ["team"]
}

test_types_without_tags_and_deletions_are_left_alone if {
	count(found("missing-tags", created("aws_s3_bucket_policy.x", {"policy": "{}"}))) == 0 with data.settings.required_tags as ["team"]
	count(found("missing-tags", created("terraform_data.x", {"tags": null}))) == 0 with data.settings.required_tags as ["team"]
	count(found("missing-tags", changed("aws_s3_bucket.x", ["delete"], null, {}))) == 0 with data.settings.required_tags as ["team"]
}
