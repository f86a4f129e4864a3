package app_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/testkit/gitlab"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/fakehost"
)

func TestDoctorWarnsOfAHostWithAnotherTime(t *testing.T) {
	t.Parallel()
	w := gitlab.NewWorld(t)
	w.Repo(t, true)
	a := w.Account()
	at, err := url.Parse(a.URL)
	if err != nil {
		t.Fatal(err)
	}
	for off, want := range map[time.Duration]string{
		-10 * time.Minute: "warn  vcs gitlab     its clock is ",
		10 * time.Minute:  " ahead of ours: which report somebody could see is told by both",
		0:                 "",
	} {
		proxy := httputil.NewSingleHostReverseProxy(at)
		proxy.ModifyResponse = func(res *http.Response) error {
			res.Header.Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
			return nil
		}
		late := httptest.NewServer(proxy)
		t.Cleanup(late.Close)
		file, _ := write(t, fmt.Sprintf("listen: 127.0.0.1:0\ndata: DATA\nvcs:\n  - {name: gitlab, kind: gitlab, url: %q, token: %q, webhook_secret: %q, repos: [\"acme/**\"]}\n",
			late.URL, a.Token, a.WebhookSecret))
		_, out, _ := run(t, nil, "doctor", "--config", file)
		if !strings.Contains(out, want) || (want == "") == strings.Contains(out, "its clock is ") {
			t.Errorf("off by %s, doctor says\n%s\nwant %q", off, out, want)
		}
	}
}

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
