package redact

import "sort"

// automaton knows, after each byte, the longest form that ends there and the longest part of one that has begun. Nodes keep their children in a
// list, since nearly all have one: a table per node costs gigabytes for a few keys.
type automaton struct {
	nodes []node
	root  [256]int32
}

type node struct {
	child   int32 // first child; 0: none
	sibling int32
	fail    int32 // where the longest proper suffix stands that is a beginning too
	depth   int32 // bytes matched so far
	longest int32 // length of the longest form that ends here; 0: none
	b       byte
}

func newAutomaton() *automaton { return &automaton{nodes: make([]node, 1)} }

func (a *automaton) insert(form string) {
	at := int32(0)
	for i := range len(form) {
		next := a.find(at, form[i])
		if next == 0 {
			next = int32(len(a.nodes))
			a.nodes = append(a.nodes, node{b: form[i], sibling: a.nodes[at].child, depth: a.nodes[at].depth + 1})
			a.nodes[at].child = next
			if at == 0 {
				a.root[form[i]] = next
			}
		}
		at = next
	}
	a.nodes[at].longest = a.nodes[at].depth
}

// link sets the fail edges, level by level, so that every fail edge points to a node that is finished.
func (a *automaton) link() {
	queue := make([]int32, 0, len(a.nodes))
	for c := a.nodes[0].child; c != 0; c = a.nodes[c].sibling {
		queue = append(queue, c)
	}
	for i := 0; i < len(queue); i++ {
		at := queue[i]
		for c := a.nodes[at].child; c != 0; c = a.nodes[c].sibling {
			n := &a.nodes[c]
			n.fail = a.step(a.nodes[at].fail, n.b)
			n.longest = max(n.longest, a.nodes[n.fail].longest)
			queue = append(queue, c)
		}
	}
}

func (a *automaton) find(at int32, b byte) int32 {
	if at == 0 {
		return a.root[b]
	}
	for c := a.nodes[at].child; c != 0; c = a.nodes[c].sibling {
		if a.nodes[c].b == b {
			return c
		}
	}
	return 0
}

func (a *automaton) step(at int32, b byte) int32 {
	for at != 0 {
		if next := a.find(at, b); next != 0 {
			return next
		}
		at = a.nodes[at].fail
	}
	return a.root[b]
}

// matcher goes through a text. Layout is what tools put into a value when they print it: blanks, line ends and the frame of a diagnostic. However
// much of it stands in one place, the automaton of own secrets sees one space, so a value is known again that was wrapped or indented.
type matcher struct {
	set    *Set
	own    int32 // states
	others int32
	pos    int64 // bytes seen
	fed    int64 // of them the automaton of own secrets has seen so many
	layout bool  // the last of them was layout
	frame  int   // bytes of a frame that may be layout: seen, and not yet fed
	gaps   []gap
}

// gap says how many bytes of layout were left out in front of everything fed after a place.
type gap struct{ after, total int64 }

// frame is the vertical line in front of what OpenTofu and Terraform say of an error.
const frame = "│"

func blank(b byte) bool { return b == ' ' || b == '\n' || b == '\t' || b == '\r' }

// step takes the next byte and adds the secret that ends with it.
func (m *matcher) step(b byte, sp *spans) {
	m.pos++
	if others := m.set.others; m.others != 0 || others.root[b] != 0 {
		m.others = others.step(m.others, b)
		if n := int64(others.nodes[m.others].longest); n > 0 {
			sp.add(m.pos-n, m.pos)
		}
	}
	switch {
	case b == frame[m.frame] && m.layout:
		if m.frame++; m.frame == len(frame) {
			m.skip(int64(len(frame)))
			m.frame = 0
		}
		return
	case m.frame > 0: // it was none
		for i := range m.frame {
			m.feed(frame[i])
		}
		m.frame, m.layout = 0, false
	}
	switch {
	case !blank(b):
		m.layout = false
		m.feed(b)
	case m.layout:
		m.skip(1)
	default:
		m.layout = true
		m.feed(' ')
	}
	if n := int64(m.set.own.nodes[m.own].longest); n > 0 {
		sp.add(m.raw(m.fed-n), m.pos)
	}
}

func (m *matcher) feed(b byte) {
	m.own = m.set.own.step(m.own, b)
	m.fed++
}

func (m *matcher) skip(n int64) {
	last := m.fed - 1
	if len(m.gaps) > 0 && m.gaps[len(m.gaps)-1].after == last {
		m.gaps[len(m.gaps)-1].total += n
		return
	}
	total := n
	if len(m.gaps) > 0 {
		total += m.gaps[len(m.gaps)-1].total
	}
	if len(m.gaps) > 1024 { // those that no secret reaches back to
		keep := max(0, m.before(m.fed-m.set.most)-1)
		m.gaps = append(m.gaps[:0], m.gaps[keep:]...)
	}
	m.gaps = append(m.gaps, gap{last, total})
}

// before is how many gaps are in front of a place.
func (m *matcher) before(fed int64) int {
	return sort.Search(len(m.gaps), func(i int) bool { return m.gaps[i].after >= fed })
}

// raw is where in the text something stands that was fed.
func (m *matcher) raw(fed int64) int64 {
	if n := m.before(fed); n > 0 {
		return fed + m.gaps[n-1].total
	}
	return fed
}

// begun is where the longest part of a secret begins that has begun. Nothing in front of it belongs to one that ends later.
func (m *matcher) begun() int64 {
	own := m.raw(m.fed - int64(m.set.own.nodes[m.own].depth))
	return min(own, m.pos-int64(m.set.others.nodes[m.others].depth))
}

// squeezed is a form as the automaton of own secrets sees it.
func squeezed(form string) string {
	out := make([]byte, 0, len(form))
	layout := false
	for i := 0; i < len(form); i++ {
		switch {
		case layout && len(form)-i >= len(frame) && form[i:i+len(frame)] == frame:
			i += len(frame) - 1
		case !blank(form[i]):
			layout = false
			out = append(out, form[i])
		case !layout:
			layout = true
			out = append(out, ' ')
		}
	}
	return string(out)
}
