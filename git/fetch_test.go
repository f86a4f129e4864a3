package git_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/vcs"
)

func TestFetch(t *testing.T) {
	t.Parallel()

	t.Run("brings refs and commits", func(t *testing.T) {
		t.Parallel()
		o := newOrigin(t)
		a := o.commit("a", map[string]string{"f": "a"})
		b := o.commit("b", map[string]string{"f": "b"})
		o.git("update-ref", "refs/pull/7/head", a)
		m := newMirrors(t).Repo("gitea", "1")
		if has, err := m.Has(t.Context(), a); has || err != nil {
			t.Errorf("Has() before the first fetch = %v, %v, want false", has, err)
		}
		if err := m.Fetch(t.Context(), o.remote(), "refs/heads/main", "refs/pull/7/head"); err != nil {
			t.Fatalf("Fetch() = %v", err)
		}
		for ref, want := range map[string]string{"refs/heads/main": b, "refs/pull/7/head": a} {
			if got, err := m.Resolve(t.Context(), ref); got != want || err != nil {
				t.Errorf("Resolve(%s) = %s, %v, want %s", ref, got, err, want)
			}
		}
		if has, err := m.Has(t.Context(), a); !has || err != nil {
			t.Errorf("Has() = %v, %v, want true", has, err)
		}
	})
	t.Run("follows a force push and a branch that became a directory", func(t *testing.T) {
		t.Parallel()
		o := newOrigin(t)
		o.commit("a", map[string]string{"f": "a"})
		o.git("branch", "x")
		m := newMirrors(t).Repo("gitea", "1")
		if err := m.Fetch(t.Context(), o.remote(), "refs/heads/x", "refs/heads/main"); err != nil {
			t.Fatalf("Fetch() = %v", err)
		}
		o.git("branch", "-D", "x")
		o.git("commit", "--quiet", "--amend", "--message", "other")
		o.git("branch", "x/y")
		if err := m.Fetch(t.Context(), o.remote(), "refs/heads/x/y", "refs/heads/main"); err != nil {
			t.Fatalf("Fetch() = %v", err)
		}
		if got, err := m.Resolve(t.Context(), "refs/heads/main"); got != o.git("rev-parse", "main") || err != nil {
			t.Errorf("Resolve() = %s, %v, want the new commit", got, err)
		}
	})
	t.Run("of a commit that is here asks nobody", func(t *testing.T) {
		t.Parallel()
		o := newOrigin(t)
		a := o.commit("a", nil)
		m := mirrorOf(t, o, a)
		if err := m.Fetch(t.Context(), vcs.Remote{URL: "http://127.0.0.1:1/gone"}, a); err != nil {
			t.Errorf("Fetch() = %v, want nil", err)
		}
	})
	t.Run("says what the remote does not have", func(t *testing.T) {
		t.Parallel()
		o := newOrigin(t)
		a := o.commit("a", nil)
		m := newMirrors(t).Repo("gitea", "1")
		for _, ref := range []string{"refs/pull/9/head", strings.Repeat("3", 40)} {
			err := m.Fetch(t.Context(), o.remote(), a, ref)
			if !errors.Is(err, git.ErrRef) || !strings.Contains(err.Error(), ref) {
				t.Errorf("Fetch(%s) = %v, want ErrRef with its name", ref, err)
			}
		}
	})
	t.Run("refuses what is not a ref", func(t *testing.T) {
		t.Parallel()
		m := newMirrors(t).Repo("gitea", "1")
		for _, ref := range []string{"", "main", "--upload-pack=touch /tmp/x", "refs/heads/a b", "refs/heads/a:refs/heads/b", "refs/heads/*",
			"refs/heads/a\nrefs/heads/b", "refs/../x", "refs/heads/.x", "refs/heads/x.lock", "+refs/heads/x"} {
			if err := m.Fetch(t.Context(), vcs.Remote{URL: "/nowhere"}, ref); err == nil || !strings.Contains(err.Error(), "neither") {
				t.Errorf("Fetch(%q) = %v, want it refused", ref, err)
			}
		}
	})
	t.Run("refuses other protocols and credentials in the address", func(t *testing.T) {
		t.Parallel()
		m := git.New(git.Options{Dir: t.TempDir()}).Repo("gitea", "1")
		for _, u := range []string{"ssh://git@host/x", "git@host:x", "ext::sh -c id", "file:///etc", "/etc", "https://u:canary-4711@host/x", "https:///x", ""} {
			err := m.Fetch(t.Context(), vcs.Remote{URL: u}, "refs/heads/main")
			if err == nil || strings.Contains(err.Error(), "canary-4711") {
				t.Errorf("Fetch(%q) = %v, want an error without the password", u, err)
			}
		}
	})
	t.Run("ends with its context", func(t *testing.T) {
		t.Parallel()
		asked, hang := make(chan struct{}), make(chan struct{})
		var once sync.Once
		s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { once.Do(func() { close(asked) }); <-hang }))
		defer s.Close()
		defer close(hang)
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("server stops")
		go func() { <-asked; cancel(why) }()
		if err := newMirrors(t).Repo("gitea", "1").Fetch(ctx, vcs.Remote{URL: s.URL + "/x"}, "refs/heads/main"); !errors.Is(err, why) {
			t.Errorf("Fetch() = %v, want %v", err, why)
		}
	})
	t.Run("has a time limit of its own", func(t *testing.T) {
		t.Parallel()
		hang := make(chan struct{})
		s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
		defer s.Close()
		defer close(hang)
		m := git.New(git.Options{Dir: t.TempDir(), Timeout: 100 * time.Millisecond}).Repo("gitea", "1")
		err := m.Fetch(t.Context(), vcs.Remote{URL: s.URL + "/x"}, "refs/heads/main")
		if err == nil || !strings.Contains(err.Error(), "took longer than 100ms") {
			t.Errorf("Fetch() = %v, want a time-out", err)
		}
	})
	t.Run("goes on where a killed one left locks", func(t *testing.T) {
		t.Parallel()
		o := newOrigin(t)
		m := mirrorOf(t, o, o.commit("a", nil))
		for _, name := range []string{"packed-refs.lock", "refs/planlatch/x.lock", "objects/pack/tmp_pack_1"} {
			if err := os.WriteFile(filepath.Join(m.Dir(), name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.Fetch(t.Context(), o.remote(), o.commit("b", nil)); err != nil {
			t.Errorf("Fetch() = %v", err)
		}
	})
	t.Run("by many at once keeps the mirror whole", func(t *testing.T) {
		t.Parallel()
		o := newOrigin(t)
		var commits []string
		for _, n := range []string{"a", "b", "c", "d", "e", "f"} {
			commits = append(commits, o.commit(n, map[string]string{n: n}))
		}
		dir := filepath.Join(t.TempDir(), "mirrors")
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				// Each has its own Mirrors, so that only the lock between processes is left.
				m := git.New(git.Options{Dir: dir, AllowFile: true}).Repo("gitea", "1")
				if err := m.Fetch(t.Context(), o.remote(), commits[i%len(commits)], "refs/heads/main"); err != nil {
					t.Errorf("Fetch() = %v", err)
				}
			})
		}
		wg.Wait()
		out, err := exec.Command("git", "--git-dir="+git.New(git.Options{Dir: dir}).Repo("gitea", "1").Dir(), "fsck", "--strict").CombinedOutput()
		if err != nil {
			t.Errorf("git fsck = %v: %s", err, out)
		}
	})
	t.Run("needs no rights but those to its directory", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(dir, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		err := git.New(git.Options{Dir: dir, AllowFile: true}).Repo("gitea", "1").Fetch(t.Context(), vcs.Remote{URL: "/x"}, "refs/heads/main")
		if err == nil || !strings.Contains(err.Error(), "make the directory of mirrors") {
			t.Errorf("Fetch() = %v, want it to name the directory", err)
		}
	})
}

