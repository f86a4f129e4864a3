package gitlab_test

import (
	"net/http"
	"testing"

	testkit "github.com/planlatch/planlatch/testkit/gitlab"
	"github.com/planlatch/planlatch/vcs/gitlab"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	vcstest.Run(t, func(t *testing.T) vcstest.Harness {
		h := harness(t, testkit.NewWorld(t))
		h.SignatureHeaders, h.TokenOnly = []string{"X-Gitlab-Token"}, true
		return h
	})
}

func TestConformanceWithSignedWebhooks(t *testing.T) {
	t.Parallel()
	vcstest.Run(t, func(t *testing.T) vcstest.Harness {
		h := harness(t, testkit.Signing(t))
		h.SignatureHeaders = []string{"Webhook-Signature"}
		return h
	})
}

func harness(t *testing.T, w *testkit.World) vcstest.Harness {
	t.Helper()
	return vcstest.Harness{
		Host: host(t, w), World: w, PushDeletes: true, ReviewsHaveNoBody: true, WholePipeline: true, NoErrorState: true, StrangersCannotReview: true,
		Untold: []string{"comment deleted", "status of our own"},
	}
}

func host(t *testing.T, w *testkit.World) *gitlab.Host {
	t.Helper()
	a := w.Account()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	h, err := gitlab.New(gitlab.Options{URL: a.URL, Token: a.Token, WebhookSecret: a.WebhookSecret, HTTP: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	return h
}
