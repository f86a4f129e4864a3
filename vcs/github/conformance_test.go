package github_test

import (
	"net/http"
	"testing"

	testkit "github.com/planlatch/planlatch/testkit/github"
	"github.com/planlatch/planlatch/testkit/githubapi"
	"github.com/planlatch/planlatch/vcs/github"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	vcstest.Run(t, func(t *testing.T) vcstest.Harness {
		w := testkit.NewWorld(t)
		a := w.Account()
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		h := must(github.New(github.Options{
			Name: "github", URL: a.URL, Token: a.Token, WebhookSecret: a.WebhookSecret, HTTP: &http.Client{Transport: githubapi.New(t).Requests(transport)},
		}))(t)
		return vcstest.Harness{Host: h, World: w, SignatureHeaders: []string{"X-Hub-Signature-256"}, PushDeletes: true}
	})
}