// host serves an origin over HTTP to those who know the password, and looks around during each request.
func host(t *testing.T, o *origin, user, password string, look func(r *http.Request)) *httptest.Server {
	t.Helper()
	exec, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(exec)), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + o.dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null"},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		look(r)
		if u, p, ok := r.BasicAuth(); password != "" && (!ok || u != user || p != password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		r.Header.Del("Authorization") // CGI would put it into the environment of the backend
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestFetchKeepsTheCredentialToItself(t *testing.T) {
	t.Parallel()
	const canary = "canary-8c1f'\"$x `%s\\n"
	o := newOrigin(t)
	head := o.commit("a", map[string]string{"f": "a"})
	seen, withPassword := 0, 0
	var mu sync.Mutex
	s := host(t, o, "robot", canary, func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if _, _, ok := r.BasicAuth(); ok {
			withPassword++
		}
		for _, file := range []string{"cmdline", "environ"} {
			names, err := filepath.Glob("/proc/[0-9]*/" + file)
			if err != nil {
				t.Error(err)
			}
			for _, name := range names {
				content, err := os.ReadFile(name)
				if err != nil {
					continue // another user's, or ended meanwhile
				}
				seen++
				if strings.Contains(string(content), "canary-8c1f") {
					t.Errorf("%s shows the password: %q", name, content)
				}
			}
		}
	})
	dir := t.TempDir()
	m := git.New(git.Options{Dir: dir}).Repo("gitea", "1")
	r := vcs.Remote{URL: s.URL + "/.git", Username: "robot", Password: canary}
	if err := m.Fetch(t.Context(), r, "refs/heads/main"); err != nil {
		t.Fatalf("Fetch() = %v", err)
	}
	if got, err := m.Resolve(t.Context(), "refs/heads/main"); got != head || err != nil {
		t.Errorf("Resolve() = %s, %v, want %s", got, err, head)
	}
	mu.Lock()
	if withPassword == 0 || seen == 0 {
		t.Errorf("looked at %d processes, %d requests had a password; want some of both", seen, withPassword)
	}
	mu.Unlock()
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(name)
		if strings.Contains(string(content), "canary-8c1f") {
			t.Errorf("%s holds the password", name)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}

	t.Run("and says so when it is wrong", func(t *testing.T) {
		r := vcs.Remote{URL: s.URL + "/.git", Username: "robot", Password: "wrong-canary"}
		err := m.Fetch(t.Context(), r, "refs/heads/main")
		if !errors.Is(err, git.ErrAuth) || strings.Contains(err.Error(), "wrong-canary") {
			t.Errorf("Fetch() = %v, want ErrAuth without the password", err)
		}
	})
	t.Run("and says so when there is none", func(t *testing.T) {
		if err := m.Fetch(t.Context(), vcs.Remote{URL: s.URL + "/.git"}, "refs/heads/main"); !errors.Is(err, git.ErrAuth) {
			t.Errorf("Fetch() = %v, want ErrAuth", err)
		}
	})
	t.Run("and takes none with a line break", func(t *testing.T) {
		r := vcs.Remote{URL: s.URL + "/.git", Username: "robot", Password: "x\nhost=evil"}
		if err := m.Fetch(t.Context(), r, "refs/heads/main"); err == nil || !strings.Contains(err.Error(), "line break") {
			t.Errorf("Fetch() = %v, want it refused", err)
		}
	})
}

