package tool

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/hc-install/releases"
)

// terraformReleases are those of releases.hashicorp.com, or of a mirror laid out like it.
type terraformReleases struct {
	base   string // of a mirror; empty: HashiCorp's
	key    string // armored; empty: HashiCorp's
	client *http.Client
}

func (r terraformReleases) versions(ctx context.Context) ([]*version.Version, error) {
	found, err := (&releases.Versions{
		Product: products["terraform"], ApiBaseURL: r.base, HTTPClient: r.client, ListTimeout: indexTimeout,
	}).List(ctx)
	if err != nil {
		return nil, err
	}
	var all []*version.Version
	for _, f := range found {
		if e, ok := f.(*releases.ExactVersion); ok {
			all = append(all, e.Version)
		}
	}
	return all, nil
}

// fetch has hc-install verify and unpack an archive. hc-install forgets every error that it meets once it has the archive, so what it met
// is read from its log, and what it unpacked is compared with the archive. Without the right signature and checksum it unpacks nothing.
func (r terraformReleases) fetch(ctx context.Context, v *version.Version, dir string) (string, error) {
	archive := filepath.Join(filepath.Dir(dir), "archive.zip")
	var said bytes.Buffer
	install := &releases.ExactVersion{
		Product: products["terraform"], Version: v, InstallDir: dir, ApiBaseURL: r.base, ArmoredPublicKey: r.key,
		HTTPClient: &http.Client{Transport: spool{r.client.Transport, archive}}, Timeout: downloadTimeout,
	}
	install.SetLogger(log.New(&said, "", 0))
	path, err := install.Install(ctx)
	for line := range strings.Lines(said.String()) {
		if strings.Contains(line, "does not match") || strings.HasPrefix(line, "failed to") {
			return "", errors.New(strings.TrimSpace(line))
		}
	}
	if err != nil {
		return "", err
	}
	if err := unpackedWhole(archive, path); err != nil {
		return "", fmt.Errorf("unpack %s: %w", filepath.Base(path), err)
	}
	return path, nil
}

// unpackedWhole compares a file with the one of the same name in the archive that it came from.
func unpackedWhole(archive, path string) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer func() { _ = z.Close() }() // read only
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // read only
	sum := crc32.NewIEEE()
	size, err := io.Copy(sum, f)
	if err != nil {
		return err
	}
	for _, entry := range z.File {
		if entry.Name == filepath.Base(path) && entry.UncompressedSize64 == uint64(size) && entry.CRC32 == sum.Sum32() { //nolint:gosec // a size is not negative
			return nil
		}
	}
	return errors.New("it is not whole")
}

// spool downloads archives to a file before hc-install gets them: it would take one of unknown length for a broken one.
type spool struct {
	http.RoundTripper

	path string
}

func (s spool) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := s.RoundTripper.RoundTrip(r)
	if err != nil || res.StatusCode != http.StatusOK || !strings.HasSuffix(r.URL.Path, ".zip") {
		return res, err
	}
	sent := res.Body
	defer func() { _ = sent.Close() }() // read only
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if res.ContentLength, err = io.Copy(f, sent); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	res.Body = f
	res.Header.Set("Content-Type", "application/zip") // a mirror of files may not know
	return res, nil
}
