package planlatch.baseline_test

test_destroying_a_database_is_found if {
	[finding] := found("stateful-destroy", changed("aws_db_instance.main", ["delete"], null, {}))
	finding.resource == "aws_db_instance.main"
	contains(finding.message, "database")
	finding.fix != ""
}

test_every_cloud_has_precious_types if {
	every type in {"google_storage_bucket", "azurerm_key_vault", "aws_ebs_volume", "azurerm_managed_disk", "google_sql_database_instance"} {
		count(found("stateful-destroy", changed(sprintf("%s.x", [type]), ["delete"], null, {}))) == 1
	}
}

test_replacing_names_the_attribute_that_forces_it if {
	plan := {"resource_changes": [{
		"address": "module.data[\"eu\"].aws_db_instance.main",
		"mode": "managed",
		"type": "aws_db_instance",
		"change": {
			"actions": ["delete", "create"],
			"before": {"storage_encrypted": false},
			"after": {"storage_encrypted": true},
			"replace_paths": [["storage_encrypted"], ["restore", 0, "source"]],
		},
	}]}
	[finding] := found("stateful-replace", plan)
	finding.resource == "module.data[\"eu\"].aws_db_instance.main"
	contains(finding.message, "because restore.0.source, storage_encrypted changes")
	finding.value == ["restore.0.source", "storage_encrypted"]
	count(found("stateful-destroy", plan)) == 0
}

test_replacing_because_of_an_unknown_value_is_found if {
	plan := changed("aws_s3_bucket.x", ["create", "delete"], {}, {"bucket": true})
	count(found("stateful-replace", plan)) == 1
}

test_creating_updating_and_forgetting_is_not if {
	every actions in [["create"], ["update"], ["no-op"], ["forget"], ["read"]] {
		count(found("stateful-destroy", changed("aws_db_instance.main", actions, {}, {}))) == 0
		count(found("stateful-replace", changed("aws_db_instance.main", actions, {}, {}))) == 0
	}
}

test_other_types_are_not_unless_the_settings_say_so if {
	plan := changed("terraform_data.ledger", ["delete"], null, {})
	count(found("stateful-destroy", plan)) == 0
	count(found("stateful-destroy", plan)) == 1 with data.settings.stateful_types as ["terraform_data"]
}
