package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/planlatch/planlatch/vcs/fakehost"
)

// change is one pull request and how it shall end.
type change struct {
	repo     *repo
	branch   string
	projects []string
	number   int
	head     string
	merge    string // the commit of the merge
	value    string // of the last commit
	commands int    // that were given
	done     bool   // applied and merged
	closed   bool   // without apply
	story    []string
}

// crowd is the people at work.
type crowd struct {
	w  *world
	wg sync.WaitGroup

	n  atomic.Int64
	mu sync.Mutex
	// all the pull requests there are.
	changes []*change
	stuck   []string
}

// work lets people make pull requests until the killing is over and enough was said, and waits until the last is at its end.
func (w *world) work() *crowd {
	c := &crowd{w: w}
	for n := range w.s.authors {
		c.wg.Go(func() {
			for !w.over.Load() && (!w.monkey.over() || w.door.count() < w.s.sent) {
				c.one(w.repos[(n+int(c.n.Load()))%len(w.repos)])
				if c.failed() {
					return
				}
			}
		})
	}
	c.wg.Wait()
	return c
}

func (d *door) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sent
}

func (c *crowd) failed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.stuck) > 0
}

// one makes one pull request and sees it through.
func (c *crowd) one(r *repo) {
	id := c.n.Add(1)
	ch := &change{repo: r, branch: fmt.Sprintf("%s-%d", r.prefix, id)}
	for _, n := range rand.Perm(len(r.projects))[:1+rand.IntN(2)] {
		ch.projects = append(ch.projects, r.projects[n])
	}
	c.mu.Lock()
	c.changes = append(c.changes, ch)
	c.mu.Unlock()
	if err := c.live(ch); err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stuck = append(c.stuck, fmt.Sprintf("%s#%d (%s): %v\n%s", r.name, ch.number, ch.branch, err, strings.Join(ch.story, "\n")))
	}
}

func (c *crowd) live(ch *change) error {
	if err := c.push(ch, 1); err != nil {
		return err
	}
	number, err := c.w.host.OpenPull(ch.repo.name, "alice", fakehost.NewPull{Head: ch.branch, Title: "Change " + ch.branch})
	if err != nil {
		return err
	}
	ch.number = number
	if rand.IntN(3) == 0 { // somebody who pushes again while the first is planned
		pause(1500)
		if err := c.push(ch, 2); err != nil {
			return err
		}
	}
	if rand.IntN(2) == 0 {
		if _, err := c.w.host.Comment(ch.repo.name, ch.number, "bob", "Looks good to me."); err != nil {
			return err
		}
	}
	if err := c.until(ch, ch.head, "planlatch/plan", "planlatch plan"); err != nil {
		return err
	}
	if rand.IntN(6) == 0 {
		ch.closed = true
		return c.w.host.ClosePull(ch.repo.name, ch.number, "alice")
	}
	if ch.repo.mode == "before_merge" {
		if err := c.until(ch, ch.head, "planlatch/apply", "planlatch apply"); err != nil {
			return err
		}
		if ch.merge, err = c.w.host.Merge(ch.repo.name, ch.number, "bob", fakehost.MergeCommit); err != nil {
			return err
		}
	} else {
		if ch.merge, err = c.w.host.Merge(ch.repo.name, ch.number, "bob", fakehost.MergeCommit); err != nil {
			return err
		}
		if err := c.until(ch, ch.merge, "planlatch/apply", "planlatch apply"); err != nil {
			return err
		}
	}
	ch.done = true
	return nil
}

func pause(most int) { time.Sleep(time.Duration(rand.IntN(most)) * time.Millisecond) } //nolint:forbidigo // people take their time

func (c *crowd) push(ch *change, n int) error {
	ch.value = fmt.Sprintf("%s-v%d", ch.branch, n)
	files := map[string]string{}
	for _, p := range ch.projects {
		files[p+"/"+ch.branch+".tf"] = c.w.change(ch.branch, ch.value)
	}
	head, err := c.w.host.Push(ch.repo.name, "alice", ch.branch, fakehost.Commit{Message: "Change " + ch.value, Files: files})
	ch.head = head
	return err
}

// until waits for a status to be green, and does what a patient person would: gives the command, and again when nothing comes of it; looks
// at what was interrupted and frees it.
func (c *crowd) until(ch *change, sha, context, command string) error {
	deadline := time.Now().Add(patience)
	// Plans come by themselves, and so do applies after a merge: a person waits long before asking, unless something failed.
	again := 40 * time.Second
	if ch.repo.mode == "before_merge" && command == "planlatch apply" {
		again = 10 * time.Second
	}
	next, failed := time.Now().Add(again-10*time.Second), time.Now()
	for {
		s, err := c.status(ch.repo.name, sha, context)
		if err != nil {
			return err
		}
		if s.State == "success" {
			return nil
		}
		if c.w.over.Load() {
			return errors.New("the test is over")
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %s %s of %s is %q: %s\n%s", patience, context, sha, s.State, s.Description, c.page(ch))
		}
		bad := s.State == "failure" || s.State == "error"
		if !bad {
			failed = time.Now()
		}
		if time.Now().After(next) || time.Since(failed) > 3*time.Second {
			if strings.Contains(s.Description, "interrupted") {
				for _, p := range ch.projects {
					if err := c.tell(ch, "planlatch unlock -p "+p); err != nil {
						return err
					}
				}
				pause(2000)
				if err := c.tell(ch, "planlatch plan"); err != nil {
					return err
				}
			} else {
				say := command
				if bad {
					say = "planlatch plan"
				}
				if err := c.tell(ch, say); err != nil {
					return err
				}
			}
			next, failed = time.Now().Add(again), time.Now()
		}
		time.Sleep(100 * time.Millisecond) //nolint:forbidigo // looking at a page from time to time
	}
}

func (c *crowd) tell(ch *change, command string) error {
	ch.commands++
	s, _ := c.status(ch.repo.name, ch.head, "planlatch/apply")
	ch.story = append(ch.story, fmt.Sprintf("%s %s (apply was %s: %s)", time.Now().Format("15:04:05"), command, s.State, s.Description))
	_, err := c.w.host.Comment(ch.repo.name, ch.number, "alice", command)
	return err
}

func (c *crowd) status(repo, sha, context string) (fakehost.Status, error) {
	all, err := c.w.host.Statuses(repo, sha)
	for _, s := range all {
		if s.Context == context {
			return s, err
		}
	}
	return fakehost.Status{}, err
}

// page is what stands on the pull request.
func (c *crowd) page(ch *change) string {
	entries, err := c.w.host.Wait(context.Background(), ch.repo.name, ch.number, func([]fakehost.Entry) bool { return true })
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, e := range entries {
		if e.Kind == fakehost.EntryComment && !e.Deleted {
			fmt.Fprintf(&b, "--- %s: %s\n", e.Actor, e.Body)
		}
	}
	return b.String()
}
