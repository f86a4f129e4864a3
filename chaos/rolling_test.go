package chaos_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/vcs/fakehost"
)

// TestEveryReplicaShowsAnApplyWhichOutlivesARollingRestart replaces three replicas one after the other while one of them applies.
func TestEveryReplicaShowsAnApplyWhichOutlivesARollingRestart(t *testing.T) {
	t.Parallel()
	w := begin(t, scenario{replicas: 3, postgres: true, copies: 2})
	c := &crowd{w: w}
	ch := &change{repo: w.repos[0], branch: "a-1", projects: []string{"a0"}, value: "a-1-v1"}
	c.changes = []*change{ch}
	slow := strings.Replace(w.change(ch.branch, ch.value), "sleep 0.3", "i=0; until [ -e "+w.dir+"/states/enough ]; do i=$((i + 1)); echo tick $i; sleep 0.1; done; echo ticks: $i", 1)
	var err error
	ch.head, err = w.host.Push(ch.repo.name, "alice", ch.branch, fakehost.Commit{Message: "Change", Files: map[string]string{"a0/a-1.tf": slow}})
	w.check(err)
	ch.number, err = w.host.OpenPull(ch.repo.name, "alice", fakehost.NewPull{Head: ch.branch, Title: "Change"})
	w.check(err)
	w.check(c.until(ch, ch.head, "planlatch/plan", "planlatch plan"))
	links := regexp.MustCompile(`/runs/\w+/log\?grant=[\w.-]+`)
	link := links.FindString(c.page(ch))
	for deadline := time.Now().Add(patience); link == "" && time.Now().Before(deadline); link = links.FindString(c.page(ch)) {
		time.Sleep(50 * time.Millisecond) //nolint:forbidigo // looking at a page
	}
	done := make(chan error, 1)
	go func() { done <- c.until(ch, ch.head, "planlatch/apply", "planlatch apply") }()
	for {
		if text, _ := os.ReadFile(w.journal); strings.Contains(string(text), "apply a0") {
			break
		}
		select {
		case err := <-done:
			t.Fatalf("it ended before it began: %v\n%s", err, c.page(ch))
		case <-time.After(20 * time.Millisecond):
		}
	}
	for _, s := range w.servers {
		w.sees(s, strings.Replace(link, "/log?", "/log/live?phase=apply&", 1), "tick")
	}
	for _, s := range w.servers {
		w.stop(s)
		s.Start(t)
	}
	select {
	case err := <-done:
		t.Fatalf("the apply ended before every replica was replaced, which shows nothing: %v", err)
	default:
	}
	w.check(os.WriteFile(filepath.Join(w.dir, "states", "enough"), nil, 0o600))
	w.check(<-done)
	for _, s := range w.servers {
		log, err := get(s.URL + link)
		w.check(err)
		said := printed(log)
		var want strings.Builder
		n := strings.Count(said, "tick") - 1
		for tick := range n {
			fmt.Fprintf(&want, "tick%d", tick+1)
		}
		fmt.Fprintf(&want, "ticks:%d", n)
		if n <= 0 || said != want.String() {
			t.Errorf("%s shows of the apply's %d lines\n%s\nwant\n%s\nin the log\n%s", s.name, n, said, &want, log)
		}
	}
	ch.merge, err = w.host.Merge(ch.repo.name, ch.number, "bob", fakehost.MergeCommit)
	w.check(err)
	ch.done = true
	w.settle(c)
	text, violations := table(w.invariants(t.Context(), c))
	if violations > 0 {
		t.Errorf("%s", text)
	}
}

var localExec = regexp.MustCompile(`(?m)^terraform_data\.\S+ \(local-exec\): (.*)$`)

// printed is what a provisioner printed, without white space: a tool that is starved breaks a line where it has read that far.
func printed(log string) string {
	var all strings.Builder
	for _, line := range localExec.FindAllStringSubmatch(log, -1) {
		if !strings.HasPrefix(line[1], "Executing: ") {
			all.WriteString(strings.Join(strings.Fields(line[1]), ""))
		}
	}
	return all.String()
}

// sees follows the live log at a replica until it shows something.
func (w *world) sees(s *server, path, what string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, nil)
	w.check(err)
	res, err := http.DefaultClient.Do(req)
	w.check(err)
	defer res.Body.Close()
	var read strings.Builder
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		read.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), what) {
			return
		}
	}
	w.t.Errorf("the live log at %s ended (%s) without %q:\n%s", s.name, res.Status, what, read.String())
}
