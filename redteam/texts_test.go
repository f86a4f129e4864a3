package redteam_test

import (
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
	nethtml "golang.org/x/net/html"

	"github.com/planlatch/planlatch/vcs/vcstest"
)

// Row 18: words that a host, a chat or a browser acts upon, wherever a pull request has a say. Comments are read as hosts read them, pages as
// browsers do, messages as Slack and Teams do; whatever then does something is loot. Without the escapes means: the same texts as the server
// wrote them, each escape undone.

// words are what is planted.
var words = []string{
	"@everyone @here /approve", "<!channel> <!everyone> <@U12345>", "![beacon](http://evil.example/beacon.png)", "<img src=http://evil.example/image.png>",
	"</code></pre></details><script src=http://evil.example/script.js></script>", "[click](http://evil.example/click)", "<http://evil.example/auto|click>",
	"```\n/approve\n@everyone\n![beacon](http://evil.example/fence.png)\n````\n~~~\n", "\x1b]8;;http://evil.example\x07link\x1b[31mred\x1b]0;title\x07",
	"\u202elive\u2066x", "<!-- planlatch:summary -->", "http://evil.example/plain www.evil.example", "\n/approve\n/merge\n",
}

const hostileName = "words @everyone <!channel> [x](y)"

func textAttacks() []attack {
	const reads = "locals {\n  words = jsondecode(file(\"${path.module}/words.json\"))\n}\n\n"
	plays := func(code string) func(w *world) []string {
		return func(w *world) []string {
			list, err := json.Marshal(words)
			check(w.T, err)
			head := w.mallory.Commit(w, w.repo, vcstest.Change{Branch: w.name, Message: strings.Join(words[:5], " "), Files: map[string]string{
				hostileName + "/main.tf": reads + code, hostileName + "/words.json": string(list),
			}})
			pull := w.mallory.Open(w, w.repo, w.name, "main", "@everyone <!channel> ![beacon](http://evil.example/title.png)")
			w.ends(head, "planlatch/plan")
			until(w.T, "comment and messages", func() (string, bool) {
				s, chat := w.summary(pull), w.server.chatted()
				return s + chat, strings.Contains(s, "evil.example") && said(chat, "/slack", w.repo.Name) && said(chat, "/teams", w.repo.Name)
			})
			w.tells(w.mallory, pull, "planlatch plan -p "+words[2]) // an answer quotes what it was given
			until(w.T, "an answer", func() (string, bool) { return w.answers(pull), w.answers(pull) != "" })
			loot := map[string][]string{}
			outputs := w.outputs(pull, head)
			maps.Copy(outputs, w.server.pages(w.Context(), w.repo.Name, "")) // of every directory
			for place, text := range outputs {
				switch {
				case strings.HasPrefix(place, "comment"):
					loot["a comment"] = append(loot["a comment"], actsInComment(w.asWritten(text), w.server.URL)...)
				case strings.HasSuffix(place, "/log"):
					loot["a log"] = append(loot["a log"], invisible(w.asWritten(text))...)
				case strings.HasPrefix(place, "GET /runs/"):
					loot["a page"] = append(loot["a page"], actsOnPage(w.asWritten(text))...)
				case strings.HasPrefix(place, "status"):
					loot["a status"] = append(loot["a status"], invisible(text)...)
				}
			}
			for path, body := range posted(w.server.chatted()) {
				for _, m := range messages(body, w.repo.Name) {
					acts := actsInSlack
					if strings.HasPrefix(path, "/teams") {
						acts = actsInTeams
					}
					if strings.HasPrefix(path, "/slack") || strings.HasPrefix(path, "/teams") { // what a program is sent is data, and JSON
						loot["a message"] = append(loot["a message"], acts(w.asWritten(m))...)
					}
				}
			}
			var all []string
			for _, place := range []string{"a comment", "a page", "a message"} {
				if w.breached() && len(loot[place]) == 0 {
					w.Errorf("with the escapes undone nothing acts in %s", place)
				}
			}
			for _, place := range slices.Sorted(maps.Keys(loot)) {
				for _, l := range loot[place] {
					all = append(all, place+": "+l)
				}
			}
			return all
		}
	}
	return []attack{
		{
			Row: 18, Name: "mentions, commands, beacons, fences and escapes in names, values and policy messages", Wall: "escapes", On: policed, Without: escapes,
			Own: true, Quick: true,
			Try: plays(`resource "terraform_data" "x" {
  for_each = toset(local.words)
  input    = each.value
}

output "words" {
  value = local.words
}

check "words" {
  assert {
    condition     = length(local.words) == 0
    error_message = join(" ", local.words)
  }
}
`),
		},
		{
			Row: 18, Name: "mentions, commands, beacons, fences and escapes in the text of an error", Wall: "escapes", On: policed, Without: escapes, Own: true,
			Try: plays(`resource "terraform_data" "x" {
  lifecycle {
    precondition {
      condition     = length(local.words) == 0
      error_message = join("\n", local.words)
    }
  }
}
`),
		},
	}
}

