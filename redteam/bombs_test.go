package redteam_test

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/planlatch/planlatch/vcs"
)

// Row 10: five pull requests use up the machine, each in its own way, and a sixth wants a plan like every day. Bombs end by themselves some
// time, so that nothing stays behind where no limit ends them.

type bomb struct {
	name  string
	files map[string]string
	named string // what the report says about its end
}

func bombs() []bomb {
	long := "output \"endless\" {\n  value = join(\"\\n\", [for i in range(1000) : format(\"%04d %s\", i, join(\"\", [for j in range(100) : " +
		"\"0123456789012345678901234567890123456789\"]))])\n}\n"
	return []bomb{
		{"memory", program("dd if=/dev/zero of=/dev/null bs=700M count=30; sleep 2"), "memory"},
		{"processes", program("i=0; while [ $i -lt 400 ]; do sleep 15 & i=$((i+1)); done; wait"), "processes"},
		{"disk", program("head -c 200M /dev/zero >filler; sleep 5; rm filler"), "disk"},
		{"log", map[string]string{"main.tf": long}, "log"},
		{"time", program("sleep 52"), "time limit"}, // the tool itself gives a program a minute
	}
}

func bombAttacks() []attack {
	return []attack{{
		Row: 10, Name: "memory bomb, fork bomb, disk filler, endless log and sleeper at once, a sixth plans", Wall: "limits per run", On: cramped, Own: true,
		Without: limits,
		Try: func(w *world) []string {
			ordinary := func(branch string) time.Duration {
				from := time.Now()
				_, head := w.proposeAs(w.bob, branch, map[string]string{branch + "/main.tf": "output \"x\" {\n  value = \"" + branch + "\"\n}\n"})
				if got := w.ends(head, "planlatch/plan"); got.State != vcs.StatusSuccess {
					w.Errorf("the plan of %s ended %s: %s", branch, got.State, got.Description)
				}
				return time.Since(from)
			}
			alone := ordinary("alone")
			var heads, loot []string
			var pulls []int
			for _, b := range bombs() {
				files := map[string]string{}
				for name, text := range b.files {
					files[b.name+"/"+name] = text
				}
				pull, head := w.proposeAs(w.mallory, b.name, files)
				heads, pulls = append(heads, head), append(pulls, pull)
			}
			var all sync.WaitGroup
			var beside time.Duration
			all.Go(func() { beside = ordinary("beside") })
			for n, b := range bombs() {
				got := w.ends(heads[n], "planlatch/plan")
				if got.State == vcs.StatusSuccess {
					loot = append(loot, "the bomb of "+b.name+" went off")
					continue
				}
				if w.breached() {
					w.Errorf("without limits the bomb of %s ended %s: %s\n%s", b.name, got.State, got.Description, last(w.summary(pulls[n]), 2000))
					continue
				}
				until(w.T, "the end of the bomb to be named", func() (string, bool) {
					s := w.summary(pulls[n])
					return s, strings.Contains(s, b.named)
				})
			}
			all.Wait()
			w.Logf("a plan alone took %s, beside five bombs %s", alone.Round(time.Millisecond), beside.Round(time.Millisecond))
			if beside > 4*alone+20*time.Second && !w.breached() { // unless the machine has become slow meanwhile
				alone = max(alone, ordinary("afterwards"))
			}
			if beside > 4*alone+20*time.Second {
				loot = append(loot, fmt.Sprintf("a plan that takes %s took %s beside the bombs", alone, beside))
			}
			if w.breached() && len(loot) < len(bombs()) {
				w.Errorf("without limits only this went off: %s", loot)
			}
			return loot
		},
	}}
}
