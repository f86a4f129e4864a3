package redteam_test

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

// world is one attack's own place and the server that serves it, with all its walls or without one.
type world struct {
	*testing.T
	*estate
	server *server
	name   string // nobody else's
	repo   vcs.Repo
	dir    string // of its project; "." in a repository of its own
	states string // a directory that runs may write: the backend
}

// breached says that a wall is missing on purpose.
func (w *world) breached() bool {
	return !slices.Contains([]wall{upright, cramped, policed, crumbled}, w.server.without)
}

// propose pushes files to a new branch as mallory and opens a pull request.
func (w *world) propose(files map[string]string) (pull int, head string) {
	w.Helper()
	return w.proposeAs(w.mallory, w.name, files)
}

func (w *world) proposeAs(who vcstest.Person, branch string, files map[string]string) (pull int, head string) {
	w.Helper()
	head = who.Commit(w, w.repo, vcstest.Change{Branch: branch, Files: w.with(files), Message: "Change " + branch})
	return who.Open(w, w.repo, branch, "main", "Change "+branch), head
}

// with puts files into the attack's directory, and directories of this machine into their contents.
func (w *world) with(files map[string]string) map[string]string {
	all := map[string]string{}
	for name, text := range files {
		all[path.Join(w.dir, name)] = strings.NewReplacer("STATES", w.states, "DATA", w.server.Data, "SERVER_YAML", filepath.Join(w.server.dir, "server.yaml"),
			"SERVER_PID", fmt.Sprint(w.server.child.Pid()), "VICTIM", w.server.Vault).Replace(text)
	}
	return all
}

// ends waits until a status of a commit is final, and returns it.
func (w *world) ends(head, context string) vcs.Status {
	w.Helper()
	var last vcs.Status
	until(w.T, context+" of "+head[:7]+" to end", func() (string, bool) {
		last = w.host.Statuses(w, w.repo, head)[context]
		return fmt.Sprintf("%+v", last), last.State != "" && last.State != vcs.StatusPending
	})
	return last
}

// planned waits until a pull request was planned and its summary says so: a command sees the report that stands there.
func (w *world) planned(pull int, head string) {
	w.Helper()
	status := w.ends(head, "planlatch/plan")
	until(w.T, "the summary", func() (string, bool) {
		summary := w.summary(pull)
		told := strings.Contains(summary, head[:7]) || status.State != vcs.StatusSuccess && strings.Contains(summary, "failed")
		return summary, told && !strings.Contains(summary, "⏳")
	})
}

// summary returns our one summary comment; empty if there is none.
func (w *world) summary(pull int) string {
	w.Helper()
	for _, c := range w.host.Comments(w, w.repo, pull) {
		if c.Author.Login == w.host.Account().Login && strings.Contains(c.Body, "<!-- planlatch:summary -->") {
			return c.Body
		}
	}
	return ""
}

// answers is all that we said besides the summary.
func (w *world) answers(pull int) string {
	w.Helper()
	var all []string
	for _, c := range w.host.Comments(w, w.repo, pull) {
		if c.Author.Login == w.host.Account().Login && !strings.Contains(c.Body, "<!-- planlatch:summary -->") {
			all = append(all, c.Body)
		}
	}
	return strings.Join(all, "\n---\n")
}

// tells comments as somebody who has read what stands there.
func (w *world) tells(who vcstest.Person, pull int, body string) {
	w.Helper()
	w.later()
	who.Comment(w, w.repo, pull, body)
}

// later lets the server write down that what stands there was posted, and the second pass in which it was: a command in the same second has not
// seen it.
func (w *world) later() {
	w.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); { // another attack may have a host that takes nothing
		if _, text := w.server.get(w.Context(), "/metrics"); strings.Contains(text, `planlatch_rows{what="postings_due"} 0`) {
			break
		}
		time.Sleep(50 * time.Millisecond) //nolint:forbidigo // polling another process
	}
	time.Sleep(1100 * time.Millisecond) //nolint:forbidigo // hosts count in seconds
}

// outputs are all the places where people and programs read of a pull request and its repository.
func (w *world) outputs(pull int, heads ...string) map[string]string {
	w.Helper()
	seen := w.server.pages(w.Context(), w.repo.Name, w.dir)
	for n, c := range w.host.Comments(w, w.repo, pull) {
		if c.Author.Login == w.host.Account().Login {
			seen[fmt.Sprintf("comment %d", n)] = c.Body
		}
	}
	for _, head := range heads {
		for context, s := range w.host.Statuses(w, w.repo, head) {
			seen["status "+context] = s.Description + " " + s.URL
		}
	}
	seen["the chat"], seen["the server's log"] = w.server.chatted(), w.server.said()
	return seen
}

// spoils are the canaries that are seen in the outputs of a pull request. Where a wall is missing it waits for the first.
func (w *world) spoils(pull int, head string, canaries ...canary) (loot []string) {
	w.Helper()
	look := func() (string, bool) {
		outputs := w.outputs(pull, head)
		for _, c := range canaries {
			loot = append(loot, c.find(outputs)...)
		}
		var all strings.Builder
		for _, place := range slices.Sorted(maps.Keys(outputs)) {
			if strings.HasPrefix(place, "comment") || strings.HasSuffix(place, "/log") {
				fmt.Fprintf(&all, "=== %s\n%s\n", place, outputs[place])
			}
		}
		return last(all.String(), 8000), len(loot) > 0
	}
	if !w.breached() {
		look()
		return loot
	}
	until(w.T, "a canary to be seen", look)
	return loot
}

// program is a configuration that runs a shell script when it is planned, and shows what the script printed: keys of an encrypted state are
// asked of a program. Only ASCII is kept: file() refuses what is not UTF-8, and arguments, environments and what is cut short may be anything.
func program(script string) map[string]string {
	key := base64.StdEncoding.EncodeToString(make([]byte, 32))
	return map[string]string{
		"main.tf": `terraform {
  encryption {
    key_provider "external" "program" {
      command = ["./program.sh"]
    }
    method "aes_gcm" "key" {
      keys = key_provider.external.program
    }
    method "unencrypted" "no" {}
    state {
      method = method.aes_gcm.key
      fallback {
        method = method.unencrypted.no
      }
    }
  }
}

output "printed" {
  value = try(file("printed"), "nothing was printed beside ${join(" ", fileset(".", "*"))}")
}
`,
		"program.sh": `#!/bin/sh
echo '{"magic":"OpenTofu-External-Key-Provider","version":1}'
cat >/dev/null
if [ ! -e printed ]; then
(
` + script + `
) 2>&1 | tr '\000' '\n' | tail -c 300000 | LC_ALL=C tr -cd '\n -~' >printed
fi
echo '{"keys":{"encryption_key":"` + key + `","decryption_key":"` + key + `"}}'
`,
	}
}

// backend keeps the state of a repository where runs may write.
func (w *world) backend() string {
	return fmt.Sprintf("terraform {\n  backend \"local\" {\n    path = %q\n  }\n}\n", filepath.Join(w.states, w.name+".tfstate"))
}

// state is what the backend holds; empty: nothing was applied.
func (w *world) state() string {
	text, err := os.ReadFile(filepath.Join(w.states, w.name+".tfstate"))
	if err != nil {
		return ""
	}
	return string(text)
}

func encryptionKey() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return base64.StdEncoding.EncodeToString(key)
}
