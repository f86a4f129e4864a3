package chaos_test

import (
	"os"
	"testing"
	"time"
)

// TestABrokenRuleShows breaks a rule on purpose and wants the ledger to tell: invariants that never fail prove nothing.
func TestABrokenRuleShows(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rule     string
		replicas int
		kills    bool // the server, whenever the tool applies
	}{
		{rule: claimAfterStart, replicas: 2}, // both start what one of them claims a moment later
		{rule: slotTooEarly, replicas: 1},
		{rule: nameTwice, replicas: 1, kills: true}, // the next life starts what the last one did
	} {
		t.Run(test.rule, func(t *testing.T) {
			t.Parallel()
			w := begin(t, scenario{replicas: test.replicas, postgres: test.replicas > 1, broken: test.rule, authors: 3, copies: 1, sent: endless})
			people := make(chan struct{})
			go func() {
				defer close(people)
				w.work()
			}()
			defer func() {
				w.over.Store(true)
				<-people
			}()
			l, seen := w.ledger(), 0
			for deadline := time.Now().Add(patience); !l.shows(); l = w.ledger() {
				if test.kills && len(l.applies) > seen && w.servers[0].kill(false) {
					seen = len(l.applies)
				}
				if time.Now().After(deadline) {
					text, _ := os.ReadFile(w.journal)
					t.Fatalf("after %s nothing showed that %s:\n%s", patience, test.rule, text)
				}
				time.Sleep(20 * time.Millisecond) //nolint:forbidigo // reading what other processes write
			}
			t.Logf("overlaps %v, applies %v", l.overlaps, l.applies)
		})
	}
}

// endless is more webhooks than are ever sent: people go on until they are told to stop.
const endless = 1 << 30

// shows says that two executions met in a project, or that a plan was applied again.
func (l ledger) shows() bool {
	for _, n := range l.applies {
		if n > 1 {
			return true
		}
	}
	return len(l.overlaps) > 0
}
