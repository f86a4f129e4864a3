# Destroying a database, a bucket, a disk or a key destroys what is in it, and no later apply brings it back.
package planlatch.baseline

import data.planlatch.plan

finding contains {
	"rule": "stateful-destroy",
	"resource": change.address,
	"message": sprintf("%s would be destroyed, with everything in it", [noun]),
	"fix": "Keep it; or, if it must go, save its data first. To leave it alive and only forget it, write a removed block with lifecycle { destroy = false }.",
	"value": "delete",
} if {
	some change in plan.removed
	not "create" in change.change.actions
	noun := stateful_noun(change.type)
}

finding contains {
	"rule": "stateful-replace",
	"resource": change.address,
	"message": sprintf("%s would be replaced%s; its data goes with the old one", [noun, replace_reason(change)]),
	"fix": "Create the new one beside it and move the data, restore from a snapshot, or leave the attribute as it was.",
	"value": replace_attributes(change),
} if {
	some change in plan.removed
	"create" in change.change.actions
	noun := stateful_noun(change.type)
}

replace_attributes(change) := sort({attribute |
	some path in object.get(change.change, "replace_paths", [])
	attribute := concat(".", [sprintf("%v", [part]) | some part in path])
})

default replace_reason(_) := ""

replace_reason(change) := sprintf(" because %s changes", [concat(", ", attributes)]) if {
	attributes := replace_attributes(change)
	count(attributes) > 0
}

stateful_noun(type) := sprintf("a %s", [stateful[type]])

stateful_noun(type) := "a resource whose type the settings call stateful" if {
	not stateful[type]
	type in data.settings.stateful_types
}

stateful := {type: noun |
	some noun, types in stateful_types
	some type in types
}

stateful_types := {
	"database": {
		"aws_db_instance", "aws_rds_cluster", "aws_rds_cluster_instance", "aws_rds_global_cluster", "aws_dynamodb_table",
		"aws_dynamodb_global_table", "aws_docdb_cluster", "aws_neptune_cluster", "aws_redshift_cluster", "aws_redshiftserverless_namespace",
		"aws_keyspaces_table", "aws_timestreamwrite_database", "aws_timestreamwrite_table", "aws_memorydb_cluster", "aws_dsql_cluster",
		"google_sql_database", "google_sql_database_instance", "google_spanner_database", "google_spanner_instance", "google_bigtable_instance",
		"google_bigtable_table", "google_bigquery_dataset", "google_bigquery_table", "google_firestore_database", "google_alloydb_cluster",
		"google_alloydb_instance", "azurerm_mssql_database", "azurerm_mssql_server", "azurerm_mssql_managed_instance",
		"azurerm_mssql_managed_database", "azurerm_mysql_flexible_server", "azurerm_mysql_flexible_database",
		"azurerm_postgresql_flexible_server", "azurerm_postgresql_flexible_server_database", "azurerm_postgresql_server",
		"azurerm_mariadb_server", "azurerm_cosmosdb_account", "azurerm_cosmosdb_sql_database", "azurerm_cosmosdb_sql_container",
		"azurerm_cosmosdb_mongo_database", "azurerm_cosmosdb_mongo_collection", "azurerm_kusto_database", "azurerm_synapse_sql_pool",
	},
	"bucket or store of files": {
		"aws_s3_bucket", "aws_s3_directory_bucket", "aws_efs_file_system", "aws_fsx_lustre_file_system", "aws_fsx_ontap_file_system",
		"aws_fsx_ontap_volume", "aws_fsx_openzfs_file_system", "aws_fsx_openzfs_volume", "aws_fsx_windows_file_system", "aws_glacier_vault",
		"aws_ecr_repository", "google_storage_bucket", "google_filestore_instance", "google_artifact_registry_repository",
		"azurerm_storage_account", "azurerm_storage_container", "azurerm_storage_share", "azurerm_storage_data_lake_gen2_filesystem",
		"azurerm_netapp_volume", "azurerm_container_registry",
	},
	"disk": {
		"aws_ebs_volume", "google_compute_disk", "google_compute_region_disk", "azurerm_managed_disk",
	},
	"backup or snapshot": {
		"aws_backup_vault", "aws_db_snapshot", "aws_db_cluster_snapshot", "aws_ebs_snapshot", "google_compute_snapshot",
		"google_backup_dr_backup_vault", "azurerm_recovery_services_vault", "azurerm_data_protection_backup_vault", "azurerm_snapshot",
	},
	"key or secret": {
		"aws_kms_key", "aws_kms_replica_key", "aws_secretsmanager_secret", "google_kms_key_ring", "google_kms_crypto_key",
		"google_secret_manager_secret", "azurerm_key_vault", "azurerm_key_vault_key", "azurerm_key_vault_secret",
		"azurerm_key_vault_certificate", "azurerm_key_vault_managed_hardware_security_module",
	},
	"queue, stream or cache with content": {
		"aws_kinesis_stream", "aws_msk_cluster", "aws_mq_broker", "aws_sqs_queue", "aws_elasticache_replication_group", "aws_opensearch_domain",
		"aws_elasticsearch_domain", "google_pubsub_subscription", "google_redis_instance", "azurerm_eventhub", "azurerm_eventhub_namespace",
		"azurerm_servicebus_namespace", "azurerm_servicebus_queue", "azurerm_redis_cache",
	},
	"directory of users": {"aws_cognito_user_pool", "google_identity_platform_tenant"},
	"log archive": {"aws_cloudwatch_log_group", "google_logging_project_bucket_config", "azurerm_log_analytics_workspace"},
	"DNS zone": {"aws_route53_zone", "google_dns_managed_zone", "azurerm_dns_zone", "azurerm_private_dns_zone"},
}
