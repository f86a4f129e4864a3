package inventory_test

import (
	"fmt"
	"testing"
)

func TestModuleSourcesAreSortedAsTheToolsDo(t *testing.T) {
	t.Parallel()
	const commit = "0123456789abcdef0123456789abcdef01234567"
	tests := []struct{ source, version, kind, address, state string }{
		{"acme/vpc/aws", "1.2.3", "registry", "acme/vpc/aws", "pinned"},
		{"acme/vpc/aws", "= 1.2.3", "registry", "acme/vpc/aws", "pinned"},
		{"acme/vpc/aws", "~> 1.2", "registry", "acme/vpc/aws", ""},
		{"acme/vpc/aws", ">= 1.2.3", "registry", "acme/vpc/aws", ""},
		{"acme/vpc/aws", "", "registry", "acme/vpc/aws", ""},
		{"acme/vpc/aws//sub/dir", "1.2.3", "registry", "acme/vpc/aws//sub/dir", "pinned"},
		{"acme/vpc/aws//../x", "1.2.3", "registry", "acme/vpc/aws//../x", "odd"},
		{"registry.terraform.io/acme/vpc/aws", "1.2.3", "registry", "acme/vpc/aws", "pinned"},
		{"mods.corp.example/acme/vpc/aws", "1.2.3", "registry", "mods.corp.example/acme/vpc/aws", "pinned"},
		{"github.com/acme/vpc", "", "git", "git::github.com/acme/vpc", ""},
		{"github.com/acme/vpc//sub?ref=v1.2.0", "", "git", "git::github.com/acme/vpc//sub", "pinned"},
		{"github.com/acme/vpc/aws", "1.0.0", "git", "git::github.com/acme/vpc/aws", ""},
		{"git::https://github.com/acme/vpc.git//sub?ref=" + commit, "", "git", "git::github.com/acme/vpc//sub", "pinned"},
		{"git::https://GitHub.com/acme/vpc.git?ref=main", "", "git", "git::github.com/acme/vpc", ""},
		{"git::https://github.com/acme/vpc.git?ref=modules/vpc-1.2.0", "", "git", "git::github.com/acme/vpc", "pinned"},
		{"git@github.com:acme/vpc.git?ref=v1.0", "", "git", "git::github.com/acme/vpc", "pinned"},
		{"git::ssh://git@git.corp.example:2222/acme/vpc.git?ref=v1.0.0", "", "git", "git::git.corp.example:2222/acme/vpc", "pinned"},
		{"git::https://github.com@evil.example/acme/vpc?ref=v1.0", "", "git", "git::evil.example/acme/vpc", "odd"},
		{"git::https://github.com/acme/../evil/vpc?ref=v1.0", "", "git", "git::github.com/acme/../evil/vpc", "odd"},
		{"git::https://github.com/acme/%2e%2e/evil?ref=v1.0", "", "git", "git::github.com/acme/%2e%2e/evil", "odd"},
		{"git::https://github.com/acme/vpc?ref=v1.0&sshkey=x", "", "git", "git::github.com/acme/vpc", "odd"},
		{"git::https://github.com/acme/vpc?ref=--upload-pack=x", "", "git", "git::github.com/acme/vpc", "odd"},
		{"git::https://github.com/acme/vpc?ref=v1.0&ref=main", "", "git", "git::github.com/acme/vpc", "odd"},
		{"git::http://github.com/acme/vpc?ref=v1.0", "", "git", "git::github.com/acme/vpc", "odd"},
		{"git::file:///etc", "", "git", "git::/etc", "odd"},
		{"git::ext::sh -c x", "", "git", "git::/", "odd"},
		{"https://mods.example/vpc.zip?checksum=sha256:" + commit + commit[:24], "", "http", "https://mods.example/vpc.zip", "pinned"},
		{"https://github.com/acme/vpc", "", "http", "https://github.com/acme/vpc", ""},
		{"http://mods.example/vpc.zip", "", "http", "http://mods.example/vpc.zip", "odd"},
		{"s3::https://s3.amazonaws.com/b/vpc.zip", "", "other", "s3::https://s3.amazonaws.com/b/vpc.zip", "odd"},
		{"hg::https://example.com/x", "", "other", "hg::https://example.com/x", "odd"},
		{"/etc/modules", "", "other", "/etc/modules", "odd"},
		{"file:///etc/modules", "", "other", "file:///etc/modules", "odd"},
		{".", "", "other", ".", "odd"},
		{" ./x", "", "other", " ./x", "odd"},
		{"", "", "other", "", "odd"},
	}
	for _, tt := range tests {
		t.Run(tt.source+tt.version, func(t *testing.T) {
			t.Parallel()
			call := fmt.Sprintf("module \"m\" {\n  source = %q\n  version = %q\n}\n", tt.source, tt.version)
			got := read(files{"app/x.tf": call}).Modules
			if len(got) != 1 {
				t.Fatalf("Read().Modules = %v, want one", got)
			}
			m, state := got[0], ""
			if m.Pinned {
				state = "pinned"
			}
			if m.Odd != "" {
				state = "odd"
			}
			if m.Kind != tt.kind || m.Address != tt.address || state != tt.state {
				t.Errorf("module source %q is %s %q %s (%s), want %s %q %s", tt.source, m.Kind, m.Address, state, m.Odd, tt.kind, tt.address, tt.state)
			}
		})
	}
}
