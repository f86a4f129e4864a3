package provider_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/dirhash"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/executortest"
	"github.com/planlatch/planlatch/executor/local"
	"github.com/planlatch/planlatch/provider"
)

func TestALockedProviderIsFetchedOnceAndLinkedTo(t *testing.T) {
	t.Parallel()
	for name, walls := range walled() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachTool(t, func(t *testing.T, tool string) {
				b := setup(t, walls, nil)
				lock := locked(tool, kit.sum)
				for range 2 {
					v := b.view(t, tool, lock)
					s := b.spec(t, tool, nil, lock, v)
					s.Steps = append(s.Steps, planStep(kit.tools[tool]), sh("readlink .terraform/providers/*/*/*/*/*; true"))
					r, log := executortest.Finish(t, b.exec, s)
					if !r.OK(3) || !strings.Contains(log, "time_static.now will be created") || !strings.Contains(log, b.stored(tool)+"\n") {
						t.Fatalf("%+v, want a plan whose provider is the stored one; log:\n%s", r, log)
					}
				}
				if n := b.log.count("stored a provider"); n != 1 {
					t.Errorf("it was fetched %d times, want once", n)
				}
			})
		})
	}
}

func TestWithoutALockFileNothingIsStored(t *testing.T) {
	t.Parallel()
	eachTool(t, func(t *testing.T, tool string) {
		b := setup(t, local.Options{}, nil)
		v := b.view(t, tool, nil)
		s := b.spec(t, tool, nil, nil, v)
		s.Steps = append(s.Steps, planStep(kit.tools[tool]), sh("readlink .terraform/providers/*/*/*/*/*; true"))
		r, log := executortest.Finish(t, b.exec, s)
		if !r.OK(3) || !strings.Contains(log, filepath.Join(kit.mirror, hosts[tool])) {
			t.Fatalf("%+v, want a plan whose provider is the mirror's; log:\n%s", r, log)
		}
		if _, err := os.Stat(b.stored(tool)); !os.IsNotExist(err) {
			t.Errorf("the store has a provider that no lock file names: %v", err)
		}
	})
}

// A lock file that was written on another platform, or from archives, knows a package only by the checksum of its archive.
func TestChecksumsOfArchivesAreEnough(t *testing.T) {
	t.Parallel()
	eachTool(t, func(t *testing.T, tool string) {
		b := setup(t, local.Options{}, func(o *provider.Options) { o.Mirror = kit.zips })
		lock := locked(tool, kit.zip, "zh:"+strings.Repeat("a", 64))
		v := b.view(t, tool, lock)
		if !strings.Contains(string(v.Lock), kit.sum) || !strings.Contains(string(v.Lock), kit.zip) {
			t.Fatalf("lock file of the run:\n%s\nwant %s added", v.Lock, kit.sum)
		}
		r, log := executortest.Finish(t, b.exec, b.spec(t, tool, nil, lock, v))
		if !r.OK(1) {
			t.Fatalf("%+v, log:\n%s", r, log)
		}
		// Others' checksums mean another archive, whatever is stored.
		other := locked(tool, "zh:"+strings.Repeat("b", 64))
		v = b.view(t, tool, other)
		r, log = executortest.Finish(t, b.exec, b.spec(t, tool, nil, other, v))
		if r.OK(1) || v.Lock != nil || !strings.Contains(log, "checksums") {
			t.Errorf("%+v, want a refusal by the tool; log:\n%s", r, log)
		}
	})
}

