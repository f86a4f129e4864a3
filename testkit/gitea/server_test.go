package gitea_test

import (
	"testing"
	"time"

	"github.com/planlatch/planlatch/testkit/gitea"
)

func TestPullRequestLifeOnARealServer(t *testing.T) {
	t.Parallel()
	s := gitea.Shared(t)
	alice, bob := s.CreateUser(t, s.Unique("alice")), s.CreateUser(t, s.Unique("bob"))
	repo := alice.CreateRepo(t, alice.Login, "infra")
	alice.AddCollaborator(t, repo, bob, "write")
	alice.Push(t, repo, gitea.Change{Branch: "main", Files: map[string]string{"README.md": "hello\n"}})
	head := bob.Push(t, repo, gitea.Change{Branch: "change", Files: map[string]string{"a/main.tf": "# one\n"}, Message: "One"})
	number := bob.OpenPull(t, repo, "change", "main", "One")

	alice.Review(t, repo, number, gitea.Approve, "")
	alice.SetStatus(t, repo, head, "ci/build", "success")
	alice.Comment(t, repo, number, "fine")
	if got := alice.Comments(t, repo, number); len(got) != 1 || got[0].Body != "fine" || got[0].By != alice.Login {
		t.Errorf("Comments() = %+v, want the one by %s", got, alice.Login)
	}
	if got := bob.Statuses(t, repo, head)["ci/build"].State; got != "success" {
		t.Errorf("Statuses()[ci/build] = %q, want success", got)
	}
	merge := alice.Merge(t, repo, number, gitea.MergeCommit)
	if got := alice.Branch(t, repo, "main"); got != merge {
		t.Errorf("Branch(main) = %s, want the merge commit %s", got, merge)
	}
}

func TestStartEndsWithTheTest(t *testing.T) {
	t.Parallel()
	began := time.Now()
	var url string
	t.Run("inner", func(t *testing.T) {
		s := gitea.Start(t)
		url = s.URL
		t.Logf("ready after %s", time.Since(began))
		s.CreateUser(t, "alice")
	})
	if gitea.Answers(url) {
		t.Errorf("the server at %s still answers after its test", url)
	}
}
