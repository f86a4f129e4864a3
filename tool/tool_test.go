package tool_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planlatch/planlatch/testkit/pinned"

	"github.com/planlatch/planlatch/tool"
)

// fake writes a program that says it is a product of a version, and notes each run in a file beside it.
func fake(t *testing.T, path, title, version string) string {
	t.Helper()
	return script(t, path, fmt.Sprintf("echo run >> %q\necho '%s v%s'\necho 'on linux_amd64'\n", path+".runs", title, version))
}

func script(t *testing.T, path, body string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	// Written under another name and renamed, so that it is another file for who looks whether it has changed.
	if err := os.WriteFile(path+".new", []byte("#!/bin/sh\n"+body), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}

func runs(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path + ".runs")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Count(string(text), "run")
}

// bench is a machine with two directories of tools and a cache.
type bench struct {
	finder         *tool.Finder
	bin, opt, keep string
}

func setup(t *testing.T, change func(*tool.Options)) bench {
	t.Helper()
	root := t.TempDir()
	b := bench{bin: filepath.Join(root, "bin"), opt: filepath.Join(root, "opt"), keep: filepath.Join(root, "cache")}
	fake(t, filepath.Join(b.bin, "tofu"), "OpenTofu", "1.9.0")
	fake(t, filepath.Join(b.opt, "tofu"), "OpenTofu", "1.12.6")
	fake(t, filepath.Join(b.bin, "terraform"), "Terraform", "1.5.7")
	for _, v := range []string{"1.5.7", "1.6.2", "1.12.6", "1.13.0"} {
		fake(t, filepath.Join(b.keep, "tofu", v, "tofu"), "OpenTofu", v)
	}
	fake(t, filepath.Join(b.keep, "terraform", "1.9.0", "terraform"), "Terraform", "1.9.0")
	fake(t, filepath.Join(b.keep, "terraform", "1.4.0", "terraform"), "Terraform", "1.4.0")
	o := tool.Options{
		Path: []string{"", ".", filepath.Join(root, "absent"), b.bin, b.opt}, Cache: b.keep, Allow: ">= 1.5",
		Default: tool.Want{Name: "tofu", Version: "~> 1.12"},
	}
	if change != nil {
		change(&o)
	}
	var err error
	if b.finder, err = tool.New(o); err != nil {
		t.Fatalf("New() = %v", err)
	}
	return b
}

func TestResolve(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	tests := []struct {
		name string
		want tool.Want
		tool string
		path string
	}{
		{"DefaultOfTheServer", tool.Want{}, "tofu 1.12.6", filepath.Join(b.opt, "tofu")},
		{"ExactPin", tool.Want{Name: "tofu", Version: "1.9.0"}, "tofu 1.9.0", filepath.Join(b.bin, "tofu")},
		{"ExactPinOnlyInTheCache", tool.Want{Name: "tofu", Version: "1.6.2"}, "tofu 1.6.2", filepath.Join(b.keep, "tofu/1.6.2/tofu")},
		{"Constraint", tool.Want{Version: "~> 1.6.0"}, "tofu 1.6.2", filepath.Join(b.keep, "tofu/1.6.2/tofu")},
		{"NewestOfTheMachineBeforeTheCache", tool.Want{Version: ">= 1.6"}, "tofu 1.12.6", filepath.Join(b.opt, "tofu")},
		{"RequiredVersion", tool.Want{Required: []string{">= 1.6", "< 1.10"}}, "tofu 1.9.0", filepath.Join(b.bin, "tofu")},
		{"PinAndRequiredHoldTogether", tool.Want{Version: ">= 1.6", Required: []string{"!= 1.12.6"}}, "tofu 1.9.0", filepath.Join(b.bin, "tofu")},
		{"EmptyRequiredSaysNothing", tool.Want{Required: []string{" "}}, "tofu 1.12.6", filepath.Join(b.opt, "tofu")},
		{"TerraformOfTheVersionTofuAlsoHas", tool.Want{Name: "terraform", Version: "1.5.7"}, "terraform 1.5.7", filepath.Join(b.bin, "terraform")},
		{"TofuOfTheVersionTerraformAlsoHas", tool.Want{Name: "tofu", Version: "1.5.7"}, "tofu 1.5.7", filepath.Join(b.keep, "tofu/1.5.7/tofu")},
		{"DefaultVersionIsNotForTheOtherTool", tool.Want{Name: "terraform"}, "terraform 1.5.7", filepath.Join(b.bin, "terraform")},
		{"TerraformInTheCache", tool.Want{Name: "terraform", Version: "1.9.0"}, "terraform 1.9.0", filepath.Join(b.keep, "terraform/1.9.0/terraform")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := b.finder.Resolve(t.Context(), tt.want)
			if err != nil || got.String() != tt.tool || got.Path != tt.path {
				t.Errorf("Resolve(%+v) = %+v, %v, want %s at %s", tt.want, got, err, tt.tool, tt.path)
			}
		})
	}
}

