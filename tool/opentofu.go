package tool

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"

	"github.com/hashicorp/go-version"
	"github.com/opentofu/tofudl"
	"github.com/opentofu/tofudl/branding"
)

// tofuReleases are those of OpenTofu on GitHub, or of a mirror as tofudl makes them.
type tofuReleases struct {
	index  string
	client *http.Client
	from   tofudl.Downloader
}

func newTofuReleases(base, key string, client *http.Client) (tofuReleases, error) {
	r := tofuReleases{index: branding.DefaultDownloadAPIURL, client: client}
	options := []tofudl.ConfigOpt{tofudl.ConfigHTTPClient(client)}
	if base != "" {
		r.index = base + "/tofu/api.json"
		options = append(options, tofudl.ConfigAPIURL(r.index), tofudl.ConfigDownloadMirrorURLTemplate(base+"/tofu/v{{ .Version }}/{{ .Artifact }}"))
	}
	if key != "" {
		options = append(options, tofudl.ConfigGPGKey(key))
	}
	var err error
	r.from, err = tofudl.New(options...)
	return r, err
}

// versions reads the list itself, because tofudl panics at a version that it cannot read.
func (r tofuReleases) versions(ctx context.Context) ([]*version.Version, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.index, nil)
	if err != nil {
		return nil, err
	}
	res, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }() // read only
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", r.index, res.Status)
	}
	var list tofudl.APIResponse
	if err := json.NewDecoder(res.Body).Decode(&list); err != nil {
		return nil, fmt.Errorf("%s: %w", r.index, err)
	}
	var all []*version.Version
	for _, entry := range list.Versions {
		if v, err := version.NewVersion(string(entry.ID)); err == nil && entry.ID.Validate() == nil {
			all = append(all, v)
		}
	}
	return all, nil
}

// fetch does what tofudl's DownloadVersion does, which takes an archive that cannot be had for an empty one and complains of its checksum.
func (r tofuReleases) fetch(ctx context.Context, v *version.Version, dir string) (string, error) {
	id := tofudl.Version(v.String())
	if err := id.Validate(); err != nil {
		return "", err
	}
	stem := branding.ArtifactPrefix + string(id)
	archive := stem + "_" + runtime.GOOS + "_" + runtime.GOARCH + ".tar.gz"
	names := []string{stem + "_SHA256SUMS", stem + "_SHA256SUMS.gpgsig", archive}
	got := map[string][]byte{}
	for _, name := range names {
		var err error
		if got[name], err = r.from.DownloadArtifact(ctx, tofudl.VersionWithArtifacts{ID: id, Files: names}, name); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := r.from.VerifyArtifact(archive, got[archive], got[names[0]], got[names[1]]); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "tofu")
	if err := untar(got[archive], "tofu", path); err != nil {
		return "", fmt.Errorf("%s: %w", archive, err)
	}
	return path, nil
}

// untar writes one file of an archive.
func untar(archive []byte, name, path string) error {
	unzipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return err
	}
	for r := tar.NewReader(unzipped); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("it has no file %s", name)
		}
		if err != nil {
			return err
		}
		if h.Name != name || h.Typeflag != tar.TypeReg {
			continue
		}
		if h.Size > maxBody {
			return fmt.Errorf("%s is larger than %d bytes", name, maxBody)
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700) //nolint:gosec // a program
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r) //nolint:gosec // its size is checked above
		return errors.Join(err, f.Close())
	}
}
