# Storage without encryption is readable for whoever gets the disk, the snapshot or the backup. Google Cloud encrypts everything at rest
# and Azure nearly everything, so most of what can be forgotten is on AWS.
package planlatch.baseline

import data.planlatch.plan

finding contains {
	"rule": "unencrypted-storage",
	"resource": change.address,
	"message": sprintf("%s is not true, so what it stores is not encrypted", [attribute]),
	"fix": sprintf("Set %s = true.", [attribute]),
	"value": {attribute: false},
} if {
	some change in plan.written
	attribute := encryption_attribute[change.type]
	not plan.unknown(change, [attribute])
	not encrypts(object.get(change.change.after, attribute, null))
}

finding contains {
	"rule": "unencrypted-storage",
	"resource": change.address,
	"message": sprintf("%s.encrypted is false, so what it stores is not encrypted", [block]),
	"fix": sprintf("Set encrypted = true in %s.", [block]),
	"value": {sprintf("%s.encrypted", [block]): false},
} if {
	some change in plan.written
	change.type in {"aws_instance", "aws_launch_template", "aws_launch_configuration"}
	some block in ["root_block_device", "ebs_block_device", "block_device_mappings"]
	walk(change.change.after[block], [path, false])
	path[count(path) - 1] == "encrypted"
}

finding contains {
	"rule": "unencrypted-storage",
	"resource": change.address,
	"message": sprintf("%s is known only after apply; what the account does by default decides", [attribute]),
	"fix": sprintf("Set %s = true.", [attribute]),
	"value": "unknown",
	"level": "advisory",
} if {
	some change in plan.written
	attribute := encryption_attribute[change.type]
	plan.unknown(change, [attribute])
}

# Some providers write a boolean as a string.
encrypts(value) if value in {true, "true"}

encryption_attribute := {
	"aws_ebs_volume": "encrypted",
	"aws_ebs_snapshot_copy": "encrypted",
	"aws_db_instance": "storage_encrypted",
	"aws_rds_cluster": "storage_encrypted",
	"aws_rds_global_cluster": "storage_encrypted",
	"aws_docdb_cluster": "storage_encrypted",
	"aws_neptune_cluster": "storage_encrypted",
	"aws_redshift_cluster": "encrypted",
	"aws_efs_file_system": "encrypted",
	"aws_elasticache_replication_group": "at_rest_encryption_enabled",
	"azurerm_mssql_database": "transparent_data_encryption_enabled",
	"azurerm_kusto_cluster": "disk_encryption_enabled",
}
