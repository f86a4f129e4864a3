package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/notify/notifytest"
)

func TestAChannelSeesOnePullRequestAsOneMessage(t *testing.T) {
	t.Parallel()
	slack := notifytest.NewSlack(t, "#infra")
	w := begin(t, map[string]string{"README.md": "x"}, rules{requires: "[approved]", extra: fmt.Sprintf(`notify:
  - {name: infra, kind: slack, token: %s, channel: "#infra", api_url: %q}
`, slack.Token, slack.URL)})
	// see waits for the one message that stands for itself to say something, and returns the replies to it.
	see := func(what string, replies int) []notifytest.SlackMessage {
		t.Helper()
		var below []notifytest.SlackMessage
		w.eventually("the channel to read "+what, func() (string, bool) {
			below = nil
			var tops []notifytest.SlackMessage
			for _, m := range slack.Messages("#infra") {
				if m.Thread == "" {
					tops = append(tops, m)
				} else {
					below = append(below, m)
				}
			}
			if len(tops) > 1 {
				t.Fatalf("%d messages about one pull request: %+v", len(tops), tops)
			}
			return fmt.Sprintf("%+v with %+v", tops, below), len(tops) == 1 && strings.Contains(tops[0].Blocks, what) && len(below) == replies
		})
		return below
	}
	pull, head := w.propose("vpc", network("network", "a vpc"))
	w.status(head, "planlatch/plan", "success")
	see("*needs approval*", 0)
	w.approves(w.bob, pull)
	see("*ready to apply*", 0)
	w.stop()
	w.restart()
	w.tells(w.alice, pull, "planlatch apply")
	w.status(head, "planlatch/apply", "success")
	below := see("*applied*", 1)
	if !strings.Contains(below[0].Blocks, "1 added") || below[0].Broadcast {
		t.Errorf("reply = %+v, want what was done, quietly", below[0])
	}
	if strings.Contains(w.server.Log(), notifytest.Secret) {
		t.Error("the token is in the log")
	}
}
