package redteam_test

import (
	"os"
	"path/filepath"
	"runtime"
)

// Row 17: files of the repository that tools read when they start, and caches that others run from.

func toolAttacks() []attack {
	platform := runtime.GOOS + "_" + runtime.GOARCH
	uses := "terraform {\n  required_providers {\n    evil = { source = \"acme/evil\", version = \"1.0.0\" }\n  }\n}\n\nresource \"evil_thing\" \"x\" {}\n"
	ran := func(w *world) string { return filepath.Join(w.states, w.name+".ran") }
	provider := func(w *world) string { return "#!/bin/sh\necho ran >" + ran(w) + "\nexit 1\n" }
	plays := func(files func(w *world) map[string]string) func(w *world) []string {
		return func(w *world) []string {
			all := files(w)
			all["main.tf"] = uses
			pull, head := w.propose(all)
			w.ends(head, "planlatch/plan")
			_ = pull
			if _, err := os.Stat(ran(w)); err == nil {
				return []string{"a program of the repository ran as a provider"}
			}
			return nil
		}
	}
	return []attack{
		{
			Row: 17, Name: "a provider in terraform.d/plugins", Wall: "our own CLI configuration", Without: cliConfig, Quick: true,
			Try: plays(func(w *world) map[string]string {
				return map[string]string{"terraform.d/plugins/registry.opentofu.org/acme/evil/1.0.0/" + platform + "/terraform-provider-evil": provider(w)}
			}),
		},
		{
			Row: 17, Name: "a .tofurc that names a mirror in the repository", Wall: "our own CLI configuration", Without: cliConfig,
			Try: plays(func(w *world) map[string]string {
				rc := "provider_installation {\n  filesystem_mirror {\n    path = \"/src/" + w.dir + "/mirror\"\n  }\n}\n"
				return map[string]string{
					".tofurc": rc, ".terraformrc": rc, "tofu.rc": rc,
					"mirror/registry.opentofu.org/acme/evil/1.0.0/" + platform + "/terraform-provider-evil": provider(w),
				}
			}),
		},
		{
			Row: 17, Name: "a program changes what other runs execute", Wall: "read-only caches", Without: sandbox,
			Try: func(w *world) []string {
				mark := w.name + ".poison"
				pull, head := w.propose(program("for d in DATA/providers DATA/tools DATA/work DATA/mirrors DATA; do mkdir -p $d 2>/dev/null; : >$d/" + mark + "; done"))
				w.planned(pull, head)
				var loot []string
				for _, dir := range []string{"providers", "tools", "work", "mirrors", "."} {
					path := filepath.Join(w.server.Data, dir, mark)
					if _, err := os.Stat(path); err == nil {
						loot = append(loot, "wrote to "+path)
						_ = os.Remove(path) // our own
					}
				}
				return loot
			},
		},
	}
}
