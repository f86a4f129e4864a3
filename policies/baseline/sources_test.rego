package planlatch.baseline_test

called(call) := {"configuration": {"root_module": {"module_calls": {"outer": {
	"source": "./modules/outer",
	"module": {"module_calls": {"inner": call}},
}}}}}

unpinned_sources := {
	"git::https://example.com/vpc.git",
	"git::https://example.com/vpc.git?ref=main",
	"git::ssh://git@example.com/vpc.git//sub?depth=1&ref=HEAD",
	"git@github.com:acme/vpc.git",
	"github.com/acme/vpc",
	"https://example.com/vpc.git",
	"https://example.com/vpc.zip",
	"s3::https://s3.amazonaws.com/acme/vpc.zip",
	"hg::https://example.com/vpc",
	"oci://example.com/vpc",
	"terraform-aws-modules/vpc/aws",
	"registry.example.com/acme/vpc/aws",
}

test_sources_that_can_move_are_found_in_every_module if {
	every source in unpinned_sources {
		[finding] := found("unpinned-source", called({"source": source}))
		finding.resource == "module.outer.module.inner"
		finding.value == source
	}
}

pinned_calls := [
	{"source": "./vpc"},
	{"source": "../vpc"},
	{"source": "git::https://example.com/vpc.git?ref=v1.2.0"},
	{"source": "git::https://example.com/vpc.git//sub?ref=8c2f1e0"},
	{"source": "github.com/acme/vpc?ref=v3"},
	{"source": "https://example.com/vpc.zip?checksum=sha256:00"},
	{"source": "hg::https://example.com/vpc?rev=7"},
	{"source": "oci://example.com/vpc?digest=sha256:00"},
	{"source": "terraform-aws-modules/vpc/aws", "version_constraint": "5.1.0"},
]

test_pinned_and_local_sources_are_not if {
	every call in pinned_calls {
		count(found("unpinned-source", called(call))) == 0
	}
}

# A source is never unknown: the tool needs it before it plans. What can be missing is the configuration of the module behind it.
test_a_module_that_could_not_be_loaded_is_still_judged_by_its_source if {
	plan := {"configuration": {"root_module": {"module_calls": {"a": {"source": "github.com/acme/vpc"}}}}}
	count(found("unpinned-source", plan)) == 1
}

test_a_provider_without_constraint_is_advice if {
	plan := {"configuration": {"provider_config": {
		"aws": {"full_name": "registry.opentofu.org/hashicorp/aws", "version_constraint": "~> 6.0"},
		"module.a:aws": {"full_name": "registry.opentofu.org/hashicorp/aws"},
		"random": {"full_name": "registry.opentofu.org/hashicorp/random"},
		"terraform": {"full_name": "terraform.io/builtin/terraform"},
	}}}
	findings := found("unpinned-provider", plan)
	attributes(findings) == {"registry.opentofu.org/hashicorp/random"}
	levels(findings) == ["advisory"]
}