func TestResolveSaysWhatIsMissingAndWhatToDo(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	script(t, filepath.Join(b.opt, "terraform"), "exit 3\n")
	tests := []struct {
		name string
		want tool.Want
		err  error
		text []string
	}{
		{"NoSuchVersion", tool.Want{Version: "1.99.0"}, tool.ErrNotFound, []string{"tofu 1.99.0 is asked for", "bin/tofu (1.9.0)", "opt/tofu (1.12.6)", "the directories of PATH", "install it there"}},
		{"BrokenBinaryIsNamed", tool.Want{Name: "terraform", Version: "1.99.0"}, tool.ErrNotFound, []string{"opt/terraform (it says no version and fails: exit status 3)"}},
		{"PinContradictsCode", tool.Want{Version: "1.9.0", Required: []string{">= 1.12"}}, tool.ErrNotFound, []string{"1.9.0,>= 1.12"}},
		{"PinOutsideAllow", tool.Want{Name: "terraform", Version: "1.4.0"}, tool.ErrNotAllowed, []string{"terraform 1.4.0 is pinned, but this server allows >= 1.5", "tools.allow"}},
		{"NameUnknown", tool.Want{Name: "terragrunt"}, tool.ErrInvalid, []string{"write tofu or terraform"}},
		{"NameIsAPath", tool.Want{Name: "../tofu"}, tool.ErrInvalid, nil},
		{"VersionUnreadable", tool.Want{Version: "newest"}, tool.ErrInvalid, []string{`"newest" is not a version or constraint`}},
		{"VersionIsAPath", tool.Want{Version: "../../bin"}, tool.ErrInvalid, nil},
		{"RequiredUnreadable", tool.Want{Required: []string{"x"}}, tool.ErrInvalid, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := b.finder.Resolve(t.Context(), tt.want)
			if !errors.Is(err, tt.err) {
				t.Fatalf("Resolve(%+v) = %v, %v, want %v", tt.want, got, err, tt.err)
			}
			for _, text := range tt.text {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("Resolve(%+v) = %q, want %q in it", tt.want, err, text)
				}
			}
		})
	}
}

func TestConstraintCannotReachWhatTheServerDoesNotAllow(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *tool.Options) { o.Allow = ">= 1.10" })
	_, err := b.finder.Resolve(t.Context(), tool.Want{Version: "~> 1.9.0"})
	if !errors.Is(err, tool.ErrNotAllowed) || !strings.Contains(err.Error(), "this server allows >= 1.10") {
		t.Errorf("Resolve(~> 1.9.0) = %v, want ErrNotAllowed", err)
	}
	if got, err := b.finder.Resolve(t.Context(), tool.Want{Version: ">= 1.6"}); err != nil || got.Version != "1.12.6" {
		t.Errorf("Resolve(>= 1.6) = %v, %v, want 1.12.6", got, err)
	}
}

func TestProductIsToldByTheBinaryNotByItsName(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	fake(t, filepath.Join(b.opt, "terraform"), "OpenTofu", "1.8.0")
	fake(t, filepath.Join(b.keep, "terraform", "1.8.0", "terraform"), "OpenTofu", "1.8.0")
	_, err := b.finder.Resolve(t.Context(), tool.Want{Name: "terraform", Version: "1.8.0"})
	if !errors.Is(err, tool.ErrNotFound) || !strings.Contains(err.Error(), "it says that it is OpenTofu 1.8.0") {
		t.Errorf("Resolve(terraform 1.8.0) = %v, want ErrNotFound naming the impostor", err)
	}
}

func TestFixedBinaryIsAskedFirst(t *testing.T) {
	t.Parallel()
	path := fake(t, filepath.Join(t.TempDir(), "mine"), "OpenTofu", "1.12.1")
	b := setup(t, func(o *tool.Options) { o.Fixed = map[string]string{"tofu": path} })
	if got, err := b.finder.Resolve(t.Context(), tool.Want{}); err != nil || got.Path != path {
		t.Errorf("Resolve() = %+v, %v, want %s", got, err, path)
	}
	if got, err := b.finder.Resolve(t.Context(), tool.Want{Version: "1.9.0"}); err != nil || got.Version != "1.9.0" {
		t.Errorf("Resolve(1.9.0) = %+v, %v, want the machine's", got, err)
	}
}

func TestSymbolicLinksAreResolved(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	target := fake(t, filepath.Join(t.TempDir(), "tofu-1.11.0"), "OpenTofu", "1.11.0")
	if err := os.Remove(filepath.Join(b.opt, "tofu")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, filepath.Join(b.opt, "tofu")); err != nil {
		t.Fatal(err)
	}
	if got, err := b.finder.Resolve(t.Context(), tool.Want{Version: "1.11.0"}); err != nil || got.Path != target {
		t.Errorf("Resolve(1.11.0) = %+v, %v, want %s", got, err, target)
	}
}

