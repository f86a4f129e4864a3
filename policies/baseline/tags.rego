# Tags say who owns a resource and who pays for it. Off until settings.required_tags names some.
package planlatch.baseline

import data.planlatch.plan

finding contains {
	"rule": "missing-tags",
	"resource": change.address,
	"message": sprintf("%s lacks %s", [attribute, concat(", ", missing)]),
	"fix": sprintf("Add %s to %s, or to the provider's default tags or labels.", [concat(", ", missing), attribute]),
	"value": missing,
} if {
	count(data.settings.required_tags) > 0
	some change in plan.written
	attribute := tag_attribute(change)
	not plan.unknown(change, [attribute])
	missing := sort({tag | some tag in data.settings.required_tags; not has_tag(change, tag)})
	count(missing) > 0
}

# tag_attribute is where the resource's type keeps tags; undefined for types that have none.
tag_attribute(change) := "tags" if {
	startswith(change.type, "aws_")
	has_attribute(change, "tags")
}

tag_attribute(change) := "tags" if {
	startswith(change.type, "azurerm_")
	has_attribute(change, "tags")
}

tag_attribute(change) := "labels" if {
	startswith(change.type, "google_")
	has_attribute(change, "labels")
}

has_attribute(change, name) if name in object.keys(change.change.after)

has_attribute(change, name) if change.change.after_unknown[name]

# A tag counts when it is set with any value, by the resource or by the provider's defaults, also if its value is known only later.
has_tag(change, tag) if {
	some attribute in {"tags", "tags_all", "labels", "terraform_labels", "effective_labels"}
	tag in object.keys(change.change.after[attribute])
}

has_tag(change, tag) if {
	some attribute in {"tags", "tags_all", "labels", "terraform_labels", "effective_labels"}
	change.change.after_unknown[attribute][tag]
}
