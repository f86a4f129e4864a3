# What a project may be made from, judged on its code before anything of it runs. input.source is described in docs/policies.md.
package planlatch.sources

import data.settings

lists := {"providers", "modules", "data", "resources", "ephemeral", "actions", "provisioners", "backends", "encryption"}

switches := {"external", "outside_files", "steps"}

# What nobody understood could be anything.
finding contains at(item, {
	"rule": "not-understood",
	"message": sprintf("this could be anything: %s", [item.what]),
	"fix": "Write it so that it can be read without running it, or take it out.",
	"value": item.what,
}) if {
	some item in input.source.unknown
}

finding contains at(item, {
	"rule": "provider",
	"resource": item.address,
	"message": sprintf("provider %s is not allowed (%s)", [item.address, item.from]),
	"fix": "Use an allowed provider, or ask for this one to be added to providers of the policy set.",
	"value": item.address,
}) if {
	some item in input.source.providers
	item.address != "terraform.io/builtin/terraform" # part of the tools themselves
	refused("providers", {item.address}, ["/"])
}

finding contains at(item, {
	"rule": "module",
	"resource": sprintf("module.%s", [item.name]),
	"message": sprintf("module source %q is not allowed", [item.source]),
	"fix": sprintf("Use an allowed module, or ask for %s to be added to modules of the policy set.", [item.package]),
	"value": item.source,
}) if {
	some item in remote
	refused("modules", {item.address, item.package}, ["/"])
}

# An address that may mean something else than a pattern takes it for is not matched with patterns at all.
finding contains at(item, {
	"rule": "module-address",
	"resource": sprintf("module.%s", [item.name]),
	"message": sprintf("module source %q is not judged by its looks: %s", [item.source, item.odd]),
	"fix": "Write the plain address: a registry's name, git::https://… or https://….",
	"value": item.source,
}) if {
	some item in remote
	item.odd != ""
	judged("modules")
}

finding contains at(item, {
	"rule": "unpinned-module",
	"resource": sprintf("module.%s", [item.name]),
	"message": sprintf("module source %q can be other code tomorrow", [item.source]),
	"fix": pin[item.kind],
	"value": item.source,
}) if {
	settings.pinned_modules
	some item in remote
	not item.pinned
}

pin := {
	"registry": "Add version = \"X.Y.Z\", without an operator that allows others.",
	"git": "Add ?ref= with a commit of 40 digits or the tag of a version.",
	"http": "Add ?checksum=sha256:… to the address.",
	"other": "Use a registry, git or https, and name one version.",
}

finding contains at(item, {
	"rule": "data-source",
	"resource": sprintf("data.%s.%s", [item.type, item.name]),
	"message": sprintf("data source %s is not allowed", [item.type]),
	"fix": "Take it out, or ask for its type to be added to data of the policy set.",
	"value": item.type,
}) if {
	some item in input.source.data
	refused("data", {item.type}, [])
}

finding contains at(item, {
	"rule": sprintf("%s-type", [word]),
	"resource": sprintf("%s.%s", [item.type, item.name]),
	"message": sprintf("%s %s is not allowed", [word, item.type]),
	"fix": sprintf("Take it out, or ask for its type to be added to %s of the policy set.", [list]),
	"value": item.type,
}) if {
	some list, word in {"resources": "resource", "ephemeral": "ephemeral", "actions": "action"}
	some item in input.source[list]
	refused(list, {item.type}, [])
}

finding contains at(item, {
	"rule": "provisioner",
	"resource": item.on,
	"message": sprintf("provisioner %q is not allowed", [item.type]),
	"fix": "Remove the provisioner; use a resource of a provider, user data or an image for what it does.",
	"value": item.type,
}) if {
	some item in input.source.provisioners
	refused("provisioners", {item.type}, [])
}

