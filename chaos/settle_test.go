package chaos_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// settle waits until no server has anything left to do, and stops them.
func (w *world) settle(c *crowd) {
	w.door.wg.Wait()
	deadline := time.Now().Add(patience)
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

// left names something that the next life still has to sweep.
func (w *world) left() string {
	for _, s := range w.servers {
		for _, dir := range []string{"executions/runs", "work/inputs"} {
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
