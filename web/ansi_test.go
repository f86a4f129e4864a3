package web_test

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/net/html"

	"github.com/planlatch/planlatch/web"
)

func TestOnlyColoursAreLeftOfATerminal(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, log, html, plain string }{
		{"Text", "a <b> & \"c\"\n", "a &lt;b&gt; &amp; &#34;c&#34;\n", "a <b> & \"c\"\n"},
		{"Colour", "\x1b[31mred\x1b[0m plain", `<span class="f1">red</span> plain`, "red plain"},
		{"Bright", "\x1b[1;92;41mx\x1b[m", `<span class="f10 b1 bold">x</span>`, "x"},
		{"Taken back", "\x1b[1;3;4;31;42mx\x1b[22;23;24;39;49my", `<span class="f1 b2 bold italic line">x</span>y`, "xy"},
		{"Palette is skipped", "\x1b[38;5;1mx\x1b[48;2;1;2;3;1my", `x<span class="bold">y</span>`, "xy"},
		{"Cursor", "a\x1b[2Kb\x1b[1A", `a\u001b[2Kb\u001b[1A`, `a\u001b[2Kb\u001b[1A`},
		{"Title and link", "\x1b]0;x\x07\x1b]8;;http://e\x1b\\l", `\u001b]0;x\u0007\u001b]8;;http://e\u001b\l`, `\u001b]0;x\u0007\u001b]8;;http://e\u001b\l`},
		{"Bidi and invisible", "a\u202eb\u200bc\ufeff", `a\u202eb\u200bc\ufeff`, `a\u202eb\u200bc\ufeff`},
		{"C1 and DEL", "\u009b31mx\x7f", `\u009b31mx\u007f`, `\u009b31mx\u007f`},
		{"No UTF-8", "a\xffb\xc3", `a\xffb\xc3`, `a\xffb\xc3`},
		{"Line ends", "a\r\nb\rc\r", "a\nb\nc\n", "a\nb\nc\n"},
		{"Unfinished", "a\x1b[3", `a\u001b[3`, `a\u001b[3`},
		{"Endless", "\x1b[" + strings.Repeat("1;", 100) + "mx", `\u001b[` + strings.Repeat("1;", 100) + "mx", `\u001b[` + strings.Repeat("1;", 100) + "mx"},
		{"Umlaut", "ä│→😀", "ä│→😀", "ä│→😀"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := web.Paint(false, tt.log); got != tt.html {
				t.Errorf("html of %q = %q, want %q", tt.log, got, tt.html)
			}
			if got := web.Paint(true, tt.log); got != tt.plain {
				t.Errorf("text of %q = %q, want %q", tt.log, got, tt.plain)
			}
			bytewise := strings.Split(tt.log, "")
			if strings.ToValidUTF8(tt.log, "") != tt.log {
				return // Split joins no bytes
			}
			if got := web.Paint(true, bytewise...); got != tt.plain {
				t.Errorf("text of %q, piece by piece = %q, want %q", tt.log, got, tt.plain)
			}
		})
	}
}

// FuzzPaint shows that whatever a log holds is text: no element but our spans, no attribute but their class, nothing invisible, and the same
// wherever it is cut.
func FuzzPaint(f *testing.F) {
	for _, s := range []string{"", "\x1b[31m<script>alert(1)</script>\x1b[0m", "\x1b[1;9", "</span><img src=x onerror=y>", "\xe2\x80", "\r\r\n", "&lt;\u202e", "\x1b[38;5", "\x1b\x1b[1m\x1b"} {
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, s string, cut int) {
		cut = max(0, min(cut, len(s)))
		whole := web.Paint(false, s)
		if strings.ContainsFunc(whole, func(r rune) bool {
			return r != '\n' && r != '\t' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
		}) {
			t.Errorf("%q → %q has an invisible character", s, whole)
		}
		nodes, err := html.ParseFragment(strings.NewReader("<pre>\n"+whole+"</pre>"), nil)
		if err != nil {
			t.Fatal(err)
		}
		read := ""
		for _, n := range nodes {
			for d := range n.Descendants() {
				switch {
				case d.Type == html.TextNode:
					read += d.Data
				case d.Type == html.ElementNode && d.Data == "span" && (len(d.Attr) != 1 || d.Attr[0].Key != "class"),
					d.Type == html.ElementNode && !slices.Contains([]string{"html", "head", "body", "pre", "span"}, d.Data):
					t.Errorf("%q → %q has %v", s, whole, d)
				}
			}
		}
		if plain := web.Paint(true, s); read != plain {
			t.Errorf("%q reads %q in HTML and %q as text", s, read, plain)
		}
		if got, want := web.Paint(true, s[:cut], s[cut:]), web.Paint(true, s); got != want {
			t.Errorf("%q cut at %d reads %q, want %q", s, cut, got, want)
		}
	})
}