// withPolicy has a policy whose messages repeat what a plan says, and channels of every kind.
func withPolicy(c *settings) {
	dir := filepath.Join(filepath.Dir(c.Data), "policy")
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "words.rego"), []byte(`package words

finding contains {"rule": "words", "message": change.change.after.input, "fix": change.change.after.input, "resource": change.address} if {
	some change in input.resource_changes
}
`), 0o600)
	}
	if err != nil {
		panic(err)
	}
	c.Extra += fmt.Sprintf("  - {name: slack, kind: slack, url: \"%s/slack\"}\n  - {name: teams, kind: teams, url: \"%s/teams\"}\n", c.Chat, c.Chat)
	c.Sets = fmt.Sprintf("  - {name: words, source: %q, level: hard}\n", dir)
}

// said tells whether a channel has heard of a repository.
func said(chat, channel, repo string) bool {
	for path, body := range posted(chat) {
		if strings.HasPrefix(path, channel) && strings.Contains(body, repo) {
			return true
		}
	}
	return false
}

// posted yields the posts that the chat got: path and body.
func posted(chat string) func(yield func(path, body string) bool) {
	return func(yield func(path, body string) bool) {
		path := ""
		for line := range strings.Lines(chat) {
			if strings.HasPrefix(line, "/") {
				path = strings.TrimSpace(line)
			} else if path != "" && strings.TrimSpace(line) != "" && !yield(path, line) {
				return
			}
		}
	}
}

// messages are all texts of a message about a repository that are not for showing as code.
func messages(body, repo string) []string {
	var v any
	if !strings.Contains(body, repo) || json.Unmarshal([]byte(body), &v) != nil {
		return nil
	}
	return texts(v)
}

func texts(v any) (all []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, item := range v {
			all = append(all, texts(item)...)
		}
	case map[string]any:
		for key, item := range v {
			if key != "codeSnippet" { // of Teams: shown as it is
				all = append(all, texts(item)...)
			}
		}
	}
	return all
}

// asWritten is a text as the server wrote it; where escapes are the missing wall, with every escape undone.
func (w *world) asWritten(s string) string {
	if w.server.without != escapes {
		return s
	}
	s = strings.ReplaceAll(html.UnescapeString(s), "\u200b", "")
	s = strings.NewReplacer("∗", "*", "∼", "~", "ˋ", "`", `\u202e`, "\u202e", `\u001b`, "\x1b").Replace(s)
	return regexp.MustCompile("\\\\([!-/:-@\\[-`{-~])").ReplaceAllString(s, "$1")
}

// invisible finds characters that turn text around or speak to a terminal.
func invisible(s string) []string {
	for _, r := range s {
		if r != '\n' && r != '\t' && r != '\r' && r != '\u200b' && r != '\ufe0f' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return []string{fmt.Sprintf("the character %U", r)}
		}
	}
	return nil
}

