package redteam_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/planlatch/planlatch/blob"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

// Row 12: between a plan and its apply something moves: the code, the base, the state, or the stored plan itself. What is applied writes its
// word into a file, and a word that nobody reviewed there is the loot.

func staleAttacks() []attack {
	return []attack{
		{
			Row: 12, Name: "a push during the plan, and the apply of what was planned before", Wall: "the plan is of the head", Without: news, Own: true,
			Try: func(w *world) []string {
				old := w.writes("old")
				old["program.tf"], old["program.sh"] = program("sleep 3")["main.tf"], program("sleep 3")["program.sh"]
				pull, before := w.propose(old)
				until(w.T, "the plan to run", func() (string, bool) {
					runs := w.server.runs(w.Context(), w.repo.Name)
					return w.server.said(), len(runs) > 0 && runs[0].State != "queued"
				})
				after := w.mallory.Commit(w, w.repo, vcstest.Change{Branch: w.name, Files: w.with(w.writes("new")), Message: "Push meanwhile"})
				if w.breached() {
					w.planned(pull, before)
				} else {
					w.planned(pull, after)
				}
				return w.applies(w.bob, pull, "new")
			},
		},
		{
			Row: 12, Name: "a push after the approval, and an apply by its author", Wall: "approvals are of a commit and an effect", Without: bound, Own: true,
			Try: func(w *world) []string {
				w.base(map[string]string{"planlatch.yaml": "version: 1\nprojects:\n  - dir: .\n    requirements: {add: [approved]}\n"})
				pull, head := w.propose(w.writes("approved"))
				w.planned(pull, head)
				w.later()
				w.bob.Review(w, w.repo, pull, vcs.ReviewApproved, "good")
				head = w.mallory.Commit(w, w.repo, vcstest.Change{Branch: w.name, Files: w.with(w.writes("hostile")), Message: "Push afterwards"})
				w.planned(pull, head)
				return w.applies(w.mallory, pull, "approved")
			},
		},
		{
			Row: 12, Name: "the base moves after the plan", Wall: "the plan is up to date with the base", Without: news, Own: true,
			Try: func(w *world) []string {
				w.base(map[string]string{
					"planlatch.yaml": "version: 1\nprojects:\n  - dir: .\n    requirements: {add: [up_to_date]}\n", "word": "before",
				})
				pull, head := w.propose(w.writes(`${trimspace(file("word"))}`))
				w.planned(pull, head)
				w.base(map[string]string{"word": "after"})
				return w.applies(w.bob, pull, "after")
			},
		},
		{
			Row: 12, Name: "the state moves after the plan", Wall: "only the stored plan is applied", Without: savedPlans, Own: true,
			Try: func(w *world) []string {
				pull, head := w.propose(w.writes("reviewed"))
				w.planned(pull, head)
				moved := `{"version": 4, "terraform_version": "` + tofuVersion + `", "serial": 9, "lineage": "of somebody else", "outputs": ` +
					`{"theirs": {"value": "x", "type": "string"}}, "resources": []}`
				check(w.T, os.WriteFile(filepath.Join(w.states, w.name+".tfstate"), []byte(moved), 0o600))
				return w.applies(w.bob, pull, "")
			},
		},
		{
			Row: 12, Name: "a program that the plan left running forges what is shown of it", Wall: "plans are sealed before they are shown", Without: seals, Own: true,
			Try: func(w *world) []string {
				files, keys := w.writes("hostile"), program(forger)
				files["program.tf"], files["program.sh"] = keys["main.tf"], keys["program.sh"]
				pull, head := w.propose(files)
				w.planned(pull, head)
				if summary := w.summary(pull); strings.Contains(summary, "hostile") || !strings.Contains(summary, "harmless") {
					return nil // everybody sees what it would do
				}
				return w.applies(w.bob, pull, "harmless")
			},
		},
		{
			Row: 12, Name: "a stored plan file is altered", Wall: "digest of the reviewed plan", Without: digests, Own: true,
			Try: func(w *world) []string {
				pull, head := w.propose(w.writes("reviewed"))
				w.planned(pull, head)
				other, head := w.proposeAs(w.mallory, w.name+"-other", w.writes("hostile"))
				w.planned(other, head)
				w.swapPlans()
				return w.applies(w.bob, pull, "reviewed")
			},
		},
	}
}

