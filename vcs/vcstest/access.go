package vcstest

import (
	"encoding/base64"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/vcs"
)

// gitFetchesTheHead fetches with real git, a fork included, and looks for the password where it must not be.
func gitFetchesTheHead(t *testing.T, s *shared) {
	for _, c := range []struct {
		repo   vcs.Repo
		number int
		want   string
	}{{s.public, s.fork, s.pull(t, s.public, s.fork).Head.SHA}, {s.repo, s.number, s.head}} {
		remote, err := s.Host.Remote(t.Context(), c.repo)
		if err != nil {
			t.Fatalf("Remote() = %v", err)
		}
		if remote.Password == "" || strings.Contains(remote.URL, remote.Password) || strings.Contains(remote.URL, "@") {
			t.Errorf("Remote().URL = %q, want one without a credential, and a password beside it", remote.URL)
		}
		if got := fetch(t, remote, s.Host.HeadRef(c.number)); got != c.want {
			t.Errorf("git fetched %s from %s, want %s", got, s.Host.HeadRef(c.number), c.want)
		}
	}
}

// fetch fetches one ref into an empty repository and returns its commit.
func fetch(t *testing.T, from vcs.Remote, ref string) string {
	t.Helper()
	dir := t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = dir
		basic := base64.StdEncoding.EncodeToString([]byte(from.Username + ":" + from.Password))
		cmd.Env = []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull,
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.extraHeader", "GIT_CONFIG_VALUE_0=Authorization: Basic " + basic,
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "--quiet", "--bare", ".")
	git("fetch", "--quiet", from.URL, ref+":refs/heads/got")
	return git("rev-parse", "refs/heads/got")
}

func permissionRises(t *testing.T, s *shared) {
	private, public := s.repo, s.public
	person := s.World.Person(t, "person")
	ask := func(r vcs.Repo, login string) vcs.Permission {
		t.Helper()
		got, err := s.Host.Permission(t.Context(), r, login)
		if err != nil {
			t.Fatalf("Permission(%s, %q) = %v", r.Name, login, err)
		}
		return got
	}
	login := person.User().Login
	if got := ask(private, login); got != vcs.PermissionNone {
		t.Errorf("a stranger may %d in a private repository, want none", got)
	}
	if got := ask(public, login); got > vcs.PermissionRead {
		t.Errorf("a stranger may %d in a public repository, want read at most", got)
	}
	for _, nobody := range []string{"nobody-has-this-name", "", "../" + login, login + "/x", "a b", "ä"} {
		if got := ask(private, nobody); got != vcs.PermissionNone {
			t.Errorf("%q may %d, want none", nobody, got)
		}
	}
	for _, level := range []vcs.Permission{vcs.PermissionRead, vcs.PermissionWrite, vcs.PermissionAdmin} {
		s.World.Grant(t, private, person, level)
		if got := ask(private, login); got != level {
			t.Errorf("Permission() = %d, want %d as granted", got, level)
		}
	}
	private.Name, private.ID = private.Name+"-gone", "999999998"
	if got, err := s.Host.Permission(t.Context(), private, login); err == nil && got != vcs.PermissionNone {
		t.Errorf("Permission(in %s) = %d, want an error or none", private.Name, got)
	}
}

func teamMembership(t *testing.T, s *suite) {
	in, out := s.World.Person(t, "in"), s.World.Person(t, "out")
	team := s.World.Team(t, in)
	org, _, _ := strings.Cut(team, "/")
	for _, c := range []struct {
		team, login string
		want        bool
	}{
		{team, in.User().Login, true},
		{team, out.User().Login, false},
		{team, "nobody-has-this-name", false},
		{team, "", false},
		{org + "/no-such-team", in.User().Login, false},
		{"no-such-org-at-all/team", in.User().Login, false},
		{org, in.User().Login, false},
		{"", in.User().Login, false},
	} {
		got, err := s.Host.Member(t.Context(), c.team, c.login)
		if err != nil || got != c.want {
			t.Errorf("Member(%q, %q) = %v, %v, want %v", c.team, c.login, got, err, c.want)
		}
	}
}

func findsByNameAndLists(t *testing.T, s *shared) {
	r := s.repo
	got, err := s.Host.Repo(t.Context(), r.Name)
	if err != nil || got != r {
		t.Errorf("Repo(%s) = %+v, %v, want %+v", r.Name, got, err, r)
	}
	if got.DefaultBranch != "main" || !got.Private || got.ID == "" {
		t.Errorf("Repo(%s) = %+v, want a private one with branch main", r.Name, got)
	}
	list, err := s.Host.List(t.Context())
	if err != nil {
		t.Fatalf("List() = %v", err)
	}
	found := 0
	for _, l := range list {
		if l.ID == r.ID {
			found++
		}
	}
	if found != 1 {
		t.Errorf("List() has %s %d times, want once", r.Name, found)
	}
	self, err := s.Host.Self(t.Context())
	if err != nil || self.ID == "" || self.Login == "" {
		t.Errorf("Self() = %+v, %v", self, err)
	}
	level, err := s.Host.Permission(t.Context(), r, self.Login)
	if err != nil || level != vcs.PermissionAdmin {
		t.Errorf("Permission(our own account) = %d, %v, want admin", level, err)
	}
}

func branchTellsItsCommit(t *testing.T, s *shared) {
	want := s.author.Push(t, s.repo, "feature/a+b#c", "a.tf", "# a\n")
	if got, err := s.Host.Branch(t.Context(), s.repo, "feature/a+b#c"); err != nil || got != want {
		t.Errorf("Branch(feature/a+b#c) = %q, %v, want %s", got, err, want)
	}
	for _, name := range []string{"feature", "no-such", "", "../main", "refs/heads/main"} {
		if got, err := s.Host.Branch(t.Context(), s.repo, name); !errors.Is(err, vcs.ErrNotFound) {
			t.Errorf("Branch(%q) = %q, %v, want ErrNotFound", name, got, err)
		}
	}
}
