package tool_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"github.com/planlatch/planlatch/tool"
)

// signer signs the releases of the test mirrors.
var signer = sync.OnceValues(func() (*openpgp.Entity, error) { return openpgp.NewEntity("releases", "", "releases@example.com", nil) })

// public is the armored public key of a signer.
func public(t *testing.T, e *openpgp.Entity) string {
	t.Helper()
	var text strings.Builder
	w, err := armor.Encode(&text, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(e.Serialize(w), w.Close()); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// mirror serves releases as their publishers do.
type mirror struct {
	*httptest.Server

	t     *testing.T
	key   *openpgp.Entity
	mu    sync.Mutex
	files map[string][]byte
	hits  map[string]int
	slow  string // what is never answered
	free  chan struct{}
}

func newMirror(t *testing.T) *mirror {
	t.Helper()
	key, err := signer()
	if err != nil {
		t.Fatal(err)
	}
	m := &mirror{t: t, key: key, files: map[string][]byte{}, hits: map[string]int{}, free: make(chan struct{})}
	m.Server = httptest.NewServer(m)
	t.Cleanup(func() { close(m.free); m.Close() })
	return m
}

func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	body, ok := m.files[r.URL.Path]
	m.hits[r.URL.Path]++
	slow := r.URL.Path == m.slow
	m.mu.Unlock()
	switch {
	case slow:
		select {
		case <-m.free:
		case <-r.Context().Done():
		}
	case !ok:
		http.NotFound(w, r)
	default:
		switch filepath.Ext(r.URL.Path) {
		case ".json":
			w.Header().Set("Content-Type", "application/json")
		case ".zip":
			w.Header().Set("Content-Type", "application/zip")
		}
		if _, err := w.Write(body); err != nil {
			m.t.Log(err)
		}
	}
}

func (m *mirror) sign(text []byte) []byte {
	m.t.Helper()
	var sig bytes.Buffer
	if err := openpgp.DetachSign(&sig, m.key, bytes.NewReader(text), nil); err != nil {
		m.t.Fatal(err)
	}
	return sig.Bytes()
}

func sums(name string, archive []byte) []byte {
	return fmt.Appendf(nil, "%x  %s\n", sha256.Sum256(archive), name)
}

const platform = runtime.GOOS + "_" + runtime.GOARCH

// publish puts a version of a product on the mirror.
func (m *mirror) publish(name, version string, program []byte) {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if name == "tofu" {
		m.tofu(version, program)
	} else {
		m.terraform(version, program)
	}
}

func (m *mirror) tofu(version string, program []byte) {
	m.t.Helper()
	var archive bytes.Buffer
	zipped, err := gzip.NewWriterLevel(&archive, gzip.NoCompression)
	if err != nil {
		m.t.Fatal(err)
	}
	w := tar.NewWriter(zipped)
	err = errors.Join(
		w.WriteHeader(&tar.Header{Name: "LICENSE", Mode: 0o644, Size: 4}), write(w, "MPL\n"),
		w.WriteHeader(&tar.Header{Name: "tofu", Mode: 0o755, Size: int64(len(program)), Typeflag: tar.TypeReg}), write(w, string(program)),
		w.Close(), zipped.Close())
	if err != nil {
		m.t.Fatal(err)
	}
	base := "/tofu/v" + version + "/tofu_" + version
	file := "tofu_" + version + "_" + platform + ".tar.gz"
	m.files[base+"_"+platform+".tar.gz"] = archive.Bytes()
	m.files[base+"_SHA256SUMS"] = sums(file, archive.Bytes())
	m.files[base+"_SHA256SUMS.gpgsig"] = m.sign(m.files[base+"_SHA256SUMS"])
	m.list("/tofu/api.json", func(index map[string]any) {
		all, _ := index["versions"].([]any)
		index["versions"] = append(all, map[string]any{"id": version, "files": []string{file}})
	})
}

func write(w interface{ Write(p []byte) (int, error) }, text string) error {
	_, err := w.Write([]byte(text))
	return err
}

func (m *mirror) terraform(version string, program []byte) {
	m.t.Helper()
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	f, err := w.CreateHeader(&zip.FileHeader{Name: "terraform", Method: zip.Store})
	if err == nil {
		err = errors.Join(write(f, string(program)), w.Close())
	}
	if err != nil {
		m.t.Fatal(err)
	}
	dir, stem := "/terraform/"+version+"/", "terraform_"+version
	file := stem + "_" + platform + ".zip"
	m.files[dir+file] = archive.Bytes()
	m.files[dir+stem+"_SHA256SUMS"] = sums(file, archive.Bytes())
	m.files[dir+stem+"_SHA256SUMS.sig"] = m.sign(m.files[dir+stem+"_SHA256SUMS"])
	release := map[string]any{
		"name": "terraform", "version": version, "shasums": stem + "_SHA256SUMS", "shasums_signature": stem + "_SHA256SUMS.sig",
		"builds": []any{map[string]any{
			"name": "terraform", "version": version, "os": runtime.GOOS, "arch": runtime.GOARCH, "filename": file,
			"url": "https://releases.hashicorp.com" + dir + file,
		}},
	}
	m.list(dir+"index.json", func(index map[string]any) { maps.Copy(index, release) })
	m.list("/terraform/index.json", func(index map[string]any) {
		all, ok := index["versions"].(map[string]any)
		if !ok {
			all = map[string]any{}
		}
		all[version], index["versions"], index["name"] = release, all, "terraform"
	})
}

// list changes a JSON file of the mirror.
func (m *mirror) list(path string, change func(map[string]any)) {
	m.t.Helper()
	index := map[string]any{}
	if old := m.files[path]; old != nil {
		if err := json.Unmarshal(old, &index); err != nil {
			m.t.Fatal(err)
		}
	}
	change(index)
	text, err := json.Marshal(index)
	if err != nil {
		m.t.Fatal(err)
	}
	m.files[path] = text
}

// says is a program that says it is a product of a version.
func says(title, version string) []byte {
	return fmt.Appendf(nil, "#!/bin/sh\necho '%s v%s'\n", title, version)
}

// finder takes versions from the mirror into a fresh cache, and finds nothing else.
func (m *mirror) finder(change func(*tool.Options)) (*tool.Finder, string) {
	m.t.Helper()
	keep := filepath.Join(m.t.TempDir(), "tools")
	key := public(m.t, m.key)
	o := tool.Options{
		Cache: keep, Allow: ">= 1.5",
		Download: &tool.Download{Mirror: m.URL + "/", Keys: map[string]string{"tofu": key, "terraform": key}, Timeout: 5 * time.Minute},
	}
	if change != nil {
		change(&o)
	}
	f, err := tool.New(o)
	if err != nil {
		m.t.Fatal(err)
	}
	return f, keep
}

// left lists what lies in a cache, but for locks.
func left(t *testing.T, keep string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(keep, func(path string, d os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err == nil && !d.IsDir() && !strings.HasSuffix(path, ".lock") || err == nil && strings.HasPrefix(d.Name(), ".new") {
			all = append(all, strings.TrimPrefix(path, keep+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