// forger waits for the plan and leaves other JSON of it where that of the tool is expected. Whoever opens the file for the tool is held up until that
// is ready.
const forger = `
tool=$(readlink /proc/$PPID/exe)
mkfifo plan.json
setsid sh -c '
	until "$0" show -json tfplan >true.json; do sleep 0.1; done
	sed s/hostile/harmless/g true.json >forged.json
	exec 3<plan.json
	mv forged.json plan.json
	cat <&3
' "$tool" </dev/null >/dev/null 2>&1 &
echo waiting`

// writes is a configuration whose apply writes a word where we see it.
func (w *world) writes(word string) map[string]string {
	return map[string]string{"main.tf": w.backend() + `resource "terraform_data" "word" {
  input = "` + word + `"

  provisioner "local-exec" {
    command = "echo '${self.input}' >>` + w.applied() + `"
  }
}
`}
}

func (w *world) applied() string { return filepath.Join(w.states, w.name+".applied") }

// base pushes to the main branch.
func (w *world) base(files map[string]string) {
	w.Helper()
	w.bob.Commit(w, w.repo, vcstest.Change{Branch: "main", Files: w.with(files), Message: "Change the base"})
}

// applies has somebody ask for an apply, waits for what comes of it, and returns what was applied but for one word.
func (w *world) applies(who vcstest.Person, pull int, but string) (loot []string) {
	w.Helper()
	w.tells(who, pull, "planlatch apply")
	until(w.T, "an answer or an apply", func() (string, bool) {
		text, _ := os.ReadFile(w.applied()) // it is not there yet
		answers := w.answers(pull)
		return answers + w.summary(pull) + last(w.server.said(), 3000), answers != "" || len(text) > 0
	})
	text, _ := os.ReadFile(w.applied()) // nothing was applied
	for word := range strings.FieldsSeq(string(text)) {
		if word != but {
			loot = append(loot, fmt.Sprintf("%q was applied", word))
		}
	}
	return loot
}

// swapPlans gives each of two runs the stored plan of the other, as somebody can who has the disk and the key.
func (w *world) swapPlans() {
	w.Helper()
	ctx := context.WithoutCancel(w.Context())
	blobs, err := blob.Open(ctx, blob.Options{Dir: filepath.Join(w.server.Data, "blobs"), Key: w.server.EncryptionKey})
	check(w.T, err)
	defer func() { check(w.T, blobs.Close()) }()
	var keys []string
	var plans [][]byte
	for _, r := range w.server.runs(ctx, w.repo.Name) {
		check(w.T, blobs.List(ctx, "runs/"+r.ID+"/", func(o blob.Object) error {
			if filepath.Base(o.Key) != "plan" {
				return nil
			}
			plan, err := blobs.Get(ctx, o.Key)
			keys, plans = append(keys, o.Key), append(plans, plan)
			return err
		}))
	}
	if len(keys) != 2 {
		w.Fatalf("the stored plans are %q, want two", keys)
	}
	for n, key := range keys {
		check(w.T, blobs.Delete(ctx, key))
		check(w.T, blobs.Put(ctx, key, plans[1-n]))
	}
}

// unmoved is a host whose pull requests and branches stay for ever where they were when they were first asked for.
type unmoved struct {
	vcs.Host

	mu       sync.Mutex
	pulls    map[string]vcs.Pull
	branches map[string]string
}

func (f *unmoved) Pull(ctx context.Context, r vcs.Repo, number int) (vcs.Pull, error) {
	p, err := f.Host.Pull(ctx, r, number)
	if err != nil {
		return p, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	key := fmt.Sprint(r.ID, "#", number)
	if first, ok := f.pulls[key]; ok {
		p.Head, p.Base = first.Head, first.Base
	} else {
		f.pulls[key] = p
		f.branches[r.ID+"/"+p.Base.Branch] = p.Base.SHA
	}
	return p, nil
}

func (f *unmoved) Branch(ctx context.Context, r vcs.Repo, name string) (string, error) {
	f.mu.Lock()
	first, ok := f.branches[r.ID+"/"+name]
	f.mu.Unlock()
	if ok {
		return first, nil
	}
	return f.Host.Branch(ctx, r, name)
}

// lenient is a host on which every review is one of what there is now.
type lenient struct{ vcs.Host }

func (l lenient) Pull(ctx context.Context, r vcs.Repo, number int) (vcs.Pull, error) {
	p, err := l.Host.Pull(ctx, r, number)
	for n := range p.Reviews {
		p.Reviews[n].Commit, p.Reviews[n].At = p.Head.SHA, time.Now()
	}
	return p, err
}
