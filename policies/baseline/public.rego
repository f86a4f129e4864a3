# Buckets and databases that anybody can read are the most common way in which data is lost.
package planlatch.baseline

import data.planlatch.plan

finding contains {
	"rule": "public-bucket",
	"resource": change.address,
	"message": sprintf("%s = %v opens it to everybody", [attribute, value]),
	"fix": fix,
	"value": {attribute: value},
} if {
	some change in plan.written
	some [attribute, value, fix] in opens_bucket(change)
}

finding contains {
	"rule": "public-bucket",
	"resource": change.address,
	"message": sprintf("%s is known only after apply, so nobody can say yet who may read it", [attribute]),
	"fix": "Give it as a value that is known while planning, or let a data source aws_iam_policy_document write it.",
	"value": "unknown",
	"level": "advisory",
} if {
	some change in plan.written
	some attribute in {"acl", "policy", "members", "member", "entity", "container_access_type"}
	attribute in object.get(bucket_attributes, change.type, set())
	plan.partly_unknown(change, attribute)
	not documented_policy(change, attribute)
}

bucket_attributes := {
	"aws_s3_bucket": {"acl"},
	"aws_s3_bucket_acl": {"acl"},
	"aws_s3_bucket_policy": {"policy"},
	"google_storage_bucket_iam_member": {"member"},
	"google_storage_bucket_iam_binding": {"members"},
	"google_storage_bucket_access_control": {"entity"},
	"azurerm_storage_container": {"container_access_type"},
}

# documented_policy says that an unknown policy comes from a policy document, whose statements are judged on their own.
documented_policy(change, attribute) if {
	some entry in plan.modules
	some resource in entry.module.resources
	plan.place(entry.address, resource.address) == plan.without_keys(change.address)
	some reference in resource.expressions[attribute].references
	startswith(reference, "data.aws_iam_policy_document.")
}

public_acls := {"public-read", "public-read-write", "authenticated-read", "website"}

opens_bucket(change) := [["acl", acl, "Set acl = \"private\", and share single objects by signed URLs."]] if {
	change.type in {"aws_s3_bucket", "aws_s3_bucket_acl"}
	acl := change.change.after.acl
	acl in public_acls
}

opens_bucket(change) := [[attribute, false, sprintf("Set %s = true.", [attribute])] |
	some attribute in ["block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"]
	change.change.after[attribute] == false
] if {
	change.type in {"aws_s3_bucket_public_access_block", "aws_s3_account_public_access_block"}
}

opens_bucket(change) := [["policy", "Principal \"*\"", "Name the principals, or add a Condition that limits who it is."]] if {
	change.type == "aws_s3_bucket_policy"
	some statement in policy_statements(change.change.after.policy)
	statement.effect == "Allow"
	statement.anybody
	not statement.conditional
}

opens_bucket(change) := [["role for", member, "Name users, groups or service accounts."] |
	some member in array.concat(
		plan.items(object.get(change.change.after, "member", null)),
		plan.items(object.get(change.change.after, "members", null)),
	)
	member in {"allUsers", "allAuthenticatedUsers"}
] if {
	change.type in {"google_storage_bucket_iam_member", "google_storage_bucket_iam_binding"}
}

opens_bucket(change) := [["entity", entity, "Name users, groups or projects."]] if {
	change.type in {"google_storage_bucket_access_control", "google_storage_default_object_access_control", "google_storage_object_access_control"}
	entity := change.change.after.entity
	entity in {"allUsers", "allAuthenticatedUsers"}
}

opens_bucket(change) := [["allow_nested_items_to_be_public", true, "Set allow_nested_items_to_be_public = false."]] if {
	change.type == "azurerm_storage_account"
	change.change.after.allow_nested_items_to_be_public == true
}

opens_bucket(change) := [["container_access_type", access, "Set container_access_type = \"private\"."]] if {
	change.type == "azurerm_storage_container"
	access := change.change.after.container_access_type
	access in {"blob", "container"}
}

finding contains {
	"rule": "public-database",
	"resource": change.address,
	"message": sprintf("%s = %v lets everybody connect to it", [attribute, value]),
	"fix": fix,
	"value": {attribute: value},
} if {
	some change in plan.written
	[attribute, value, fix] := opens_database(change)
}

opens_database(change) := ["publicly_accessible", true, "Set publicly_accessible = false, and come in through the network it lives in."] if {
	change.type in {"aws_db_instance", "aws_rds_cluster_instance", "aws_redshift_cluster", "aws_dms_replication_instance", "aws_neptune_cluster_instance"}
	change.change.after.publicly_accessible == true
}

opens_database(change) := ["authorized_networks.value", network.value, "Name the networks that need it, or use a private address."] if {
	change.type == "google_sql_database_instance"
	some settings in change.change.after.settings
	some addresses in settings.ip_configuration
	some network in addresses.authorized_networks
	is_world(network.value)
}

opens_database(change) := ["end_ip_address", last, "Name the addresses that need it, or use a private endpoint."] if {
	regex.match(`^azurerm_(mssql|mysql|postgresql|sql|mariadb|redis|synapse|mysql_flexible_server|postgresql_flexible_server)_firewall_rule$`, change.type)
	change.change.after.start_ip_address in {"0.0.0.0", "0.0.0.1", "1.0.0.0", "1.1.1.1"}
	last := change.change.after.end_ip_address
	startswith(last, "255.")
}
