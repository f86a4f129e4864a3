package provider_test

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/planlatch/planlatch/testkit/pinned"

	"golang.org/x/mod/sumdb/dirhash"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/executortest"
	"github.com/planlatch/planlatch/executor/local"
	"github.com/planlatch/planlatch/project"
	"github.com/planlatch/planlatch/provider"
	"github.com/planlatch/planlatch/testkit/helper"
)

// kit is what all tests share: built once, read by all.
var kit struct {
	dir      string // removed at the end
	tools    map[string]string
	mirror   string // a filesystem mirror with the time provider unpacked, as each tool names it
	zips     string // the same as archives
	sum      string // h1: of the package
	zip      string // zh: of the archive
	platform string
}

// hosts are where each tool looks for hashicorp/time.
var hosts = map[string]string{"tofu": "registry.opentofu.org", "terraform": "registry.terraform.io"}

const (
	version = "0.14.2"
	binary  = "terraform-provider-time_v0.14.2_x5"
)

func TestMain(m *testing.M) {
	os.Exit(helper.Beside(func() int { return run(m) }))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "planlatch-providers-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	kit.dir = dir
	defer func() { _ = os.RemoveAll(dir) }() // best effort
	return m.Run()
}

var built = sync.OnceValue(func() error {
	kit.tools = map[string]string{}
	for _, name := range []string{"tofu", "terraform", "provider-time"} {
		path, err := pinned.Find(name)
		if err != nil {
			return err
		}
		kit.tools[name] = path
	}
	goos, err := exec.Command("go", "env", "GOOS", "GOARCH").Output()
	if err != nil {
		return err
	}
	kit.platform = strings.Join(strings.Fields(string(goos)), "_")
	return mirrors()
})

// mirrors lays the provider out in both forms that the tools know.
func mirrors() error {
	kit.mirror, kit.zips = filepath.Join(kit.dir, "mirror"), filepath.Join(kit.dir, "zips")
	program, err := os.ReadFile(kit.tools["provider-time"])
	if err != nil {
		return err
	}
	for _, host := range hosts {
		unpacked := filepath.Join(kit.mirror, host, "hashicorp/time", version, kit.platform)
		packed := filepath.Join(kit.zips, host, "hashicorp/time")
		if err := errors.Join(os.MkdirAll(unpacked, 0o755), os.MkdirAll(packed, 0o755)); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(unpacked, binary), program, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(unpacked, "LICENSE.txt"), []byte("MPL-2.0\n"), 0o644); err != nil {
			return err
		}
		if kit.sum, err = dirhash.HashDir(unpacked, "", dirhash.Hash1); err != nil {
			return err
		}
		if err := pack(unpacked, filepath.Join(packed, "terraform-provider-time_"+version+"_"+kit.platform+".zip")); err != nil {
			return err
		}
	}
	return nil
}

// pack makes an archive as providers are released, and notes its checksum.
func pack(dir, file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	sum := sha256.New()
	w := zip.NewWriter(f)
	for _, name := range []string{binary, "LICENSE.txt"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(0o755)
		to, err := w.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := to.Write(text); err != nil {
			return err
		}
	}
	if err := errors.Join(w.Close(), f.Close()); err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	sum.Write(text)
	kit.zip = "zh:" + hex.EncodeToString(sum.Sum(nil))
	return nil
}

// bench is a store with an executor of its own.
type bench struct {
	*provider.Store
	exec executor.Executor
	dir  string
	runs atomic.Int64
	log  *logs
}

type logs struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

