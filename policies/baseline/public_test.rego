package planlatch.baseline_test

bucket_policy(statement) := created("aws_s3_bucket_policy.x", {"policy": json.marshal({"Statement": statement})})

test_public_buckets_are_found if {
	every plan in [
		created("module.a.aws_s3_bucket.x", {"acl": "public-read"}),
		created("aws_s3_bucket_acl.x", {"acl": "authenticated-read"}),
		created("aws_s3_bucket_public_access_block.x", {"block_public_acls": true, "block_public_policy": false}),
		bucket_policy([{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::x/*"}]),
		bucket_policy({"Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam::1:root", "*"]}, "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}),
		created("google_storage_bucket_iam_member.x", {"member": "allUsers"}),
		created("google_storage_bucket_iam_binding.x", {"members": ["user:a@example.com", "allAuthenticatedUsers"]}),
		created("google_storage_bucket_access_control.x", {"entity": "allUsers"}),
		created("azurerm_storage_account.x", {"allow_nested_items_to_be_public": true}),
		created("azurerm_storage_container.x", {"container_access_type": "blob"}),
	] {
		[finding] := found("public-bucket", plan)
		finding.fix != ""
	}
}

test_private_buckets_are_not if {
	every plan in [
		created("aws_s3_bucket.x", {"acl": "private"}),
		created("aws_s3_bucket.x", {"acl": null}),
		created("aws_s3_bucket_public_access_block.x", {"block_public_acls": true, "block_public_policy": true}),
		bucket_policy([{"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"}]),
		bucket_policy([{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::1:root"}, "Action": "s3:*", "Resource": "*"}]),
		bucket_policy([{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*", "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}]),
		created("google_storage_bucket_iam_member.x", {"member": "user:a@example.com"}),
		created("azurerm_storage_account.x", {"allow_nested_items_to_be_public": false}),
		created("azurerm_storage_container.x", {"container_access_type": "private"}),
		changed("aws_s3_bucket.x", ["no-op"], {"acl": "public-read"}, {}),
	] {
		count(found("public-bucket", plan)) == 0
	}
}

test_access_that_is_unknown_is_advice if {
	levels(found("public-bucket", unknown("aws_s3_bucket_policy.x", {}, {"policy"}))) == ["advisory"]
	levels(found("public-bucket", changed("google_storage_bucket_iam_binding.x", ["create"], {"members": [null]}, {"members": [true]}))) == ["advisory"]
}

test_public_databases_are_found if {
	every plan in [
		created("aws_db_instance.x", {"publicly_accessible": true}),
		created("google_sql_database_instance.x", {"settings": [{"ip_configuration": [{"authorized_networks": [{"value": "0.0.0.0/0"}]}]}]}),
		created("azurerm_postgresql_flexible_server_firewall_rule.x", {"start_ip_address": "0.0.0.0", "end_ip_address": "255.255.255.255"}),
	] {
		count(found("public-database", plan)) == 1
	}
}

test_databases_behind_a_network_are_not if {
	every plan in [
		created("aws_db_instance.x", {"publicly_accessible": false}),
		unknown("aws_db_instance.x", {}, {"publicly_accessible"}),
		created("google_sql_database_instance.x", {"settings": [{"ip_configuration": [{"authorized_networks": [{"value": "203.0.113.0/24"}]}]}]}),
		created("azurerm_mssql_firewall_rule.x", {"start_ip_address": "203.0.113.1", "end_ip_address": "203.0.113.9"}),
	] {
		count(found("public-database", plan)) == 0
	}
}
