# What the whole internet may reach is found by scanners within minutes. Ports that are meant to be public are in settings.open_ports.
package planlatch.baseline

import data.planlatch.plan

finding contains {
	"rule": "open-firewall",
	"resource": opening.resource,
	"message": sprintf("%s lets %s reach %s", [opening.attribute, opening.source, ports_text(opening)]),
	"fix": "Name the networks that need it, or put a load balancer, a VPN or a bastion in front.",
	"value": {"source": opening.source, "from": opening.from, "to": opening.to},
} if {
	some opening in openings
	is_world(opening.source)
	not meant_to_be_public(opening)
}

finding contains {
	"rule": "open-firewall",
	"resource": change.address,
	"message": sprintf("%s is known only after apply, so nobody can say yet who may come in", [attribute]),
	"fix": "Give the networks as values that are known while planning.",
	"value": "unknown",
	"level": "advisory",
} if {
	some change in plan.written
	some attribute in source_attributes[change.type]
	lets_in(change)
	unknown_source(change, attribute)
}

unknown_source(change, attribute) if plan.unknown(change, [attribute])

unknown_source(change, attribute) if {
	not attribute in {"ingress", "security_rule"}
	plan.partly_unknown(change, attribute)
}

# Inside a block only the sources count: that a rule names a group which is yet to be created says nothing about the internet.
unknown_source(change, attribute) if {
	walk(change.change.after_unknown[attribute], [path, true])
	some key in path
	key in {"cidr_blocks", "ipv6_cidr_blocks", "source_address_prefix", "source_address_prefixes"}
}

source_attributes := {
	"aws_security_group": {"ingress"},
	"aws_security_group_rule": {"cidr_blocks", "ipv6_cidr_blocks"},
	"aws_vpc_security_group_ingress_rule": {"cidr_ipv4", "cidr_ipv6"},
	"google_compute_firewall": {"source_ranges"},
	"azurerm_network_security_rule": {"source_address_prefix", "source_address_prefixes"},
	"azurerm_network_security_group": {"security_rule"},
}

# lets_in says that a rule, or a group of rules, is about traffic that comes in.
lets_in(change) if change.type in {"aws_security_group", "aws_vpc_security_group_ingress_rule", "azurerm_network_security_group"}

lets_in(change) if {
	change.type == "aws_security_group_rule"
	change.change.after.type == "ingress"
}

lets_in(change) if {
	change.type == "google_compute_firewall"
	object.get(change.change.after, "direction", "INGRESS") != "EGRESS"
	some _ in change.change.after.allow
}

lets_in(change) if {
	change.type == "azurerm_network_security_rule"
	azure_lets_in(change.change.after)
}

azure_lets_in(rule) if {
	lower(rule.direction) == "inbound"
	lower(rule.access) == "allow"
	not is_ping(object.get(rule, "protocol", "*"))
}

# openings are all pairs of a source and a range of ports that written rules open.
openings contains opening if {
	some change in plan.written
	change.type == "aws_security_group"
	some rule in change.change.after.ingress
	some list in {"cidr_blocks", "ipv6_cidr_blocks"}
	some source in rule[list]
	opening := aws_opening(change.address, sprintf("ingress.%s", [list]), source, rule, object.get(rule, "protocol", "-1"))
}

openings contains opening if {
	some change in plan.written
	change.type == "aws_security_group_rule"
	lets_in(change)
	some list in {"cidr_blocks", "ipv6_cidr_blocks"}
	some source in change.change.after[list]
	opening := aws_opening(change.address, list, source, change.change.after, object.get(change.change.after, "protocol", "-1"))
}

openings contains opening if {
	some change in plan.written
	change.type == "aws_vpc_security_group_ingress_rule"
	some attribute in {"cidr_ipv4", "cidr_ipv6"}
	source := change.change.after[attribute]
	opening := aws_opening(change.address, attribute, source, change.change.after, object.get(change.change.after, "ip_protocol", "-1"))
}

