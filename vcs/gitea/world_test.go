package gitea_test

import (
	"testing"

	"github.com/planlatch/planlatch/testkit/gitea"
	adapter "github.com/planlatch/planlatch/vcs/gitea"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	vcstest.Run(t, func(t *testing.T) vcstest.Harness {
		w := newWorld(t)
		return vcstest.Harness{
			Host: w.host(t, w.Bot.Token), World: w, SignatureHeaders: []string{"X-Gitea-Signature", "X-Hub-Signature-256"}, PushDeletes: true,
		}
	})
}

const secret = "of odd hosts"

// world is the real Gitea with an adapter to it.
type world struct{ *gitea.World }

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{gitea.NewWorld(t)}
}

func (w *world) host(t *testing.T, token string) *adapter.Host {
	t.Helper()
	h, err := adapter.New(adapter.Options{URL: w.Server.URL, Token: token, WebhookSecret: w.Account().WebhookSecret})
	if err != nil {
		t.Fatalf("New() = %v", err)
	}
	return h
}
