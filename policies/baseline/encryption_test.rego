package planlatch.baseline_test

test_storage_without_encryption_is_found if {
	every plan in [
		created("module.db.aws_db_instance.x", {"storage_encrypted": false}),
		created("aws_rds_cluster.x", {"storage_encrypted": null}),
		created("aws_efs_file_system.x", {}),
		created("aws_elasticache_replication_group.x", {"at_rest_encryption_enabled": "false"}),
		created("azurerm_mssql_database.x", {"transparent_data_encryption_enabled": false}),
	] {
		[finding] := found("unencrypted-storage", plan)
		endswith(finding.fix, " = true.")
	}
}

test_disks_of_machines_are_found if {
	[finding] := found("unencrypted-storage", created("aws_instance.x", {"root_block_device": [{"encrypted": false}]}))
	finding.message == "root_block_device.encrypted is false, so what it stores is not encrypted"
	count(found("unencrypted-storage", created("aws_launch_template.x", {"block_device_mappings": [{"ebs": [{"encrypted": false}]}]}))) == 1
}

test_encrypted_storage_is_not if {
	every plan in [
		created("aws_db_instance.x", {"storage_encrypted": true}),
		created("aws_elasticache_replication_group.x", {"at_rest_encryption_enabled": "true"}),
		created("aws_instance.x", {"root_block_device": [{"encrypted": true, "delete_on_termination": false}]}),
		changed("aws_ebs_volume.x", ["delete"], null, {}),
		created("google_storage_bucket.x", {}),
	] {
		count(found("unencrypted-storage", plan)) == 0
	}
}

test_encryption_that_is_unknown_is_advice if {
	levels(found("unencrypted-storage", unknown("aws_ebs_volume.x", {}, {"encrypted"}))) == ["advisory"]
}
