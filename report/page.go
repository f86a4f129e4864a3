package report

import (
	"strings"
)

// page is a text under construction: blocks that are read at once, then folds, then the marker. It is cut so that it fits its limit, which
// is counted in bytes: no host counts more than that, whatever its unit.
type page struct {
	limit  int
	blocks []block
	marker string
	more   string // link to the whole, for the places that are cut
}

// block is a piece of a page: text, a code block, text. Folded ones show only their title until they are opened.
type block struct {
	title    string // of a fold; HTML that is safe already. Empty: not folded
	text     string
	language string
	lines    []string // raw data; fenced when rendered
	after    string
}

func (p *page) text(s string) {
	if s = strings.Trim(s, "\n"); s != "" {
		p.blocks = append(p.blocks, block{text: s})
	}
}

func (p *page) list(lines []string) { p.text(strings.Join(lines, "\n")) }

func (p *page) add(b block) { p.blocks = append(p.blocks, b) }

// String lays the page out. Unfolded blocks come first, each whole or cut at a line; the folds share what is left evenly, so that a huge
// one does not push the others out.
func (p *page) String() string {
	end := p.marker
	notice := "Not everything fits here" + p.link() + ".\n\n"
	room := p.limit - len(end) - len(notice)
	var b strings.Builder
	var folds []block
	cut := false
	for _, bl := range p.blocks {
		if bl.title != "" {
			folds = append(folds, bl)
			continue
		}
		if cut {
			continue
		}
		text, whole := bl.render(room-b.Len()-1, p.more)
		if text != "" {
			b.WriteString(text + "\n")
		}
		cut = cut || !whole
	}
	if !cut {
		cut = p.writeFolds(&b, folds, room)
	}
	if cut {
		b.WriteString(notice)
	}
	return b.String() + end
}

func (p *page) link() string {
	if p.more == "" {
		return ""
	}
	return ": " + p.more
}

// foldMin is the least room in which a fold still says something.
const foldMin = 400

func (p *page) writeFolds(b *strings.Builder, folds []block, room int) (cut bool) {
	sizes := make([]int, len(folds))
	for i, f := range folds {
		text, _ := f.render(1<<30, p.more)
		sizes[i] = len(text) + 1
	}
	left := room - b.Len()
	for len(folds) > 0 && left/len(folds) < foldMin && sum(sizes) > left {
		folds, sizes, cut = folds[:len(folds)-1], sizes[:len(sizes)-1], true
	}
	share := level(sizes, left)
	for i, f := range folds {
		text, whole := f.render(min(share, sizes[i]), p.more)
		cut = cut || !whole && text == ""
		if text != "" && b.Len()+len(text)+1 <= room {
			b.WriteString(text + "\n")
		}
	}
	return cut
}

func sum(ns []int) int {
	total := 0
	for _, n := range ns {
		total += n
	}
	return total
}

// level is the largest share with which everybody who needs less gets what it needs and the others the same.
func level(needs []int, room int) int {
	open := append([]int(nil), needs...)
	for len(open) > 0 {
		share := room / len(open)
		var rest []int
		for _, n := range open {
			if n <= share {
				room -= n
			} else {
				rest = append(rest, n)
			}
		}
		if len(rest) == len(open) {
			return share
		}
		open = rest
	}
	return 1 << 30
}

// render writes the block in at most room bytes. whole is false if something was left out; the text is empty if nothing fits.
func (b block) render(room int, more string) (text string, whole bool) {
	text = b.layout(b.lines)
	if len(text) <= room {
		return text, true
	}
	if len(b.lines) == 0 && b.title == "" {
		return clip(b.text, room), false
	}
	// The number of lines that fit: the layout grows with every line, so halving finds it.
	low, high := 0, len(b.lines)
	for low < high {
		mid := (low + high + 1) / 2
		if len(b.shortened(mid, more)) <= room {
			low = mid
		} else {
			high = mid - 1
		}
	}
	if text = b.shortened(low, more); low == 0 || len(text) > room {
		return "", false
	}
	return text, false
}

func (b block) shortened(lines int, more string) string {
	left := len(b.lines) - lines
	note := "… " + count(left, "more line", "more lines")
	if b.after == "" && more != "" {
		b.after = more
	}
	return b.layout(append(append([]string(nil), b.lines[:lines]...), note))
}

func (b block) layout(lines []string) string {
	var out strings.Builder
	if b.title != "" {
		out.WriteString("<details><summary>" + b.title + "</summary>\n\n")
	}
	if b.text != "" {
		out.WriteString(b.text + "\n")
		if len(lines) > 0 {
			out.WriteByte('\n')
		}
	}
	if len(lines) > 0 {
		out.WriteString(fence(b.language, lines))
	}
	if b.after != "" {
		out.WriteString(b.after + "\n")
	}
	if b.title != "" {
		if b.after == "" || b.text != "" {
			out.WriteByte('\n')
		}
		out.WriteString("</details>\n")
	}
	return out.String()
}

// clip keeps the whole lines of a text that fit.
func clip(text string, room int) string {
	if len(text)+1 <= room {
		return text + "\n"
	}
	if room <= 0 {
		return ""
	}
	end := strings.LastIndexByte(text[:min(room, len(text))], '\n')
	if end < 0 {
		return ""
	}
	return text[:end+1]
}
