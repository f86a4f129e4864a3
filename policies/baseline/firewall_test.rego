package planlatch.baseline_test

aws_group(ingress) := created("module.net[0].aws_security_group.x", {"ingress": [ingress]})

test_open_aws_groups_are_found if {
	[finding] := found("open-firewall", aws_group({"cidr_blocks": ["10.0.0.0/8", "0.0.0.0/0"], "from_port": 22, "to_port": 22, "protocol": "tcp"}))
	finding.resource == "module.net[0].aws_security_group.x"
	finding.message == "ingress.cidr_blocks lets 0.0.0.0/0 reach port 22"
	finding.value == {"source": "0.0.0.0/0", "from": 22, "to": 22}
}

test_ipv6_is_the_internet_too if {
	[finding] := found("open-firewall", aws_group({"ipv6_cidr_blocks": ["::/0"], "from_port": 0, "to_port": 0, "protocol": "-1"}))
	finding.message == "ingress.ipv6_cidr_blocks lets ::/0 reach every port"
}

test_a_range_that_only_begins_or_ends_at_a_public_port_is_found if {
	every ports in [[80, 443], [79, 80], [443, 444], [0, 65535]] {
		count(found("open-firewall", aws_group({"cidr_blocks": ["0.0.0.0/0"], "from_port": ports[0], "to_port": ports[1], "protocol": "tcp"}))) == 1
	}
}

test_the_internet_in_halves_is_found if {
	count(found("open-firewall", aws_group({"cidr_blocks": ["0.0.0.0/1", "128.0.0.0/1"], "from_port": 22, "to_port": 22, "protocol": "tcp"}))) == 2
	count(found("open-firewall", aws_group({"ipv6_cidr_blocks": ["2000::/3"], "from_port": 22, "to_port": 22, "protocol": "tcp"}))) == 1
}

test_public_ports_private_networks_and_ping_are_not if {
	every rule in [
		{"cidr_blocks": ["0.0.0.0/0"], "ipv6_cidr_blocks": ["::/0"], "from_port": 443, "to_port": 443, "protocol": "tcp"},
		{"cidr_blocks": ["10.0.0.0/8", "203.0.113.7/32"], "ipv6_cidr_blocks": ["fd00::/8"], "from_port": 22, "to_port": 22, "protocol": "tcp"},
		{"cidr_blocks": ["0.0.0.0/0"], "from_port": -1, "to_port": -1, "protocol": "icmp"},
		{"security_groups": ["sg-1"], "cidr_blocks": null, "from_port": 22, "to_port": 22, "protocol": "tcp"},
	] {
		count(found("open-firewall", aws_group(rule))) == 0
	}
}

test_public_ports_are_a_setting if {
	plan := aws_group({"cidr_blocks": ["0.0.0.0/0"], "from_port": 8443, "to_port": 8443, "protocol": "tcp"})
	count(found("open-firewall", plan)) == 1
	count(found("open-firewall", plan)) == 0 with data.settings.open_ports as [8443]
}

test_single_aws_rules_are_found if {
	count(found("open-firewall", created("aws_security_group_rule.x", {
		"type": "ingress", "cidr_blocks": ["0.0.0.0/0"], "from_port": 22, "to_port": 22, "protocol": "tcp",
	}))) == 1
	count(found("open-firewall", created("aws_security_group_rule.x", {
		"type": "egress", "cidr_blocks": ["0.0.0.0/0"], "from_port": 22, "to_port": 22, "protocol": "tcp",
	}))) == 0
	count(found("open-firewall", created("aws_vpc_security_group_ingress_rule.x", {
		"cidr_ipv4": "0.0.0.0/0", "cidr_ipv6": null, "from_port": null, "to_port": null, "ip_protocol": "-1",
	}))) == 1
}

test_a_port_that_is_unknown_counts_as_all if {
	[finding] := found("open-firewall", unknown("aws_security_group_rule.x", {"type": "ingress", "cidr_blocks": ["0.0.0.0/0"], "protocol": "tcp"}, {"from_port", "to_port"}))
	finding.value == {"source": "0.0.0.0/0", "from": 0, "to": 65535}
}