func TestFetchGivesTheCredentialToNoOtherHost(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.commit("a", nil)
	var got []string
	var mu sync.Mutex
	other := host(t, o, "robot", "secret-password", func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, r.Header.Get("Authorization"))
	})
	from := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.RequestURI(), http.StatusFound)
	}))
	defer from.Close()
	r := vcs.Remote{URL: from.URL + "/.git", Username: "robot", Password: "secret-password"}
	err := newMirrors(t).Repo("gitea", "1").Fetch(t.Context(), r, "refs/heads/main")
	if !errors.Is(err, git.ErrAuth) {
		t.Errorf("Fetch() = %v, want ErrAuth", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(got) == 0 || slices.ContainsFunc(got, func(h string) bool { return h != "" }) {
		t.Errorf("the other host was asked with %q, want it asked without a credential", got)
	}
}

func TestRepoNamesTheMirrorByNothingAPullRequestChooses(t *testing.T) {
	t.Parallel()
	ms := newMirrors(t)
	if ms.Repo("a", "bc").Dir() == ms.Repo("ab", "c").Dir() {
		t.Error("two repositories share a mirror")
	}
	if first, again := ms.Repo("a", "1"), ms.Repo("a", "1"); first != again {
		t.Error("Repo() returned two mirrors for one repository, which would not wait for each other")
	}
	if name := filepath.Base(ms.Repo("x", "../../etc").Dir()); len(name) != 36 || strings.Contains(name, "..g") {
		t.Errorf("mirror is named %q, want a hash", name)
	}
}

func TestMaintainKeepsWhatWasFetched(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	a := o.commit("a", map[string]string{"f": "a"})
	m := mirrorOf(t, o, a)
	if err := m.Maintain(t.Context()); err != nil {
		t.Fatalf("Maintain() = %v", err)
	}
	if has, err := m.Has(t.Context(), a); !has || err != nil {
		t.Errorf("Has() = %v, %v, want true", has, err)
	}
}

func TestCheckFindsGit(t *testing.T) {
	t.Parallel()
	if v, err := newMirrors(t).Check(t.Context()); err != nil || !strings.HasPrefix(v, "2.") {
		t.Errorf("Check() = %q, %v, want a version", v, err)
	}
	if _, err := git.New(git.Options{Git: "/nonexistent/git"}).Check(t.Context()); err == nil {
		t.Error("Check() = nil for a git that is not there")
	}
	old, err := filepath.Abs("testdata/git-2.30")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := git.New(git.Options{Git: old}).Check(t.Context()); err == nil || !strings.Contains(err.Error(), "2.39") {
		t.Errorf("Check() = %v, want the version that is needed", err)
	}
}
