package netns

import (
	"fmt"
	"io"
	"slices"
	"sync"
)

// notes are the lines that the network writes into the run's log, each once and not for ever: what makes them is hostile.
type notes struct {
	log  io.Writer // in append mode
	mu   sync.Mutex
	said []string
}

// mostNotes is how many different lines a run gets.
const mostNotes = 20

// say writes one line for people. Its parts are printable.
func (n *notes) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.said) > mostNotes || slices.Contains(n.said, text) {
		return
	}
	n.said = append(n.said, text)
	if len(n.said) > mostNotes {
		text = "there is more that is not told"
	}
	_, _ = fmt.Fprintf(n.log, "planlatch: network: %s\n", text) // a full disk shows elsewhere
}
