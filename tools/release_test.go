// Package tools_test checks what people get from us: the release and the image.
package tools_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

const version = "v0.0.0-test"

// release builds one for this machine and returns its files by name.
func release(t *testing.T) map[string][]byte {
	t.Helper()
	dist := filepath.Join(t.TempDir(), "dist")
	cmd := exec.CommandContext(t.Context(), "sh", "release.sh", "linux/"+runtime.GOARCH)
	cmd.Env = append(os.Environ(), "VERSION="+version, "DIST="+dist, "KEY=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("release.sh: %v\n%s", err, out)
	}
	files, err := filepath.Glob(filepath.Join(dist, "*"))
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]byte)
	for _, path := range files {
		if all[filepath.Base(path)], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// unpack returns the files of an archive by their path in it.
func unpack(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	plain, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	for in := tar.NewReader(plain); ; {
		head, err := in.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if head.Typeflag == tar.TypeReg {
			if files[head.Name], err = io.ReadAll(in); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestARelease(t *testing.T) {
	t.Parallel()
	all := release(t)
	name := "planlatch_" + version + "_linux_" + runtime.GOARCH
	inside := unpack(t, all[name+".tar.gz"])

	t.Run("HasAChecksumOfEveryFile", func(t *testing.T) {
		var want strings.Builder
		for _, file := range slices.Sorted(maps.Keys(all)) {
			if file != "SHA256SUMS" {
				sum := sha256.Sum256(all[file])
				want.WriteString(hex.EncodeToString(sum[:]) + "  " + file + "\n")
			}
		}
		if got := string(all["SHA256SUMS"]); got != want.String() || strings.Count(got, "\n") != 2 {
			t.Errorf("SHA256SUMS = %q, want %q", got, want.String())
		}
	})
	t.Run("HasWhatAnInstallationNeeds", func(t *testing.T) {
		want := []string{"CHANGELOG.md", "LICENSE", "README.md", "deploy/planlatch.service", "deploy/server.yaml", "planlatch", "planlatch-shim", "planlatch.cdx.json"}
		var got []string
		for _, path := range slices.Sorted(maps.Keys(inside)) {
			got = append(got, strings.TrimPrefix(path, name+"/"))
		}
		if !slices.Equal(got, want) {
			t.Errorf("archive has %q, want %q", got, want)
		}
	})
	t.Run("ListsEveryModuleOfItsPrograms", func(t *testing.T) {
		var bom struct {
			Components []struct{ Name, Version string }
		}
		if err := json.Unmarshal(all[name+".cdx.json"], &bom); err != nil {
			t.Fatal(err)
		}
		listed := make(map[string]string)
		for _, c := range bom.Components {
			listed[c.Name] = c.Version
		}
		for _, program := range []string{"planlatch", "planlatch-shim"} {
			info, err := buildinfo.Read(bytes.NewReader(inside[name+"/"+program]))
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range info.Deps {
				if listed[m.Path] != m.Version {
					t.Errorf("%s is made of %s %s, the bill of materials says %q", program, m.Path, m.Version, listed[m.Path])
				}
			}
		}
		if listed["std"] == "" {
			t.Error("the bill of materials does not say which Go it was built with")
		}
	})
}

func TestAReleaseOfWhatIsInNoCommitIsRefused(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"v1.0.0-3-g1234567-dirty", "v1/../../x", "a b"} {
		dist := filepath.Join(t.TempDir(), "dist")
		cmd := exec.CommandContext(t.Context(), "sh", "release.sh", "linux/amd64")
		cmd.Env = append(os.Environ(), "VERSION="+version, "DIST="+dist)
		out, err := cmd.CombinedOutput()
		if _, statErr := os.Stat(dist); err == nil || !strings.HasPrefix(string(out), "release: ") || statErr == nil {
			t.Errorf("release.sh with version %q = %v, %q; want a refusal and nothing made", version, err, out)
		}
	}
}

func TestEveryImageIsPinnedByDigest(t *testing.T) {
	t.Parallel()
	pinned := regexp.MustCompile(`^docker\.io/library/[a-z]+:[a-z0-9.-]+@sha256:[0-9a-f]{64}$`)
	images := 0
	for path, named := range map[string]*regexp.Regexp{
		"../Dockerfile":          regexp.MustCompile(`(?m)^(?:ARG [A-Z]+_IMAGE=|FROM )(\S+)`),
		"../deploy/compose.yaml": regexp.MustCompile(`(?m)^\s+image: (\S+)`),
	} {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(string(body), -1) {
			if m[1] == "planlatch:latest" || strings.HasPrefix(m[1], "${") { // ours, or an ARG above
				continue
			}
			images++
			if !pinned.MatchString(m[1]) {
				t.Errorf("%s uses %s: name it with its digest", path, m[1])
			}
		}
	}
	if images != 3 {
		t.Errorf("%d images found, want 3", images)
	}
}
