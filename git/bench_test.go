package git_test

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/planlatch/planlatch/git"
)

// large is an origin with 5,000 small files, and its mirror.
func large(b *testing.B) (*git.Mirror, string) {
	b.Helper()
	o := newOrigin(b)
	files := map[string]string{}
	for i := range 5000 {
		files[fmt.Sprintf("team%d/p%d/f%d.tf", i%20, i%500, i)] = fmt.Sprintf("locals {\n  n = %d\n}\n", i)
	}
	head := o.commit("large", files)
	return mirrorOf(b, o, head), head
}

func BenchmarkFSReads5000Files(b *testing.B) {
	m, head := large(b)
	for b.Loop() {
		f, err := m.FS(b.Context(), head)
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		err = fs.WalkDir(f, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			n++
			_, err = f.ReadFile(name)
			return err
		})
		if err != nil || n != 5000 {
			b.Fatal(n, err)
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkExportOf5000Files(b *testing.B) {
	m, head := large(b)
	n := 0
	for b.Loop() {
		n++
		dir := filepath.Join(b.TempDir(), fmt.Sprint(n))
		if err := m.Export(b.Context(), head, dir); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := git.RemoveExport(dir); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