func setup(t testing.TB, walls local.Options, change func(*provider.Options)) *bench {
	t.Helper()
	if err := built(); err != nil {
		t.Fatal(err)
	}
	data, err := os.MkdirTemp("", "pl-") //nolint:usetesting // short: without namespaces a provider's socket lies below it, whose path the kernel bounds
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(data); err != nil {
			t.Error(err)
		}
	})
	b := &bench{dir: filepath.Join(data, "providers"), log: &logs{}}
	walls.Dir = filepath.Join(data, "executions")
	if b.exec, err = local.New(walls); err != nil {
		t.Fatal(err)
	}
	o := provider.Options{
		Dir: b.dir, Mirror: kit.mirror, Exec: b.exec, Network: executor.Network{Mode: executor.NetworkNone},
		Log: slog.New(slog.NewTextHandler(b.log, nil)),
	}
	if change != nil {
		change(&o)
	}
	if b.Store, err = provider.New(o); err != nil {
		t.Fatal(err)
	}
	return b
}

// walled are the two ways in which runs are walled in.
func walled() map[string]local.Options {
	return map[string]local.Options{"Namespaces": {}, "LandlockAlone": {Sandbox: local.SandboxAuto, Bwrap: "/nonexistent/bwrap"}}
}

// locked is a lock file that selects the time provider.
func locked(tool string, hashes ...string) []byte {
	return project.WriteLocks([]project.Lock{{Host: hosts[tool], Namespace: "hashicorp", Type: "time", Version: version, Hashes: hashes}})
}

const usesTime = `terraform {
  required_providers {
    time = { source = "hashicorp/time" }
  }
}
resource "time_static" "now" {}
`

// view asks for what a run gets.
func (b *bench) view(t testing.TB, tool string, lock []byte) provider.View {
	t.Helper()
	v, err := b.View(t.Context(), tool, kit.tools[tool], lock, nil)
	if err != nil {
		t.Fatalf("View() = %v", err)
	}
	return v
}

// spec is an execution with the configuration and the binds of a view, as a run has them.
func (b *bench) spec(t testing.TB, tool string, files map[string]string, lock []byte, v provider.View) executor.Spec {
	t.Helper()
	tree := t.TempDir()
	executortest.Write(t, filepath.Join(tree, "main.tf"), usesTime)
	for name, text := range files {
		executortest.Write(t, filepath.Join(tree, name), text)
	}
	if v.Lock != nil {
		lock = v.Lock
	}
	if lock != nil {
		executortest.Write(t, filepath.Join(tree, project.LockFile), string(lock))
	}
	path := kit.tools[tool]
	return executor.Spec{
		Name:   executor.Name(fmt.Sprintf("r%d-plan-1", b.runs.Add(1))),
		Source: executor.Source{Dir: tree, Work: "."},
		Env: []string{
			"PATH=/usr/bin:/bin", "HOME=/tmp", "TMPDIR=/tmp", "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "TF_CLI_CONFIG_FILE=" + v.Config,
		},
		Binds:   append([]executor.Bind{{Path: path}}, v.Binds...),
		Network: executor.Network{Mode: executor.NetworkNone},
		Grace:   executortest.Patience,
		Steps:   []executor.Step{initStep(path)},
	}
}

func initStep(path string) executor.Step {
	return executor.Step{Label: "init", Argv: []string{path, "init", "-input=false", "-no-color"}}
}

func planStep(path string) executor.Step {
	return executor.Step{Label: "plan", Argv: []string{path, "plan", "-input=false", "-no-color"}}
}

func sh(script string) executor.Step {
	return executor.Step{Label: "sh", Argv: []string{"/bin/sh", "-c", script}}
}

// stored is where a package lies in the store.
func (b *bench) stored(tool string) string {
	return filepath.Join(b.packages(tool), hosts[tool], "hashicorp/time", version, kit.platform)
}

// packages is the part of the store that holds it.
func (b *bench) packages(tool string) string {
	return filepath.Join(b.dir, "packages", hosts[tool]+"@hashicorp@time@"+version)
}

// eachTool runs a story with both tools.
func eachTool(t *testing.T, story func(t *testing.T, tool string)) {
	t.Helper()
	for tool := range hosts {
		t.Run(tool, func(t *testing.T) {
			t.Parallel()
			story(t, tool)
		})
	}
}
