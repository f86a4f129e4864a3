package tool_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planlatch/planlatch/testkit/pinned"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/planlatch/planlatch/tool"
)

// titles are how the tools call themselves.
var titles = map[string]string{"tofu": "OpenTofu", "terraform": "Terraform"}

func eachTool(t *testing.T, story func(t *testing.T, name string)) {
	t.Helper()
	for name := range titles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, name)
		})
	}
}

func TestDownloadedVersionsAreTheNewestThatFitAndStay(t *testing.T) {
	t.Parallel()
	eachTool(t, func(t *testing.T, name string) {
		m := newMirror(t)
		for _, v := range []string{"1.4.9", "1.5.7", "1.6.0", "1.6.2", "1.7.0-rc1"} {
			m.publish(name, v, says(titles[name], v))
		}
		f, keep := m.finder(nil)
		for _, c := range []struct {
			want tool.Want
			got  string
		}{
			{tool.Want{Name: name, Version: "1.5.7"}, "1.5.7"},
			{tool.Want{Name: name, Version: "~> 1.6.0"}, "1.6.2"},
			{tool.Want{Name: name, Required: []string{">= 1.5, < 1.6"}}, "1.5.7"},
			{tool.Want{Name: name}, "1.6.2"},
		} {
			got, err := f.Resolve(t.Context(), c.want)
			if err != nil || got.Version != c.got || got.Path != filepath.Join(keep, name, c.got, name) {
				t.Errorf("Resolve(%+v) = %+v, %v, want %s in the cache", c.want, got, err, c.got)
			}
		}
		if got, want := left(t, keep), []string{name + "/1.5.7/" + name, name + "/1.5.7/" + name + ".sha256", name + "/1.6.2/" + name, name + "/1.6.2/" + name + ".sha256"}; !slices.Equal(got, want) {
			t.Errorf("cache = %q, want %q", got, want)
		}
		m.Close() // what is in the cache needs no mirror any more
		again, err := tool.New(tool.Options{Cache: keep, Download: &tool.Download{Mirror: m.URL}})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := again.Resolve(t.Context(), tool.Want{Name: name, Version: "~> 1.6"}); err != nil || got.Version != "1.6.2" {
			t.Errorf("Resolve() without the mirror = %v, %v, want 1.6.2 of the cache", got, err)
		}
		if _, err := f.Resolve(t.Context(), tool.Want{Name: name, Version: "1.4.9"}); !errors.Is(err, tool.ErrNotAllowed) {
			t.Errorf("Resolve(1.4.9) = %v, want ErrNotAllowed", err)
		}
	})
}

func TestWhatIsWrongWithADownloadIsRefused(t *testing.T) {
	t.Parallel()
	eachTool(t, func(t *testing.T, name string) {
		const v = "1.6.2"
		dir, ext := "/tofu/v"+v+"/tofu_"+v, ".tar.gz"
		sig, index := dir+"_SHA256SUMS.gpgsig", "/tofu/api.json"
		if name == "terraform" {
			dir, ext = "/terraform/"+v+"/terraform_"+v, ".zip"
			sig, index = dir+"_SHA256SUMS.sig", "/terraform/index.json"
		}
		archive, list := dir+"_"+platform+ext, dir+"_SHA256SUMS"
		stranger, err := openpgp.NewEntity("stranger", "", "stranger@example.com", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name  string
			spoil func(m *mirror)
			want  tool.Want
			text  string
		}{
			{"Altered", func(m *mirror) { m.files[archive] = append(m.files[archive], 'x') }, tool.Want{}, "checksum"},
			{"Truncated", func(m *mirror) { m.files[archive] = m.files[archive][:len(m.files[archive])/2] }, tool.Want{}, "checksum"},
			{"ArchiveGone", func(m *mirror) { delete(m.files, archive) }, tool.Want{}, "404"},
			{"SumsGone", func(m *mirror) { delete(m.files, list) }, tool.Want{}, "404"},
			{"SignatureGone", func(m *mirror) { delete(m.files, sig) }, tool.Want{}, "404"},
			{"IndexGone", func(m *mirror) { delete(m.files, index) }, tool.Want{Version: "~> 1.6"}, "404"},
			{"IndexIsNoIndex", func(m *mirror) { m.files[index] = []byte("<html>") }, tool.Want{Version: "~> 1.6"}, "invalid character"},
			{"SumsAltered", func(m *mirror) { m.files[list] = sums(filepath.Base(archive), []byte("evil")) }, tool.Want{}, "signature"},
			{"SignedByAStranger", func(m *mirror) {
				m.key = stranger
				m.files[sig] = m.sign(m.files[list])
			}, tool.Want{}, "signature"},
			{"SignatureIsEmpty", func(m *mirror) { m.files[sig] = nil }, tool.Want{}, "signature"},
			{"SumsOfOthers", func(m *mirror) {
				m.files[list] = sums("other"+ext, m.files[archive])
				m.files[sig] = m.sign(m.files[list])
			}, tool.Want{}, "checksum found"},
			{"NeverAnswered", func(m *mirror) { m.slow = archive }, tool.Want{}, "longer than"},
			{"OldReleaseUnderANewName", func(m *mirror) { // validly signed, and not what it is called
				old := m.files
				m.files = map[string][]byte{}
				if name == "tofu" {
					m.tofu(v, says(titles[name], "1.6.0"))
				} else {
					m.terraform(v, says(titles[name], "1.6.0"))
				}
				m.files[index] = old[index]
			}, tool.Want{}, "says that it is 1.6.0"},
			{"OtherProduct", func(m *mirror) {
				if name == "tofu" {
					m.tofu(v, says("Terraform", v))
				} else {
					m.terraform(v, says("OpenTofu", v))
				}
			}, tool.Want{}, "it says that it is"},
		} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				m := newMirror(t)
				f, keep := m.finder(func(o *tool.Options) {
					if c.name == "NeverAnswered" {
						o.Download.Timeout = 300 * time.Millisecond
					}
				})
				m.publish(name, v, says(titles[name], v))
				c.spoil(m)
				c.want.Name = name
				if c.want.Version == "" {
					c.want.Version = v
				}
				got, err := f.Resolve(t.Context(), c.want)
				if !errors.Is(err, tool.ErrDownload) || !strings.Contains(strings.ToLower(err.Error()), c.text) {
					t.Errorf("Resolve() = %v, %v, want ErrDownload with %q", got, err, c.text)
				} else if !strings.Contains(err.Error(), "tools.mirror") || strings.Count(err.Error(), "\n") > 0 {
					t.Errorf("Resolve() = %q, want one line that says what to do", err)
				}
				if all := left(t, keep); len(all) > 0 {
					t.Errorf("the cache has %q, want nothing", all)
				}
			})
		}
	})
}

