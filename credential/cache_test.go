package credential_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planlatch/planlatch/credential"
)

// counting prints another token each time it runs.
func counting(t *testing.T, expires string) (c credential.Command, runs func() int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "runs")
	c = sh(fmt.Sprintf(`echo x >>%[1]s; printf '{"env": {"TOKEN": "%%s"}%[2]s}' "$(wc -l <%[1]s)"`, file, expires))
	return c, func() int {
		text, err := os.ReadFile(file)
		if err != nil {
			return 0
		}
		return strings.Count(string(text), "x")
	}
}

func TestAnAnswerIsReusedForTheSameQuestionOnly(t *testing.T) {
	t.Parallel()
	b := setup(credential.Options{})
	c, runs := counting(t, "")
	need := credential.Need{Reuse: 30 * time.Minute}
	ask := func(c credential.Command, q credential.Question, n credential.Need) string {
		t.Helper()
		a, err := b.Ask(t.Context(), c, q, n)
		if err != nil {
			t.Fatal(err)
		}
		return a.Env["TOKEN"]
	}
	first := ask(c, question, need)
	again := question
	again.Run = "r2"
	if got := ask(c, again, need); got != first || runs() != 1 {
		t.Errorf("another run of the project got %s after %d runs of the program, want the answer of the first", got, runs())
	}
	for name, change := range map[string]func(*credential.Command, *credential.Question){
		"Host":      func(_ *credential.Command, q *credential.Question) { q.Host = "gitlab" },
		"Repo":      func(_ *credential.Command, q *credential.Question) { q.Repo = "acme/infra-prod" },
		"Dir":       func(_ *credential.Command, q *credential.Question) { q.Dir = "prod/db" },
		"Workspace": func(_ *credential.Command, q *credential.Question) { q.Workspace = "green" },
		"Phase":     func(_ *credential.Command, q *credential.Question) { q.Phase = "apply" },
		"Config":    func(c *credential.Command, _ *credential.Question) { c.Config = "other" },
		"Argv": func(c *credential.Command, _ *credential.Question) {
			c.Argv = append(slices.Clip(c.Argv), "more")
		},
		"Environment": func(c *credential.Command, _ *credential.Question) { c.Environment = []string{"A=b"} },
	} {
		other, q := c, question
		change(&other, &q)
		if got := ask(other, q, need); got == first {
			t.Errorf("another %s got the same credentials", name)
		}
	}
	if got := ask(c, question, credential.Need{}); got == first {
		t.Error("who wants a new answer got the old one")
	}
}

func TestAnAnswerIsAskedAnewBeforeItEnds(t *testing.T) {
	t.Parallel()
	for name, expires := range map[string]string{"ByTTL": "", "ByItsOwnWord": `, "expires": "2026-01-31T13:00:00Z"`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(credential.Options{})
			c, runs := counting(t, expires)
			need := credential.Need{Least: time.Minute, Reuse: 20 * time.Minute}
			for _, at := range []struct {
				after time.Duration
				runs  int
			}{{0, 1}, {40 * time.Minute, 1}, {time.Second, 2}, {0, 2 + len(expires)/len(`, "expires": "2026-01-31T13:00:00Z"`)}} {
				b.now.Add(int64(at.after / time.Second))
				if _, err := b.Ask(t.Context(), c, question, need); err != nil || runs() != at.runs {
					t.Errorf("after %v more: %v, the program ran %d times, want %d", at.after, err, runs(), at.runs)
				}
			}
		})
	}
}

func TestOneAsksForMany(t *testing.T) {
	t.Parallel()
	b := setup(credential.Options{})
	c, runs := counting(t, "")
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if a, err := b.Ask(t.Context(), c, question, credential.Need{Reuse: time.Minute}); err != nil || a.Env["TOKEN"] != "1" {
				t.Errorf("Ask() = %v, %v, want the first answer", a, err)
			}
		})
	}
	group.Wait()
	if runs() != 1 {
		t.Errorf("the program ran %d times, want once", runs())
	}
}

func TestAFailureIsNotRemembered(t *testing.T) {
	t.Parallel()
	b := setup(credential.Options{})
	gate := filepath.Join(t.TempDir(), "gate")
	c := sh(`test -e ` + gate + ` && echo '{"env": {"TOKEN": "t"}}'`)
	if _, err := b.Ask(t.Context(), c, question, credential.Need{Reuse: time.Minute}); err == nil {
		t.Error("Ask() = nil, want the failure")
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Ask(t.Context(), c, question, credential.Need{Reuse: time.Minute}); err != nil {
		t.Errorf("Ask() = %v once the program can answer", err)
	}
}
