# A provisioner runs a program that no plan shows, with the credentials of the apply, and its effect is in no state. This rule looks at
# resources whose provisioners would run now: those that are created or destroyed.
package planlatch.baseline

import data.planlatch.plan

finding contains {
	"rule": "provisioner",
	"resource": change.address,
	"message": sprintf("provisioner %q would run %s, and no plan can show what that does", [type, provisioner_moment(change)]),
	"fix": sprintf("Remove the provisioner %q block; use a resource of a provider, user data or an image for what it does.", [type]),
	"value": type,
} if {
	some change in input.resource_changes
	change.mode == "managed"
	some action in change.change.actions
	action in {"create", "delete"}
	some type in provisioners[plan.without_keys(change.address)]
}

# provisioners are the types of provisioners by the resource that has them.
provisioners[address] contains provisioner.type if {
	some entry in plan.modules
	some resource in entry.module.resources
	address := plan.place(entry.address, resource.address)
	some provisioner in resource.provisioners
}

provisioner_moment(change) := "when it is destroyed" if change.change.actions == ["delete"]

provisioner_moment(change) := "when it is created" if change.change.actions == ["create"]

provisioner_moment(change) := "when it is replaced" if count(change.change.actions) > 1