finding contains at(item, {
	"rule": "external-program",
	"resource": item.what,
	"message": sprintf("%s may run a program", [item.what]),
	"fix": "Take it out: a program of a pull request runs before anybody has seen a plan.",
	"value": item.what,
}) if {
	forbidden("external")
	some item in input.source.external
}

finding contains at(item, {
	"rule": "backend",
	"resource": item.type,
	"message": sprintf("backend %s is not allowed", [item.type]),
	"fix": "Use an allowed backend, or ask for this one to be added to backends of the policy set.",
	"value": item.type,
}) if {
	some item in input.source.backends
	refused("backends", {item.type}, [])
}

finding contains at(item, {
	"rule": "backend",
	"resource": sprintf("data.%s.%s", [item.type, item.name]),
	"message": sprintf("backend %s is not allowed", [item.backend]),
	"fix": "Read from an allowed backend, or ask for this one to be added to backends of the policy set.",
	"value": item.backend,
}) if {
	some item in input.source.data
	refused("backends", {item.backend}, [])
}

finding contains at(item, {
	"rule": "encryption",
	"resource": sprintf("%s.%s.%s", [item.kind, item.type, item.name]),
	"message": sprintf("%s %s of the state's encryption is not allowed", [item.kind, item.type]),
	"fix": "Use an allowed one, or ask for its type to be added to encryption of the policy set.",
	"value": item.type,
}) if {
	some item in input.source.encryption
	refused("encryption", {item.type}, [])
}

finding contains at(item, {
	"rule": "outside-file",
	"message": sprintf("%s reads %q, outside of the repository", [item.function, item.path]),
	"fix": "Read files of the repository, or hand the value over as a variable.",
	"value": item.path,
}) if {
	forbidden("outside_files")
	some item in input.source.files
	item.outside
}

# A path that only a run can tell may lead anywhere.
finding contains at(item, {
	"rule": "outside-file",
	"message": sprintf("%s reads what only a run can tell", [item.function]),
	"fix": "Write the path out, beginning with ${path.module}.",
	"value": item.path,
}) if {
	forbidden("outside_files")
	some item in input.source.files
	not item.outside
}

finding contains {
	"rule": "step",
	"resource": item.key,
	"message": sprintf("step %s runs %q", [item.key, concat(" ", item.argv)]),
	"fix": "Take the step out of planlatch.yaml or server.yaml.",
	"value": item.argv,
} if {
	forbidden("steps")
	some item in input.source.steps
}

# A setting that is not what the rules expect would allow what nobody meant to.
finding contains {
	"rule": "settings",
	"message": sprintf("setting %s of this policy set is no list of texts", [name]),
	"fix": "Correct the settings of the set in server.yaml.",
} if {
	some name in lists
	judged(name)
	not texts(settings[name])
}

finding contains {
	"rule": "settings",
	"message": sprintf("setting %s of this policy set is neither true nor false", [name]),
	"fix": "Correct the settings of the set in server.yaml.",
} if {
	some name in switches
	judged(name)
	not is_boolean(settings[name])
}

# An inventory of another version may say things in another way.
finding contains {
	"rule": "not-understood",
	"message": "the inventory is not of the version that these rules read",
	"fix": "Tell whoever runs the server.",
} if {
	object.get(object.get(input, "source", {}), "version", 0) != 1
}

at(item, finding) := object.union(finding, {"file": item.file, "line": item.line})

remote := [item | some item in input.source.modules; item.kind != "local"]

judged(name) if object.get(settings, name, null) != null

forbidden(name) if object.get(settings, name, null) == false

texts(list) if {
	is_array(list)
	every text in list {
		is_string(text)
	}
}

# refused says that a list is given and nothing of it matches any of some names.
refused(name, names, delimiters) if {
	judged(name)
	count(names) > 0
	not allowed(name, names, delimiters)
}

allowed(name, names, delimiters) if {
	some pattern in settings[name]
	some text in names
	glob.match(pattern, delimiters, text)
}