test_a_source_that_is_unknown_is_advice if {
	every plan in [
		unknown("aws_security_group.x", {}, {"ingress"}),
		changed("aws_security_group.x", ["create"], {}, {"ingress": [{"cidr_blocks": [true]}]}),
		unknown("aws_security_group_rule.x", {"type": "ingress"}, {"cidr_blocks"}),
		changed("google_compute_firewall.x", ["update"], {"direction": "INGRESS", "allow": [{"protocol": "tcp", "ports": []}]}, {"source_ranges": [false, true]}),
		unknown("azurerm_network_security_rule.x", {"direction": "Inbound", "access": "Allow", "protocol": "Tcp"}, {"source_address_prefix"}),
	] {
		levels(found("open-firewall", plan)) == ["advisory"]
	}
}

test_a_group_that_is_yet_unknown_as_source_is_not if {
	plan := changed("aws_security_group.x", ["create"], {}, {"ingress": [{"cidr_blocks": [], "security_groups": [true]}]})
	count(found("open-firewall", plan)) == 0
}

google_firewall(fields) := created("google_compute_firewall.x", object.union({"direction": "INGRESS", "source_ranges": ["0.0.0.0/0"]}, fields))

test_open_google_firewalls_are_found if {
	[finding] := found("open-firewall", google_firewall({"allow": [{"protocol": "tcp", "ports": ["443", "20-25"]}]}))
	finding.value == {"source": "0.0.0.0/0", "from": 20, "to": 25}
	count(found("open-firewall", google_firewall({"allow": [{"protocol": "all", "ports": []}]}))) == 1
	count(found("open-firewall", google_firewall({"allow": [{"protocol": "tcp", "ports": null}], "source_ranges": ["::/0"]}))) == 1
}

test_google_firewalls_that_deny_or_let_out_are_not if {
	count(found("open-firewall", google_firewall({"allow": [], "deny": [{"protocol": "all"}]}))) == 0
	count(found("open-firewall", google_firewall({"direction": "EGRESS", "allow": [{"protocol": "all", "ports": []}]}))) == 0
	count(found("open-firewall", google_firewall({"allow": [{"protocol": "icmp", "ports": []}]}))) == 0
}

azure_fields(fields) := object.union({"direction": "Inbound", "access": "Allow", "protocol": "Tcp", "source_address_prefix": "*", "destination_port_range": "22"}, fields)

test_open_azure_rules_are_found_alone_and_in_groups if {
	every fields in [
		{},
		{"source_address_prefix": "Internet"},
		{"source_address_prefix": "", "source_address_prefixes": ["10.0.0.0/8", "0.0.0.0/0"]},
		{"destination_port_range": "*"},
		{"destination_port_range": "", "destination_port_ranges": ["80", "3389-3390"]},
	] {
		count(found("open-firewall", created("azurerm_network_security_rule.x", azure_fields(fields)))) == 1
		[finding] := found("open-firewall", created("azurerm_network_security_group.x", {"security_rule": [azure_fields(fields)]}))
		startswith(finding.message, "security_rule.source_address_prefix")
	}
}

test_azure_rules_that_deny_or_let_out_are_not if {
	every fields in [{"access": "Deny"}, {"direction": "Outbound"}, {"source_address_prefix": "VirtualNetwork"}, {"destination_port_range": "443"}, {"protocol": "Icmp"}] {
		count(found("open-firewall", created("azurerm_network_security_rule.x", azure_fields(fields)))) == 0
	}
}

test_a_protocol_that_is_missing_counts_as_all if {
	every rule in [{}, {"protocol": null}] {
		count(found("open-firewall", aws_group(object.union({"cidr_blocks": ["0.0.0.0/0"], "from_port": 22, "to_port": 22}, rule)))) == 1
	}
	count(found("open-firewall", google_firewall({"allow": [{"ports": []}]}))) == 1
	count(found("open-firewall", created("azurerm_network_security_rule.x", object.remove(azure_fields({}), ["protocol"])))) == 1
}