var (
	called  = regexp.MustCompile(`@(?:everyone|here)`)
	slash   = regexp.MustCompile(`(?m)^[ \t>]*/(?:approve|merge)`)
	ours    = regexp.MustCompile(`^(?:\s*(?:</?(?:details|summary|b|code)>|<!-- planlatch:[a-z]+(?::[0-9a-f]+)? -->|[^<]))*\s*$`)
	evilURL = regexp.MustCompile(`(?:https?:)?//[^\s"'<>]*evil\.example|www\.evil`)
)

// actsInComment reads Markdown as hosts do.
func actsInComment(body, url string) (loot []string) {
	src := []byte(body)
	found := func(what, got string) { loot = append(loot, what+" "+last(got, 200)) }
	if strings.Count(body, "<!-- planlatch:") > 1 {
		found("a second marker of ours in", body)
	}
	if m := slash.FindString(body); m != "" {
		found("a command to the host", m)
	}
	md := goldmark.New(goldmark.WithExtensions(extension.GFM))
	_ = ast.Walk(md.Parser().Parse(text.NewReader(src)), func(n ast.Node, entering bool) (ast.WalkStatus, error) { // never fails
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Image:
			found("an image of", string(n.Destination))
		case *ast.Link:
			if !strings.HasPrefix(string(n.Destination), url) {
				found("a link to", string(n.Destination))
			}
		case *ast.AutoLink:
			found("a link to", string(n.URL(src)))
		case *ast.RawHTML:
			found("HTML", string(n.Segments.Value(src)))
		case *ast.HTMLBlock:
			if block := string(n.Lines().Value(src)); !ours.MatchString(block) {
				found("HTML", block)
			}
		case *ast.Text:
			if _, code := n.Parent().(*ast.CodeSpan); !code {
				if s := string(n.Segment.Value(src)); called.MatchString(html.UnescapeString(s)) {
					found("a mention in", s)
				}
			}
		}
		return ast.WalkContinue, nil
	})
	return append(loot, invisible(body)...)
}

// actsOnPage reads HTML as browsers do.
func actsOnPage(body string) (loot []string) {
	root, err := nethtml.Parse(strings.NewReader(body))
	if err != nil {
		return []string{"a page that cannot be read: " + err.Error()}
	}
	for n := range root.Descendants() {
		if n.Type == nethtml.TextNode {
			loot = append(loot, invisible(n.Data)...)
		}
		for _, a := range n.Attr {
			if a.Key == "src" && !strings.HasPrefix(a.Val, "/assets/") {
				loot = append(loot, fmt.Sprintf("an element %s from %s", n.Data, a.Val))
			}
			if evilURL.MatchString(a.Val) && (a.Key == "src" || a.Key == "href" || strings.HasPrefix(a.Key, "on")) {
				loot = append(loot, fmt.Sprintf("an element %s with %s=%q", n.Data, a.Key, a.Val))
			}
		}
	}
	return loot
}

var (
	slackCode = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	mrkdwn    = regexp.MustCompile(`<(?:[!@#]|[a-z]+:/*[^|>]*evil)[^>]*>?`)
	adaptive  = regexp.MustCompile(`!?\[[^\]]*\]\([^)]*\)|<at>`)
)

// actsInSlack reads a text as Slack does: what is in angle brackets acts even in code.
func actsInSlack(s string) (loot []string) {
	if m := mrkdwn.FindString(s); m != "" {
		loot = append(loot, "Slack acts on "+m)
	}
	if m := called.FindString(slackCode.ReplaceAllString(s, "")); m != "" {
		loot = append(loot, "Slack calls "+m)
	}
	return append(loot, invisible(s)...)
}

// actsInTeams reads a text as Teams does: some Markdown, and no code.
func actsInTeams(s string) (loot []string) {
	if m := adaptive.FindString(s); m != "" {
		loot = append(loot, "Teams acts on "+m)
	}
	if m := called.FindString(s); m != "" {
		loot = append(loot, "Teams calls "+m)
	}
	return append(loot, invisible(s)...)
}
