package chaos_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/planlatch/planlatch/vcs/fakehost"
)

// settle waits until no server has anything left to do, and stops them.
func (w *world) settle(c *crowd) {
	w.door.wait()
	deadline := time.Now().Add(patience)
	for heard := time.Now().Add(time.Minute); c.unheard() != "" && time.Now().Before(heard); { // the invariants tell what never is
		time.Sleep(100 * time.Millisecond) //nolint:forbidigo // looking at a page
	}
	for quiet := 0; quiet < 3; {
		busy := w.busy()
		if busy == "" {
			quiet++
		} else {
			quiet = 0
		}
		if time.Now().After(deadline) {
			c.stuck = append(c.stuck, "the dust does not settle: "+busy)
			break
		}
		time.Sleep(time.Second) //nolint:forbidigo // polling other processes; longer than their own ticks
	}
	// The next life sweeps what a kill left between the end of a run and the removal of what it used.
	for _, s := range w.servers {
		w.stop(s)
		s.Start(w.t)
	}
	for deadline := time.Now().Add(patience); w.left() != "" && time.Now().Before(deadline); { // the invariants tell what stays
		time.Sleep(100 * time.Millisecond) //nolint:forbidigo // polling other processes
	}
	for _, s := range w.servers {
		w.stop(s)
	}
}

// unheard names a command that no server has noticed so far: its webhook may be lost, and only the next look at the host finds it.
func (c *crowd) unheard() string {
	for _, ch := range c.changes {
		if ch.number == 0 {
			continue // its author got stuck
		}
		entries, err := c.w.host.Timeline(ch.repo.name, ch.number)
		c.w.check(err)
		for _, e := range entries {
			if e.Kind == fakehost.EntryComment && e.Actor == "alice" && strings.HasPrefix(e.Body, "planlatch ") && len(e.Reactions) == 0 {
				return fmt.Sprintf("%s#%d: %s", ch.repo.name, ch.number, e.Body)
			}
		}
	}
	return ""
}

// left names something that the next life still has to sweep, or a process that has done its work and is about to end.
func (w *world) left() string {
	for _, s := range w.servers {
		if pids := s.workers(); len(pids) > 0 {
			return fmt.Sprintf("%s: processes %v", s.name, pids)
		}
		for _, dir := range []string{"executions/runs", "executions/trash", "work/inputs"} {
			entries, _ := os.ReadDir(filepath.Join(s.Dir, "data", dir)) // not there: nothing is left
			if len(entries) > 0 {
				return s.name + ": " + dir + "/" + entries[0].Name()
			}
		}
	}
	return ""
}

// busy says what a server has to do; empty when all are idle.
func (w *world) busy() string {
	for _, s := range w.servers {
		metrics, err := get(s.URL + "/metrics")
		if err != nil {
			return s.name + ": " + err.Error()
		}
		for line := range strings.Lines(metrics) {
			for _, what := range []string{"run_queued", "run_planning", "run_confirmed", "run_applying", "postings_due", "jobs"} {
				if strings.HasPrefix(line, fmt.Sprintf("planlatch_rows{what=%q}", what)) && !strings.HasSuffix(strings.TrimSpace(line), " 0") {
					return s.name + ": " + strings.TrimSpace(line)
				}
			}
		}
	}
	return ""
}

func get(url string) (string, error) {
	client := http.Client{Timeout: 5 * time.Second}
	res, err := client.Get(url) //nolint:noctx // bounded by the client
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return string(body), err
}
