package project_test

import (
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/planlatch/planlatch/project"
	"github.com/planlatch/planlatch/run"
)

// files is a repository: paths and contents. "-> target" makes a symlink.
type files map[string]string

func (f files) fs() fs.FS {
	m := fstest.MapFS{}
	for name, content := range f {
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			m[name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
			continue
		}
		m[name] = &fstest.MapFile{Data: []byte(content), Mode: 0o644}
	}
	return m
}

// with returns a copy with some files replaced; an empty content removes one.
func (f files) with(changes files) files {
	out := maps.Clone(f)
	for name, content := range changes {
		if out[name] = content; content == "" {
			delete(out, name)
		}
	}
	return out
}

// diff is what git would say between two repositories, but for renames.
func diff(base, head files) []project.Change {
	var out []project.Change
	for name, content := range head {
		switch was, ok := base[name]; {
		case !ok:
			out = append(out, project.Change{Path: name, Kind: project.Added})
		case was != content:
			out = append(out, project.Change{Path: name, Kind: project.Modified})
		}
	}
	for name := range base {
		if _, ok := head[name]; !ok {
			out = append(out, project.Change{Path: name, Kind: project.Deleted})
		}
	}
	slices.SortFunc(out, func(a, b project.Change) int { return strings.Compare(a.Path, b.Path) })
	return out
}

var serverRules = project.Rules{Settings: run.Settings{Apply: run.ApplyAfterMerge, Lock: run.LockApply, OnFailure: "stop", Requirements: []string{"approved"}}}

// selectFiles selects for a change from base to head.
func selectFiles(t testing.TB, base, head files, rules project.Rules) project.Selection {
	t.Helper()
	s := project.Select(t.Context(), project.Input{Head: head.fs(), Base: base.fs(), Changed: diff(base, head), Rules: rules})
	if s.Err != nil {
		t.Fatalf("Select().Err = %v", s.Err)
	}
	return s
}

// reasons are the selected projects by label; for one that is not planned, the text that says why not comes last.
func reasons(list []run.Selected) map[string][]string {
	out := map[string][]string{}
	for _, p := range list {
		out[p.Label] = slices.Clone(p.Reasons)
		if p.Skipped != "" {
			out[p.Label] = append(out[p.Label], "skipped: "+p.Skipped)
		}
	}
	return out
}

func labels(list []run.Selected) []string {
	var out []string
	for _, p := range list {
		out = append(out, p.Label)
	}
	return out
}

const (
	s3    = "terraform {\n  backend \"s3\" {\n    bucket = \"state\"\n  }\n}\n"
	empty = "locals {}\n"
)

// monorepo has most of what repositories have.
func monorepo() files {
	return files{
		"README.md":                        "read me",
		"infra/network/main.tf":            s3 + `module "vpc" { source = "../../modules/vpc" }`,
		"infra/network/prod.auto.tfvars":   "a = 1\n",
		"infra/network/docs/notes.md":      "notes",
		"infra/app/main.tofu":              `module "net" { source = "../../modules/net" }`,
		"infra/app/.terraform.lock.hcl":    "# lock\n",
		"infra/app/nested/main.tf":         empty,
		"infra/dns/main.tf.json":           `{"module": {"zone": {"source": "./../../modules/zone"}}, "locals": {"x": "${file(\"${path.module}/../../shared/zones.json\")}"}}`,
		"modules/vpc/main.tf":              `variable "cidr" {}` + "\n" + `resource "x" "y" { v = templatefile("${path.module}/templates/user.tpl", {}) }`,
		"modules/vpc/templates/user.tpl":   "hello",
		"modules/net/main.tf":              `module "vpc" { source = "../vpc" }`,
		"modules/zone/main.tf":             `locals { p = file("${path.root}/../../shared/policy.json") }`,
		"modules/unused/main.tf":           `variable "needed" {}`,
		"shared/zones.json":                "{}",
		"shared/policy.json":               "{}",
		"shared/other.json":                "{}",
		"examples/.terraform/modules/a.tf": empty,
	}
}