func TestBinaryIsRunOnceUntilItChanges(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	path := filepath.Join(b.bin, "tofu")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := b.finder.Resolve(t.Context(), tool.Want{Version: "1.9.0"}); err != nil {
				t.Errorf("Resolve(1.9.0) = %v", err)
			}
		})
	}
	wg.Wait()
	if got := runs(t, path); got != 1 {
		t.Errorf("binary ran %d times for 20 look-ups, want 1", got)
	}
	if got := runs(t, filepath.Join(b.keep, "tofu/1.6.2/tofu")); got != 0 {
		t.Errorf("cached binary of another version ran %d times, want 0", got)
	}
	fake(t, path, "OpenTofu", "1.10.10")
	if got, err := b.finder.Resolve(t.Context(), tool.Want{Version: "1.10.10"}); err != nil || got.Path != path {
		t.Errorf("Resolve(1.10.10) after an upgrade = %+v, %v, want %s", got, err, path)
	}
}

// A process that another goroutine starts while a program is written has it open for writing for a moment.
func TestABusyBinaryIsRunOnceItIsFree(t *testing.T) {
	t.Parallel()
	path := fake(t, filepath.Join(t.TempDir(), "mine"), "OpenTofu", "1.12.1")
	writer, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(200*time.Millisecond, func() { _ = writer.Close() }) // nothing was written
	b := setup(t, func(o *tool.Options) { o.Fixed = map[string]string{"tofu": path} })
	if got, err := b.finder.Resolve(t.Context(), tool.Want{}); err != nil || got.Path != path {
		t.Errorf("Resolve() = %+v, %v, want %s", got, err, path)
	}
}

func TestBinaryGetsNothingOfOurEnvironment(t *testing.T) {
	t.Setenv("PLANLATCH_CANARY", "canary-value")
	dir := t.TempDir()
	out := filepath.Join(dir, "env")
	script(t, filepath.Join(dir, "tofu"), fmt.Sprintf("env > %q\necho 'OpenTofu v1.12.0'\n", out))
	f, err := tool.New(tool.Options{Path: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Resolve(t.Context(), tool.Want{}); err != nil {
		t.Fatalf("Resolve() = %v", err)
	}
	env, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(env), "canary") || !strings.Contains(string(env), "TF_CLI_CONFIG_FILE=/dev/null") {
		t.Errorf("environment of the binary:\n%s", env)
	}
}

func TestEndedContextIsNotRememberedAsAFault(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.finder.Resolve(ended, tool.Want{Version: "1.9.0"}); !errors.Is(err, context.Canceled) {
		t.Errorf("Resolve() = %v, want context.Canceled", err)
	}
	if got, err := b.finder.Resolve(t.Context(), tool.Want{Version: "1.9.0"}); err != nil || got.Version != "1.9.0" {
		t.Errorf("Resolve() after = %v, %v, want 1.9.0", got, err)
	}
}

func TestOptionsAreJudgedAtOnce(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]tool.Options{
		"Allow":          {Allow: "newest"},
		"DefaultVersion": {Default: tool.Want{Version: "x"}},
		"DefaultName":    {Default: tool.Want{Name: "x"}},
	} {
		if _, err := tool.New(o); !errors.Is(err, tool.ErrInvalid) {
			t.Errorf("New(%s) = %v, want ErrInvalid", name, err)
		}
	}
}

func TestRealTofu(t *testing.T) {
	t.Parallel()
	path := pinned.Path(t, "tofu")
	f, err := tool.New(tool.Options{Path: []string{filepath.Dir(path)}, Allow: ">=1.5", Default: tool.Want{Name: "tofu", Version: "~> 1.12"}})
	if err != nil {
		t.Fatal(err)
	}
	first, err := f.Resolve(t.Context(), tool.Want{})
	if err != nil || first.Name != "tofu" || !strings.HasPrefix(first.Version, "1.12.") {
		t.Fatalf("Resolve() = %+v, %v, want tofu 1.12", first, err)
	}
	// It takes longer than this to start; on a busy machine some look-ups do, too.
	const start = 20 * time.Millisecond
	for begun, took := time.Now(), start; took >= start; {
		if time.Since(begun) > time.Minute {
			t.Fatalf("each Resolve(%s) takes %s, want it not to run the binary", first.Version, took)
		}
		asked := time.Now()
		again, err := f.Resolve(t.Context(), tool.Want{Name: "tofu", Version: first.Version})
		if took = time.Since(asked); err != nil || again != first {
			t.Fatalf("Resolve(%s) = %+v, %v, want the same", first.Version, again, err)
		}
	}
	if all, err := f.Available(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("Available() = %v, %v, want the one", all, err)
	}
}
