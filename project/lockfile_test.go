package project_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/project"
)

const lockText = `# This file is maintained automatically by "tofu init".
# Manual edits may be lost in future updates.

provider "registry.opentofu.org/hashicorp/time" {
  version     = "0.14.2"
  constraints = ">= 0.9.0, ~> 0.14"
  hashes = [
    "h1:NnDU9wZEIF37RhF9LUqT9iAgat3MLDjkuF35QQMyHp4=",
    "zh:05fcb4e3cb9a2d4a8e1c7ae0c1d7f0a8",
  ]
}

provider "example.com:8443/acme/own-cloud" {
  version = "1.0.0-beta1"
}
`

func TestReadLocks(t *testing.T) {
	t.Parallel()
	want := []project.Lock{
		{
			Host: "registry.opentofu.org", Namespace: "hashicorp", Type: "time", Version: "0.14.2", Constraints: ">= 0.9.0, ~> 0.14",
			Hashes: []string{"h1:NnDU9wZEIF37RhF9LUqT9iAgat3MLDjkuF35QQMyHp4=", "zh:05fcb4e3cb9a2d4a8e1c7ae0c1d7f0a8"},
		},
		{Host: "example.com:8443", Namespace: "acme", Type: "own-cloud", Version: "1.0.0-beta1"},
	}
	got, err := project.ReadLocks([]byte(lockText))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("ReadLocks() -want +got:\n%s", d)
	}
}

func TestReadLocksRefusesWhatCouldBecomeAPathOrCode(t *testing.T) {
	t.Parallel()
	block := func(address, version, more string) string {
		return "provider \"" + address + "\" {\n  version = \"" + version + "\"\n" + more + "}\n"
	}
	const good = "example.com/acme/cloud"
	for name, text := range map[string]string{
		"AddressWithoutHost":    block("acme/cloud", "1.0.0", ""),
		"AddressClimbs":         block("example.com/../cloud", "1.0.0", ""),
		"AddressIsAbsolute":     block("/etc/passwd", "1.0.0", ""),
		"HostIsDots":            block("../acme/cloud", "1.0.0", ""),
		"AddressIsATemplate":    block("example.com/acme/${x}", "1.0.0", ""),
		"VersionClimbs":         block(good, "../1.0.0", ""),
		"VersionIsARange":       block(good, ">= 1.0.0", ""),
		"VersionIsShort":        block(good, "1.0", ""),
		"VersionIsAnExpr":       block(good, "${1}", ""),
		"VersionMissing":        "provider \"" + good + "\" {\n}\n",
		"ConstraintIsATemplate": block(good, "1.0.0", "  constraints = \"%%{if true}\"\n"),
		"HashIsNoHash":          block(good, "1.0.0", "  hashes = [\"h1:a\\nb\"]\n"),
		"HashIsCode":            block(good, "1.0.0", "  hashes = [file(\"/etc/passwd\")]\n"),
		"UnknownAttribute":      block(good, "1.0.0", "  signed = true\n"),
		"UnknownBlock":          "module \"x\" {\n}\n",
		"Twice":                 block(good, "1.0.0", "") + block(good, "1.0.1", ""),
		"NotHCL":                "{{{",
		"TooLarge":              strings.Repeat("#", 1<<20+1),
	} {
		if got, err := project.ReadLocks([]byte(text)); err == nil {
			t.Errorf("%s: ReadLocks() = %+v, want an error", name, got)
		}
	}
}

func FuzzReadLocks(f *testing.F) {
	f.Add([]byte(lockText))
	f.Fuzz(func(t *testing.T, src []byte) {
		locks, err := project.ReadLocks(src)
		if err != nil {
			return
		}
		for _, l := range locks {
			if path := l.Address() + "/" + l.Version; strings.Contains(path, "..") || strings.ContainsAny(path, "\"\\${}%\n ") || strings.Count(path, "/") != 3 {
				t.Errorf("ReadLocks(%q) names %q", src, path)
			}
		}
		again, err := project.ReadLocks(project.WriteLocks(locks))
		if err != nil || len(again) != len(locks) {
			t.Errorf("ReadLocks(WriteLocks(%+v)) = %+v, %v", locks, again, err)
		}
	})
}