func TestAnAlteredDownloadIsNotUsedAgain(t *testing.T) {
	t.Parallel()
	m := newMirror(t)
	m.publish("tofu", "1.6.2", says("OpenTofu", "1.6.2"))
	f, keep := m.finder(nil)
	got, err := f.Resolve(t.Context(), tool.Want{})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(got.Path)
	if err != nil {
		t.Fatal(err)
	}
	evil := strings.Replace(string(says("OpenTofu", "1.6.2")), "echo", "ehco", 1)
	if err := errors.Join(os.Chmod(got.Path, 0o755), os.WriteFile(got.Path, []byte(evil), 0o755), os.Chtimes(got.Path, info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Resolve(t.Context(), tool.Want{}); !errors.Is(err, tool.ErrDownload) || !strings.Contains(err.Error(), "was altered since it was downloaded: remove "+filepath.Join(keep, "tofu/1.6.2")) {
		t.Errorf("Resolve() = %v, %v, want a refusal that names what to remove", got, err)
	}
}

func TestManyProcessesDownloadAVersionOnce(t *testing.T) {
	t.Parallel()
	m := newMirror(t)
	m.publish("terraform", "1.5.7", says("Terraform", "1.5.7"))
	_, keep := m.finder(nil)
	key := public(t, m.key)
	var all sync.WaitGroup
	for range 4 { // each with what a process of its own has
		f, err := tool.New(tool.Options{Cache: keep, Download: &tool.Download{Mirror: m.URL, Keys: map[string]string{"terraform": key}}})
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			all.Go(func() {
				if got, err := f.Resolve(t.Context(), tool.Want{Name: "terraform", Version: "1.5.7"}); err != nil || got.Version != "1.5.7" {
					t.Errorf("Resolve() = %v, %v", got, err)
				}
			})
		}
	}
	all.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.hits["/terraform/1.5.7/terraform_1.5.7_"+platform+".zip"]; n != 1 {
		t.Errorf("it was downloaded %d times, want once", n)
	}
}

func TestMachineComesBeforeCacheBeforeMirror(t *testing.T) {
	t.Parallel()
	m := newMirror(t)
	m.publish("tofu", "1.9.9", says("OpenTofu", "1.9.9"))
	bin := t.TempDir()
	fake(t, filepath.Join(bin, "tofu"), "OpenTofu", "1.6.0")
	f, keep := m.finder(func(o *tool.Options) { o.Path = []string{bin} })
	fake(t, filepath.Join(keep, "tofu", "1.8.0", "tofu"), "OpenTofu", "1.8.0")
	for _, want := range []struct{ constraint, version string }{{">= 1.6", "1.6.0"}, {">= 1.7", "1.8.0"}, {">= 1.9", "1.9.9"}} { // in this order: the last fills the cache
		if got, err := f.Resolve(t.Context(), tool.Want{Version: want.constraint}); err != nil || got.Version != want.version {
			t.Errorf("Resolve(%s) = %v, %v, want %s", want.constraint, got, err, want.version)
		}
	}
}

func TestWithoutDownloadTheMirrorIsNotAsked(t *testing.T) {
	t.Parallel()
	m := newMirror(t)
	m.publish("tofu", "1.9.9", says("OpenTofu", "1.9.9"))
	f, _ := m.finder(func(o *tool.Options) { o.Download = nil })
	if got, err := f.Resolve(t.Context(), tool.Want{}); !errors.Is(err, tool.ErrNotFound) {
		t.Errorf("Resolve() = %v, %v, want ErrNotFound", got, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.hits) > 0 {
		t.Errorf("the mirror was asked for %v", m.hits)
	}
}

// The tools themselves, packed as their publishers pack them.
func TestRealToolsFromAMirror(t *testing.T) {
	t.Parallel()
	m := newMirror(t)
	for name, version := range map[string]string{"tofu": "1.12.6", "terraform": "1.5.7"} {
		program, err := os.ReadFile(pinned.Path(t, name))
		if err != nil {
			t.Fatal(err)
		}
		m.publish(name, version, program)
	}
	f, _ := m.finder(nil)
	for _, want := range []tool.Want{{Name: "tofu", Version: "1.12.6"}, {Name: "terraform", Version: "1.5.7"}} {
		if got, err := f.Resolve(t.Context(), want); err != nil || got.Name != want.Name || got.Version != want.Version {
			t.Errorf("Resolve(%v) = %v, %v", want, got, err)
		}
	}
	if got, err := f.Resolve(t.Context(), tool.Want{Required: []string{"~> 1.5.0"}}); err != nil || got.String() != "terraform 1.5.7" {
		t.Errorf("Resolve(~> 1.5.0) = %v, %v, want terraform: OpenTofu never had a 1.5", got, err)
	}
}
