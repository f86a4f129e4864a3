# Package planlatch.plan reads plan JSON for rules. `resource_changes` lists the resources of all modules, so rules that start from
# it see into modules by themselves; the configuration is a tree, which `modules` flattens.
package planlatch.plan

# written are the managed resources that come to exist or change: only their attributes are news.
written := [change |
	some change in input.resource_changes
	change.mode == "managed"
	some action in change.change.actions
	action in {"create", "update"}
]

# removed are the managed resources whose object is deleted, also when another one takes its place.
removed := [change |
	some change in input.resource_changes
	change.mode == "managed"
	"delete" in change.change.actions
]

# unknown says that an attribute is known only after apply, by itself or because something around it is.
unknown(change, path) if {
	some length in numbers.range(1, count(path))
	object.get(change.change.after_unknown, array.slice(path, 0, length), false) == true
}

# partly_unknown says the same, also when only something inside the attribute is.
partly_unknown(change, attribute) if {
	walk(change.change.after_unknown[attribute], [_, true])
}

# modules are the root module and all that it calls, each with its address without instance keys ("" for the root).
modules := [{"address": address, "module": module} |
	walk(input.configuration.root_module, [path, module])
	is_object(module)
	is_module(path)
	address := concat(".", [name | some i, part in path; i % 3 < 2; name := address_part(i, part)])
]

# A module's place in the tree is module_calls, NAME, module, and so on. Anything else that looks like it is a value somebody wrote.
is_module(path) if {
	count(path) % 3 == 0
	every i, part in path {
		correct_part(i, part)
	}
}

correct_part(i, part) if {
	i % 3 == 0
	part == "module_calls"
}

correct_part(i, _) if i % 3 == 1

correct_part(i, part) if {
	i % 3 == 2
	part == "module"
}

address_part(i, _) := "module" if i % 3 == 0

address_part(i, part) := part if i % 3 == 1

# without_keys drops the instance keys of an address: module.a["x"].b[0] is module.a.b in the configuration.
without_keys(address) := regex.replace(address, `\[(?:[0-9]+|"(?:[^"\\]|\\.)*")\]`, "")

# place joins a module's address and what is inside it.
place("", name) := name

place(module, name) := sprintf("%s.%s", [module, name]) if module != ""

# items makes a list of what may be a list, one thing, or nothing.
items(value) := value if is_array(value)

items(value) := [value] if {
	not is_array(value)
	value != null
}

items(null) := []
