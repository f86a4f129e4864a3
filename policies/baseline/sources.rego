# Code that is fetched by a name that can point elsewhere tomorrow is not the code that was reviewed.
package planlatch.baseline

import data.planlatch.plan

finding contains {
	"rule": "unpinned-source",
	"resource": address,
	"message": sprintf("source %q %s", [call.source, problem]),
	"fix": fix,
	"value": call.source,
} if {
	some entry in plan.modules
	some name, call in entry.module.module_calls
	address := plan.place(entry.address, sprintf("module.%s", [name]))
	[problem, fix] := unpinned(call)
}

# From a registry: NAMESPACE/NAME/SYSTEM, perhaps with a host before it.
unpinned(call) := ["is a registry module without a version", "Add version = \"X.Y.Z\"."] if {
	source_kind(call.source) == "registry"
	not call.version_constraint
}

unpinned(call) := ["is a git repository without a ref", "Add ?ref= with a tag, or better a commit."] if {
	source_kind(call.source) == "git"
	git_ref(call.source) == ""
}

unpinned(call) := [sprintf("follows the branch %s", [git_ref(call.source)]), "Name a tag, or better a commit, in ?ref=."] if {
	source_kind(call.source) == "git"
	git_ref(call.source) in {"main", "master", "trunk", "develop", "dev", "HEAD"}
}

unpinned(call) := ["is a Mercurial repository without a revision", "Add ?rev= with a changeset."] if {
	source_kind(call.source) == "hg"
	not contains(call.source, "rev=")
}

unpinned(call) := ["is an archive without a checksum", "Add ?checksum=sha256:… to the address, or use a git source with ?ref=."] if {
	source_kind(call.source) == "archive"
	not contains(call.source, "checksum=")
}

unpinned(call) := ["is an OCI artifact without tag or digest", "Add ?digest=sha256:… to the address."] if {
	source_kind(call.source) == "oci"
	not regex.match(`[?&](tag|digest)=.`, call.source)
}

git_ref(source) := ref if {
	[_, query] := split(source, "?")
	some pair in split(query, "&")
	[key, ref] := split(pair, "=")
	key == "ref"
} else := ""

# source_kind sorts sources as the tool does: paths, then forced getters, then hosts it knows, then URLs; the rest is a registry.
source_kind(source) := "local" if {
	regex.match(`^\.{0,2}[/\\]|^[A-Za-z]:[/\\]|^\.{1,2}$`, source)
} else := "git" if {
	regex.match(`^(git::|git@|ssh://|(https?://)?(github\.com|bitbucket\.org|gitlab\.com)/)|\.git(//|\?|$)`, source)
} else := "hg" if {
	startswith(source, "hg::")
} else := "oci" if {
	startswith(source, "oci://")
} else := "archive" if {
	regex.match(`^(https?|s3|gcs)(::|://)`, source)
} else := "registry"

# The lock file pins providers for one platform at a time and can be missing; a constraint is what a reader sees.
finding contains {
	"rule": "unpinned-provider",
	"resource": provider,
	"message": sprintf("provider %s has no version constraint", [provider]),
	"fix": "Add version = \"~> X.Y\" for it in required_providers, and commit the lock file.",
	"value": provider,
	"level": "advisory",
} if {
	some config in input.configuration.provider_config
	provider := config.full_name
	not contains(provider, "/builtin/")
	not provider in constrained_providers
}

constrained_providers contains config.full_name if {
	some config in input.configuration.provider_config
	config.version_constraint
}
