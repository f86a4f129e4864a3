package redteam_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/planlatch/planlatch/runner"
	"github.com/planlatch/planlatch/tool"
)

// Row 13: two products of the same version in one repository. Whoever confuses them runs code with a program that reads it otherwise, or
// writes a state that the right one no longer reads.

func productAttacks() []attack {
	return []attack{{
		Row: 13, Name: "tofu and terraform of the same version are asked for at once", Wall: "binaries found by product and version", Without: products,
		Try: func(w *world) []string {
			ran := filepath.Join(w.states, w.name+".ran")
			w.install("terraform", tofuVersion, "#!/bin/sh\n[ \"$1\" != version ] || { echo 'Terraform v"+tofuVersion+"'; exit; }\n"+
				"echo ran >>"+ran+"\nexit 1\n")
			ours, other := w.name+"/ours", w.name+"/other"
			files := map[string]string{}
			for dir, pin := range map[string]string{"ours": ".opentofu-version", "other": ".terraform-version"} {
				files[dir+"/"+pin] = tofuVersion + "\n"
				files[dir+"/main.tf"] = "output \"x\" {\n  value = \"" + dir + "\"\n}\n"
			}
			_, head := w.propose(files)
			w.ends(head, "planlatch/plan") // which one failure is enough for
			var both []oneRun
			until(w.T, "both plans to end", func() (string, bool) {
				both = slices.DeleteFunc(w.server.runs(w.Context(), w.repo.Name), func(r oneRun) bool {
					return r.Dir != ours && r.Dir != other || r.State != "planned" && r.State != "failed"
				})
				return w.server.said(), len(both) == 2
			})
			var loot []string
			_, err := os.Stat(ran)
			for _, r := range both {
				switch {
				case r.Dir == ours && r.State != "planned":
					loot = append(loot, "terraform ran where tofu was asked for: "+r.State+", "+r.Reason)
				case r.Dir == other && (r.State != "failed" || err != nil):
					loot = append(loot, "tofu ran where terraform was asked for: "+r.State+", "+r.Reason)
				}
			}
			return loot
		},
	}}
}

// tofuVersion is that of the tofu that the attacks run with.
const tofuVersion = "1.12.6"

// install puts a program where the server keeps what it has downloaded.
func (w *world) install(name, version, script string) {
	w.Helper()
	dir := filepath.Join(w.server.Data, "tools", name, version)
	check(w.T, os.MkdirAll(dir, 0o700))
	check(w.T, os.WriteFile(filepath.Join(dir, name), []byte(script), 0o700)) //nolint:gosec // a program
}

// byVersion finds binaries by their version alone.
type byVersion struct {
	runner.Tools

	mu    sync.Mutex
	known map[string]tool.Tool
}

func (b *byVersion) Resolve(ctx context.Context, w tool.Want) (tool.Tool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t, ok := b.known[w.Version]; ok {
		return t, nil
	}
	t, err := b.Tools.Resolve(ctx, w)
	if err == nil && w.Version != "" {
		b.known[w.Version] = t
	}
	return t, err
}
