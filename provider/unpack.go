package provider

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// The most that one package may hold. The disk limit of the fetch bounds it as well.
const (
	maxFiles = 10_000
	maxBytes = 8 << 30
	maxName  = 1000 // bytes of a path, and
	maxDepth = 50   // directories on it: one name would else make thousands, deeper than programs can follow
)

// unpack writes the files of an archive into a fresh directory, on disk when it returns. The archive holds what a registry served: only
// files and directories that stay below dir are taken, and anything else is an error.
func unpack(archive io.Reader, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // read by runs
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // nothing is written through it any more
	files, size := 0, int64(0)
	for r := tar.NewReader(archive); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return syncDir(dir)
		}
		if err != nil {
			return err
		}
		name := path.Clean(h.Name)
		if files, size = files+1, size+h.Size; files > maxFiles || size > maxBytes {
			return fmt.Errorf("more than %d files or %d bytes", maxFiles, int64(maxBytes))
		}
		switch {
		case len(name) > maxName || strings.Count(name, "/") > maxDepth:
			return fmt.Errorf("%.100q is a path of more than %d bytes or %d directories", h.Name, maxName, maxDepth)
		case !filepath.IsLocal(name):
			return fmt.Errorf("%.100q lies outside the package", h.Name)
		case h.Typeflag == tar.TypeDir:
			if err := root.MkdirAll(name, 0o755); err != nil {
				return err
			}
		case h.Typeflag == tar.TypeReg:
			if err := unpackFile(root, name, r, h.Mode&0o111 != 0); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%.100q is neither a file nor a directory", h.Name)
		}
	}
}

func unpackFile(root *os.Root, name string, from io.Reader, program bool) error {
	mode := os.FileMode(0o444)
	if program {
		mode = 0o555
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
}
