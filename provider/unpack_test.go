package provider

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestUnpackTakesFilesBelowItsDirectoryAlone(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]tar.Header{
		"Climbs":   {Name: "../evil", Typeflag: tar.TypeReg},
		"Absolute": {Name: "/tmp/evil", Typeflag: tar.TypeReg},
		"Symlink":  {Name: "link", Typeflag: tar.TypeSymlink, Linkname: "/etc"},
		"Hardlink": {Name: "link", Typeflag: tar.TypeLink, Linkname: "good"},
		"Device":   {Name: "null", Typeflag: tar.TypeChar},
		"Twice":    {Name: "good", Typeflag: tar.TypeReg},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var archive bytes.Buffer
			w := tar.NewWriter(&archive)
			for _, h := range []tar.Header{{Name: "./", Typeflag: tar.TypeDir, Mode: 0o700}, {Name: "./good", Typeflag: tar.TypeReg, Mode: 0o755}, h} {
				if err := w.WriteHeader(&h); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), "package")
			if err := unpack(&archive, dir); err == nil {
				t.Error("unpack() = nil, want an error")
			}
			if info, err := os.Stat(filepath.Join(dir, "good")); err != nil || info.Mode().Perm() != 0o555 {
				t.Errorf("the file before it: %v, %v, want a program that nobody writes", info, err)
			}
		})
	}
}
