package provider

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzUnpack unpacks what a registry served beside a marker that must stay as it is.
func FuzzUnpack(f *testing.F) {
	for _, name := range []string{"good", "../marker", "/etc/passwd", "a/../../marker", "a/b/c", ".", "", "a\x00b", "\xff", "..\\marker", "a//b/./c", strings.Repeat("d/", 3000)} {
		for _, kind := range []byte{tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink, tar.TypeFifo, tar.TypeGNUSparse} {
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			content := []byte("x")
			if kind != tar.TypeReg {
				content = nil
			}
			// What cannot be written is no seed.
			if w.WriteHeader(&tar.Header{Name: name, Typeflag: kind, Linkname: "../marker", Size: int64(len(content)), Mode: 0o6777}) != nil {
				continue
			}
			_, _ = w.Write(content)
			_ = w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o777})
			_ = w.Close()
			f.Add(b.Bytes())
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		around := t.TempDir()
		marker := filepath.Join(around, "marker")
		if err := os.WriteFile(marker, []byte("as it is"), 0o600); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(around, "package")
		unpacked := unpack(bytes.NewReader(b), dir)
		list, err := os.ReadDir(around)
		if err != nil || len(list) > 2 {
			t.Errorf("unpack() left %v beside the package, %v", list, err)
		}
		if now, err := os.ReadFile(marker); err != nil || string(now) != "as it is" {
			t.Errorf("the marker is %q, %v", now, err)
		}
		err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err == nil && (!info.Mode().IsRegular() && !info.IsDir() || info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 || info.Mode().IsRegular() && info.Mode()&0o222 != 0 && unpacked == nil) {
				err = fmt.Errorf("%s is %s", name, info.Mode())
			}
			return err
		})
		if err != nil {
			t.Errorf("unpack() made what it must not: %v", err)
		}
	})
}

// TestUnpackStopsAtItsBounds: an archive claims its sizes in headers, so a bomb is known before it is read.
func TestUnpackStopsAtItsBounds(t *testing.T) {
	t.Parallel()
	var many bytes.Buffer
	w := tar.NewWriter(&many)
	for i := range maxFiles + 1 {
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprint("d/", i), Typeflag: tar.TypeDir}); err != nil {
			t.Fatal(err)
		}
	}
	var large bytes.Buffer
	w = tar.NewWriter(&large)
	if err := w.WriteHeader(&tar.Header{Name: "f", Typeflag: tar.TypeReg, Size: maxBytes + 1}); err != nil {
		t.Fatal(err)
	}
	for name, archive := range map[string]*bytes.Buffer{"files": &many, "bytes": &large} {
		dir := filepath.Join(t.TempDir(), "package")
		if err := unpack(archive, dir); err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("unpack() of too many %s = %v", name, err)
		}
	}
}
