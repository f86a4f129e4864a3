package slack

import (
	"strings"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"github.com/planlatch/planlatch/report"
)

// The limits of a message. Slack counts characters; the sum over all blocks is not documented, and was seen at about 13,200.
const (
	sectionMost = 2900
	allMost     = 12000
	textMost    = 600
)

// escape is what Slack asks for: with these three as entities nothing mentions, links or embeds.
var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

func prose(s string) string { return escape.Replace(report.Plain(s)) }

func code(s string) string {
	if strings.TrimSpace(s) == "" {
		return prose(s)
	}
	return "`" + escape.Replace(report.Literal(s)) + "`"
}

// link is an address of ours with a text of ours or escaped already.
func link(text, address string) string {
	if address == "" || strings.ContainsAny(address, "<>|`\" \n") {
		return text
	}
	return "<" + strings.ReplaceAll(address, "&", "&amp;") + "|" + text + ">"
}

// render lays a card out as blocks, and as the one line for notifications and for readers of the screen.
func render(c report.Card) (blocks []slack.Block, text string) {
	p := &page{room: allMost}
	title := "*" + link(prose(c.Ref), c.URL) + "*"
	if c.Title != "" {
		title += " " + prose(c.Title)
	}
	p.add(c.Symbol + " *" + prose(c.Headline) + "* · " + cut(title, sectionMost-200))
	if c.Author != "" {
		p.context(cut("by "+prose(c.Author), 200))
	}
	var lines []string
	for _, l := range c.Lines {
		lines = append(lines, line(l))
	}
	if c.More != "" {
		lines = append(lines, prose(c.More))
	}
	links := linksOf(c)
	p.room -= len(links) + 200 // for the end, which is always there
	p.lines(lines)
	if len(c.Waiting) > 0 {
		var waits []string
		for _, w := range c.Waiting {
			waits = append(waits, prose(w))
		}
		p.lines([]string{"*Waiting for:* " + cut(strings.Join(waits, " · "), sectionMost-200)})
	}
	p.quote(c.Quote)
	if p.cut {
		links = strings.TrimSpace("Not everything fits here. " + links)
	}
	p.room = allMost
	p.context(links)
	fallback := c.Symbol + " " + prose(c.Ref) + ": " + prose(c.Headline)
	if c.Title != "" {
		fallback += " · " + prose(c.Title)
	}
	return p.blocks, cut(fallback, textMost)
}

func linksOf(c report.Card) string {
	var out []string
	for _, l := range c.Links {
		out = append(out, link(prose(l.Text), l.URL))
	}
	return strings.Join(out, " · ")
}

func line(spans []report.Span) string {
	var b strings.Builder
	for _, s := range spans {
		text := prose(s.Text)
		if s.Code {
			text = code(s.Text)
		}
		if s.Bold && strings.TrimSpace(text) == text && text != "" {
			text = "*" + text + "*"
		}
		b.WriteString(text)
	}
	return cut(b.String(), sectionMost-200)
}

// page collects blocks within the limit of all together.
type page struct {
	blocks []slack.Block
	room   int
	cut    bool
}

func mrkdwn(text string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.MarkdownType, text, false, true) // verbatim: addresses and channel names stay words
}

func (p *page) add(text string) {
	p.room -= utf8.RuneCountInString(text)
	p.blocks = append(p.blocks, slack.NewSectionBlock(mrkdwn(text), nil, nil))
}

func (p *page) context(text string) {
	if text != "" {
		p.room -= utf8.RuneCountInString(text)
		p.blocks = append(p.blocks, slack.NewContextBlock("", mrkdwn(text)))
	}
}

// lines packs whole lines into sections.
func (p *page) lines(all []string) {
	var b strings.Builder
	n := 0
	flush := func() {
		if n > 0 {
			p.add(strings.TrimSuffix(b.String(), "\n"))
		}
		b.Reset()
		n = 0
	}
	for _, l := range all {
		size := utf8.RuneCountInString(l) + 1
		if size > p.room-n {
			p.cut = true
			break
		}
		if n+size > sectionMost {
			flush()
		}
		b.WriteString(l + "\n")
		n += size
	}
	flush()
}

// quote is what a tool said, in a block of code.
func (p *page) quote(lines []string) {
	most := min(sectionMost, p.room) - 20
	var b strings.Builder
	n := 0
	for _, l := range lines {
		l = escape.Replace(report.Text(l))
		n += utf8.RuneCountInString(l) + 1
		if n > most {
			p.cut = true
			break
		}
		b.WriteString(l + "\n")
	}
	if b.Len() > 0 {
		p.add("```\n" + b.String() + "```")
	}
}

// cut keeps the beginning of a rendered text of more than limit characters. It breaks no entity, and no code span stays open.
func cut(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	s = string([]rune(s)[:limit-8])
	if amp := strings.LastIndexByte(s, '&'); amp >= 0 && !strings.Contains(s[amp:], ";") {
		s = s[:amp]
	}
	if open := strings.LastIndexByte(s, '<'); open >= 0 && !strings.Contains(s[open:], ">") { // only our links have one
		s = s[:open]
	}
	if strings.Count(s, "`")%2 == 1 {
		s += "`"
	}
	return s + "…"
}