func TestATamperedPackageIsRefused(t *testing.T) {
	t.Parallel()
	eachTool(t, func(t *testing.T, tool string) {
		b := setup(t, local.Options{}, nil)
		lock := locked(tool, kit.sum)
		b.view(t, tool, lock)
		marker := filepath.Join(t.TempDir(), "ran")
		evil := filepath.Join(b.stored(tool), binary)
		if err := os.Remove(evil); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(evil, []byte("#!/bin/sh\ntouch "+marker+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		v := b.view(t, tool, lock)
		s := b.spec(t, tool, nil, lock, v)
		s.Binds = append(s.Binds, executor.Bind{Path: filepath.Dir(marker), Write: true})
		s.Steps[0].OK = []int{0, 1}
		s.Steps = append(s.Steps, planStep(kit.tools[tool]))
		r, log := executortest.Finish(t, b.exec, s)
		if r.OK(2) || !strings.Contains(strings.Join(strings.Fields(log), " "), "doesn't match any of the checksums") {
			t.Errorf("%+v, want a refusal that names checksums; log:\n%s", r, log)
		}
		if _, err := os.Stat(marker); err == nil {
			t.Error("the tampered provider ran")
		}
	})
}

func TestNothingARunDoesAltersStoreOrMirror(t *testing.T) {
	t.Parallel()
	for name, walls := range walled() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const tool = "tofu"
			modes := "" // landlock bounds what a file holds, not its mode; and the mirror is that of all tests
			if walls.Bwrap == "" {
				modes = "yes"
			}
			b := setup(t, walls, nil)
			lock := locked(tool, kit.sum)
			v := b.view(t, tool, lock)
			s := b.spec(t, tool, nil, lock, v)
			s.Steps = append(s.Steps, sh(`
				for dir in "$STORE" "$MIRROR" "$(readlink .terraform/providers/*/*/*/*/*)" .terraform/providers/*/*/*/*/*; do
					echo "in $dir"
					echo evil >"$dir/`+binary+`"; echo evil >>"$dir/`+binary+`"; echo evil >"$dir/added"; mkdir "$dir/made"
					[ -z "$MODES" ] || chmod 0777 "$dir" "$dir/`+binary+`"; rm -f "$dir/`+binary+`" "$dir/LICENSE.txt"; mv "$dir" "$dir.gone"; rmdir "$dir"
					ln -s /tmp "$dir/link"; touch "$dir/LICENSE.txt"
				done
				echo evil >"$TF_CLI_CONFIG_FILE"; rm -f "$TF_CLI_CONFIG_FILE"; echo x >"${STORE%/*}/linux_other"; mkdir -p "$PACKAGES/evil.example/a/b"
				exit 0`))
			s.Env = append(s.Env, "MODES="+modes, "STORE="+b.stored(tool), "PACKAGES="+b.packages(tool),
				"MIRROR="+filepath.Join(kit.mirror, hosts[tool], "hashicorp/time", version, kit.platform))
			before := digests(t, modes != "", b.dir, kit.mirror)
			r, log := executortest.Finish(t, b.exec, s)
			if !r.OK(2) || strings.Count(log, "in /") < 3 {
				t.Fatalf("%+v, log:\n%s", r, log)
			}
			if after := digests(t, modes != "", b.dir, kit.mirror); after != before {
				t.Errorf("a run changed store or mirror:\nbefore:\n%s\nafter:\n%s\nlog:\n%s", before, after, log)
			}
			// And the next run still gets the real one.
			s = b.spec(t, tool, nil, lock, b.view(t, tool, lock))
			s.Steps = append(s.Steps, planStep(kit.tools[tool]))
			if r, log := executortest.Finish(t, b.exec, s); !r.OK(2) {
				t.Errorf("%+v, log:\n%s", r, log)
			}
		})
	}
}

// digests stands for all that lies in directories.
func digests(t *testing.T, modes bool, dirs ...string) string {
	t.Helper()
	var all strings.Builder
	for _, dir := range dirs {
		err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
			if err == nil && modes {
				all.WriteString(info.Mode().String() + " ")
			}
			all.WriteString(path + "\n")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		sum, err := dirhash.HashDir(dir, "", dirhash.Hash1)
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(sum + "\n")
	}
	return all.String()
}

