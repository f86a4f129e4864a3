package inventory_test

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/planlatch/planlatch/inventory"
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

func read(f files) inventory.Inventory { return inventory.Read(f.fs(), "app", inventory.Options{}) }

// lines writes an inventory as one line per entry, for tests to look for some.
func lines(inv inventory.Inventory) []string {
	var out []string
	add := func(at inventory.Place, format string, args ...any) {
		out = append(out, fmt.Sprintf("%s:%d ", at.File, at.Line)+fmt.Sprintf(format, args...))
	}
	for _, p := range inv.Providers {
		add(p.Place, "provider %s %s", p.Name, p.Address)
	}
	for _, m := range inv.Modules {
		add(m.Place, "module %s %s %s", m.Name, m.Kind, m.Address)
	}
	for word, list := range map[string][]inventory.Block{"resource": inv.Resources, "data": inv.Data, "ephemeral": inv.Ephemeral, "action": inv.Actions} {
		for _, b := range list {
			add(b.Place, "%s %s.%s", word, b.Type, b.Name)
		}
	}
	for _, p := range inv.Provisioners {
		add(p.Place, "provisioner %s on %s", p.Type, p.On)
	}
	for _, e := range inv.External {
		add(e.Place, "external %s", e.What)
	}
	for _, e := range inv.Encryption {
		add(e.Place, "%s %s", e.Kind, e.Type)
	}
	for _, b := range inv.Backends {
		add(b.Place, "backend %s", b.Type)
	}
	for _, f := range inv.Files {
		add(f.Place, "file %s %q outside=%v", f.Function, f.Path, f.Outside)
	}
	for _, u := range inv.Unknown {
		add(u.Place, "unknown: %s", u.What)
	}
	return out
}

// wants fails if an inventory lacks an entry that begins with one of these.
func wants(t *testing.T, inv inventory.Inventory, want ...string) {
	t.Helper()
	got := lines(inv)
	for _, w := range want {
		if !slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, w) }) {
			t.Errorf("Read() lacks %q; got:\n%s", w, strings.Join(got, "\n"))
		}
	}
}