openings contains opening if {
	some change in plan.written
	change.type == "google_compute_firewall"
	lets_in(change)
	some source in change.change.after.source_ranges
	some allow in change.change.after.allow
	not is_ping(object.get(allow, "protocol", "all"))
	some ports in port_texts(object.get(allow, "ports", null))
	opening := range_opening(change.address, "source_ranges", source, ports)
}

openings contains opening if {
	some change in plan.written
	[prefix, rule] := azure_rule(change)[_]
	azure_lets_in(rule)
	some attribute in {"source_address_prefix", "source_address_prefixes"}
	some source in plan.items(object.get(rule, attribute, null))
	given := array.concat(
		plan.items(object.get(rule, "destination_port_range", null)),
		plan.items(object.get(rule, "destination_port_ranges", null)),
	)
	some ports in port_texts([text | some text in given; text != ""])
	opening := range_opening(change.address, sprintf("%s%s", [prefix, attribute]), source, ports)
}

azure_rule(change) := [["", change.change.after]] if change.type == "azurerm_network_security_rule"

azure_rule(change) := [["security_rule.", rule] | some rule in change.change.after.security_rule] if {
	change.type == "azurerm_network_security_group"
}

# aws_opening is undefined for ping. Ports that are missing or unknown count as all ports.
aws_opening(address, attribute, source, rule, protocol) := {
	"resource": address, "attribute": attribute, "source": source,
	"from": from,
	"to": to,
} if {
	not is_ping(protocol)
	[from, to] := aws_ports(rule, protocol)
}

aws_ports(rule, protocol) := ports if {
	is_string(protocol)
	not lower(protocol) in {"-1", "all"}
	ports := [number_or(object.get(rule, "from_port", null), 0), number_or(object.get(rule, "to_port", null), 65535)]
} else := [0, 65535]

number_or(value, _) := value if is_number(value)

number_or(value, other) := other if not is_number(value)

# port_texts are the ranges as written: "22", "20-25", "*". None means all.
port_texts(texts) := texts if {
	is_array(texts)
	count(texts) > 0
}

port_texts(texts) := ["*"] if not some_text(texts)

some_text(texts) if {
	is_array(texts)
	count(texts) > 0
}

range_opening(address, attribute, source, ports) := {
	"resource": address, "attribute": attribute, "source": source,
	"from": to_number(from),
	"to": to_number(to),
} if {
	[from, to] := bounds(ports)
}

bounds(ports) := split(ports, "-") if regex.match(`^[0-9]+-[0-9]+$`, ports)

bounds(ports) := [ports, ports] if regex.match(`^[0-9]+$`, ports)

bounds(ports) := ["0", "65535"] if not regex.match(`^[0-9]+(-[0-9]+)?$`, ports)

is_ping(protocol) if lower(protocol) in {"icmp", "icmpv6", "ipv6-icmp", "1", "58"}

# is_world says that a source is the internet or so large a part of it that it was meant to be: two halves are the whole, too.
is_world(source) if lower(source) in {"*", "any", "internet"}

is_world(source) if {
	not contains(source, ":")
	[_, bits] := split(source, "/")
	to_number(bits) < 8
}

is_world(source) if {
	contains(source, ":")
	not regex.match(`^(?i)(f[cd]|fe80)`, source)
	[_, bits] := split(source, "/")
	to_number(bits) < 16
}

meant_to_be_public(opening) if {
	opening.to - opening.from < count(data.settings.open_ports)
	every port in numbers.range(opening.from, opening.to) {
		port in data.settings.open_ports
	}
}

ports_text(opening) := "every port" if {
	opening.from <= 1
	opening.to == 65535
} else := sprintf("port %d", [opening.from]) if {
	opening.from == opening.to
} else := sprintf("ports %d to %d", [opening.from, opening.to])
