package app_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/testkit/gitlab"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/fakehost"
)

func TestDoctorSpeaksToGitLab(t *testing.T) {
	t.Parallel()
	w := gitlab.NewWorld(t)
	repo, a := w.Repo(t, true), w.Account()
	weak, err := w.Host.CreateUser("developer", fakehost.None)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Host.SetPermission(repo.Name, weak.Login, fakehost.Write); err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]string{
		a.Token:    "ok    vcs gitlab     speaks as " + a.Login + "; repositories allowed: 1.",
		weak.Token: "FAIL  vcs gitlab     developer is no Maintainer of " + repo.Name,
		"nonsense": "FAIL  vcs gitlab     gitlab: who am I: " + vcs.ErrDenied.Error(),
	} {
		file, _ := write(t, fmt.Sprintf("listen: 127.0.0.1:0\ndata: DATA\nvcs:\n  - {name: gitlab, kind: gitlab, url: %q, token: %q, webhook_secret: %q, repos: [\"acme/**\"]}\n",
			a.URL, token, a.WebhookSecret))
		if _, out, _ := run(t, nil, "doctor", "--config", file); !strings.Contains(out, want) {
			t.Errorf("doctor says\n%s\nwant %q", out, want)
		}
	}
}