// A repository plants a program where the tools look for providers when nothing tells them where to look. The control shows that the plant
// would run.
func TestProvidersAndSettingsInARepositoryHaveNoEffect(t *testing.T) {
	t.Parallel()
	eachTool(t, func(t *testing.T, tool string) {
		b := setup(t, local.Options{}, nil)
		out := t.TempDir()
		plant := "#!/bin/sh\ntouch " + out + "/ran\n"
		settings := "provider_installation {\n  filesystem_mirror {\n    path = \"evil\"\n  }\n}\nplugin_cache_dir = \"evil\"\n"
		files := map[string]string{".tofurc": settings, "tofu.rc": settings, ".terraformrc": settings, "terraform.rc": settings}
		for _, dir := range []string{"terraform.d/plugins", "evil", ".terraform/plugins", ".terraform/providers"} {
			files[filepath.Join(dir, hosts[tool], "hashicorp/time", version, kit.platform, "terraform-provider-time")] = plant
		}
		run := func(lock []byte, config string) (executor.Result, string) {
			v := b.view(t, tool, lock)
			s := b.spec(t, tool, files, lock, v)
			s.Binds = append(s.Binds, executor.Bind{Path: out, Write: true})
			if config != "" {
				s.Env[len(s.Env)-1] = "TF_CLI_CONFIG_FILE=" + config
			}
			s.Steps = []executor.Step{sh("chmod -R +x terraform.d evil .terraform"), initStep(kit.tools[tool]), planStep(kit.tools[tool])}
			return executortest.Finish(t, b.exec, s)
		}
		for name, lock := range map[string][]byte{"Locked": locked(tool, kit.sum), "Unlocked": nil} {
			if r, log := run(lock, ""); !r.OK(3) || !strings.Contains(log, "time_static.now will be created") {
				t.Errorf("%s: %+v, want a plan by the real provider; log:\n%s", name, r, log)
			}
			if _, err := os.Stat(filepath.Join(out, "ran")); err == nil {
				t.Fatalf("%s: the planted provider ran", name)
			}
		}
		_, log := run(nil, "/dev/null")
		if _, err := os.Stat(filepath.Join(out, "ran")); err != nil {
			t.Errorf("without our CLI configuration the plant did not run either, so this test shows nothing: %v; log:\n%s", err, log)
		}
	})
}

func TestWhatCannotBeFetchedIsLeftToTheRun(t *testing.T) {
	t.Parallel()
	eachTool(t, func(t *testing.T, tool string) {
		b := setup(t, local.Options{}, func(o *provider.Options) { o.Mirror = t.TempDir() })
		lock := locked(tool, kit.sum)
		for range 3 {
			v := b.view(t, tool, lock)
			r, log := executortest.Finish(t, b.exec, b.spec(t, tool, nil, lock, v))
			if r.OK(1) || !strings.Contains(log, "hashicorp/time") || v.Lock != nil {
				t.Errorf("%+v, want the tool's own complaint; log:\n%s", r, log)
			}
		}
		names, err := b.exec.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			if strings.HasPrefix(string(n), "providers-") {
				t.Errorf("the execution %s of a failed fetch is still there", n)
			}
		}
		if n := b.log.count("not tried again before"); n != 2 {
			t.Errorf("a failure was remembered %d times, want twice", n)
		}
		if left, err := os.ReadDir(filepath.Join(b.dir, "incoming")); err != nil || len(left) != 0 {
			t.Errorf("incoming = %v, %v, want nothing", left, err)
		}
	})
}

func TestALockFileNobodyCanReadIsLeftToTheTool(t *testing.T) {
	t.Parallel()
	b := setup(t, local.Options{}, nil)
	v := b.view(t, "tofu", []byte(`provider "../../../etc/x" { version = "1.0.0" }`))
	if v.Lock != nil || v.Config == "" {
		t.Errorf("View() = %+v, want the mirror alone", v)
	}
}
