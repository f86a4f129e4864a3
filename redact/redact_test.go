package redact_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/redact"
)

const secret = `s3cr3t/Pa$$+"w<rd>&`

func TestStringWithholdsEveryForm(t *testing.T) {
	t.Parallel()
	quoted, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	twice, err := json.Marshal(string(quoted))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{
		"raw":              secret,
		"json":             string(quoted),
		"json in json":     string(twice),
		"query":            url.QueryEscape(secret),
		"path":             url.PathEscape(secret),
		"userinfo":         url.UserPassword("u", secret).String(),
		"lower hex":        strings.NewReplacer("%2F", "%2f", "%2B", "%2b", "%3C", "%3c", "%3E", "%3e").Replace(url.QueryEscape(secret)),
		"base64":           base64.StdEncoding.EncodeToString([]byte(secret)),
		"base64 url":       base64.RawURLEncoding.EncodeToString([]byte(secret)),
		"base64 basic":     base64.StdEncoding.EncodeToString([]byte("user:" + secret)),
		"base64 longer":    base64.StdEncoding.EncodeToString([]byte("user12:" + secret + "\n")),
		"base64 misplaced": base64.StdEncoding.EncodeToString([]byte("u" + secret + "xy")),
	}
	redacted := redact.String([]string{secret})
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := redacted("before " + text + " after")
			if !strings.Contains(got, redact.Mark) || len(got) > len("before  after")+len(redact.Mark)+16 {
				t.Errorf("String(%q) = %q, want the secret withheld", text, got)
			}
			if !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") {
				t.Errorf("String(%q) = %q, want the rest kept", text, got)
			}
		})
	}
}

func TestString(t *testing.T) {
	t.Parallel()
	key := "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nshort\n-----END KEY-----\n"
	tests := []struct {
		name    string
		secrets []string
		text    string
		want    string
	}{
		{"NoSecrets", nil, "all of it", "all of it"},
		{"ShortOnesStay", []string{"seven77"}, "seven77", "seven77"},
		{"CharactersCountNotBytes", []string{"äöüäöü7"}, "äöüäöü7", "äöüäöü7"},
		{"Surrounding space does not matter", []string{"  password1\n"}, "x=password1;", "x=(redacted);"},
		{"LongestWins", []string{"password", "password-long"}, "a password-long b password c", "a (redacted) b (redacted) c"},
		{"OverlapsBecomeOne", []string{"abcdefgh", "efghijkl"}, "-abcdefghijkl-", "-(redacted)-"},
		{"NeighboursStayTwo", []string{"abcdefgh"}, "abcdefghabcdefgh", "(redacted)(redacted)"},
		{"SelfOverlap", []string{"aaaaaaaa"}, "baaaaaaaaaaab", "b(redacted)b"},
		{"InsideALongerBeginning", []string{"xxabcdefghyy", "abcdefgh"}, "xxabcdefghyz", "xx(redacted)yz"},
		{"LinesOfAKey", []string{key}, "  + MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n  + short", "  + (redacted)\n  + short"},
		{"LessThanASCII", []string{"0123456789abcdefé-and-a-fews"}, "0123456789abcdef and 0123456789abcdef??-and-a-fews", "(redacted) and (redacted)??-and-a-fews"},
		{"KeyFileOfAServiceAccount", []string{`{"type":"x","private_key":"-----BEGIN\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n"}`},
			"got MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", "got (redacted)"},
		{"HCLQuoting", []string{`pa${x}ss"word`}, `v = "pa$${x}ss\"word"`, `v = "(redacted)"`},
		{"NotUTF8", []string{"\xff\xfe12345678"}, "a\xff\xfe12345678b\xff", "a(redacted)b\xff"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := redact.String(tt.secrets)(tt.text); got != tt.want {
				t.Errorf("String(%q)(%q) = %q, want %q", tt.secrets, tt.text, got, tt.want)
			}
		})
	}
}

// through feeds text in pieces that next sizes, and returns what came out.
func through(t testing.TB, set *redact.Set, text string, next func() int) string {
	t.Helper()
	var out bytes.Buffer
	w := set.Writer(&out)
	for len(text) > 0 {
		n := min(max(next(), 1), len(text))
		if _, err := w.Write([]byte(text[:n])); err != nil {
			t.Fatalf("Write() error: %v", err)
		}
		text = text[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatalf("Close() error: %v", err)
	}
	return out.String()
}

// randomCase makes secrets and a text that is full of their beginnings.
func randomCase(rnd *rand.Rand) (secrets []string, text string) {
	word := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "ab"[rnd.IntN(2)]
		}
		return string(b)
	}
	for range 1 + rnd.IntN(4) {
		secrets = append(secrets, word(8+rnd.IntN(6)))
	}
	var b strings.Builder
	for range rnd.IntN(12) {
		switch s := secrets[rnd.IntN(len(secrets))]; rnd.IntN(4) {
		case 0:
			b.WriteString(s)
		case 1:
			b.WriteString(s[:rnd.IntN(len(s))])
		case 2:
			b.WriteString(s[rnd.IntN(len(s)):])
		default:
			b.WriteString(word(rnd.IntN(10)))
		}
	}
	return secrets, b.String() + ".\n"
}

// naive withholds every byte of every occurrence, by brute force.
func naive(secrets []string, text string) string {
	hidden := make([]bool, len(text))
	joined := make([]bool, len(text)+1) // an occurrence spans the border before i
	for _, s := range secrets {
		for i := 0; i+len(s) <= len(text); i++ {
			if text[i:i+len(s)] == s {
				for j := i; j < i+len(s); j++ {
					hidden[j] = true
					joined[j] = joined[j] || j > i
				}
			}
		}
	}
	var b strings.Builder
	for i := range len(text) {
		switch {
		case !hidden[i]:
			b.WriteByte(text[i])
		case !joined[i]:
			b.WriteString(redact.Mark)
		}
	}
	return b.String()
}

func TestWriterAgreesWithBruteForceHoweverItIsFed(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		secrets, text := randomCase(rnd)
		set := redact.Compile(secrets)
		want := naive(secrets, text)
		if got := set.String(text); got != want {
			t.Fatalf("String(%q)(%q) = %q, want %q", secrets, text, got, want)
		}
		if got := through(t, set, text, func() int { return len(text) }); got != want {
			t.Fatalf("one write of %q with %q = %q, want %q", text, secrets, got, want)
		}
		if got := through(t, set, text, func() int { return 1 }); got != want {
			t.Fatalf("byte by byte %q with %q = %q, want %q", text, secrets, got, want)
		}
		if got := through(t, set, text, func() int { return rnd.IntN(9) }); got != want {
			t.Fatalf("in pieces %q with %q = %q, want %q", text, secrets, got, want)
		}
	}
}

func TestCleanIsWhereAnotherWriterGoesOn(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		secrets, text := randomCase(rnd)
		set := redact.Compile(secrets)
		var out bytes.Buffer
		cut := rnd.IntN(len(text) + 1)
		first := set.Writer(&out)
		if _, err := first.Write([]byte(text[:cut])); err != nil {
			t.Fatal(err)
		}
		clean := first.Clean()
		if clean > int64(cut) {
			t.Fatalf("Clean() = %d after %d bytes", clean, cut)
		}
		out.WriteString(through(t, set, text[clean:], func() int { return 1 + rnd.IntN(5) }))
		if want := set.String(text); out.String() != want {
			t.Fatalf("%q with %q cut at %d, resumed at %d = %q, want %q", text, secrets, cut, clean, out.String(), want)
		}
	}
}

func TestWriterHoldsBackTheLineThatHasNotEnded(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := redact.New(&out, []string{"password1", "one of three words"})
	for _, step := range []struct {
		text, out string
		clean     int64
	}{
		{"hello\npass", "hello\n", 6},
		{"enger", "hello\n", 6},
		{"\none of", "hello\npassenger\n", 16},
		{" three\n", "hello\npassenger\n", 16}, // it may go on in the next line
		{"\n  others\n", "hello\npassenger\none of three\n\n  others\n", 39},
		{strings.Repeat("x", 70<<10), "hello\npassenger\none of three\n\n  others\n" + strings.Repeat("x", 70<<10-24), 39 + 70<<10 - 24},
	} {
		fmt.Fprint(w, step.text)
		if out.String() != step.out || w.Clean() != step.clean {
			t.Errorf("after %.20q written = %.60q (%d bytes), Clean() = %d, want %.60q (%d) and %d", step.text, out.String(), out.Len(), w.Clean(),
				step.out, len(step.out), step.clean)
		}
	}
}

// TestNobodyFindsOutASecretByWatchingWhenTextGoes plays who prints beginnings of the server's secrets, line by line or not, and looks which of
// them are held back: whatever the secrets are, all goes at the same time.
func TestNobodyFindsOutASecretByWatchingWhenTextGoes(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		guessed, others, own := "guess-"+fmt.Sprintf("%012d", rnd.Int64N(1e12)), "other-"+fmt.Sprintf("%012d", rnd.Int64N(1e12)), []string{"given to the run"}
		var seen, unlike bytes.Buffer
		one, two := redact.CompileFor(own, []string{guessed}).Writer(&seen), redact.CompileFor(own, []string{others}).Writer(&unlike)
		for range rnd.IntN(20) {
			piece := guessed[:rnd.IntN(len(guessed))] + []string{"", "", " ", "\n", "given to\n", strings.Repeat("y", 9<<10)}[rnd.IntN(6)]
			fmt.Fprint(one, piece)
			fmt.Fprint(two, piece)
			if seen.String() != unlike.String() {
				t.Fatalf("after %.40q: %.80q with the secret, %.80q without", piece, seen.String(), unlike.String())
			}
		}
		if err := errors.Join(one.Close(), two.Close()); err != nil || seen.String() != unlike.String() {
			t.Fatalf("closed: %.80q with the secret, %.80q without, %v", seen.String(), unlike.String(), err)
		}
	}
}

func TestSecretsOfOthersAreWithheldWithinALine(t *testing.T) {
	t.Parallel()
	key := "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END KEY-----\n"
	set := redact.CompileFor([]string{"of the run, and"}, []string{"of the server", key})
	const text = "it was of the server,\nof  the\nrun, and MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n"
	if got, want := set.String(text), "it was (redacted),\n(redacted) (redacted)\n"; got != want {
		t.Errorf("String(%q) = %q, want %q", text, got, want)
	}
	if got := set.String("v = " + strings.ReplaceAll(key, "\n", `\n`)); got != `v = (redacted)\n` {
		t.Errorf("a key on one line = %q", got)
	}
}

// TestLayoutDoesNotMatter as tools wrap, indent and frame what they print: at the width of the terminal, in heredocs, in diagnostics.
func TestLayoutDoesNotMatter(t *testing.T) {
	t.Parallel()
	const words, lines = "correct horse battery staple", "user12\nhunter2-pass12\nx9\n"
	set := redact.Compile([]string{words, lines})
	for _, tt := range []struct{ text, want string }{
		{"refused: correct horse\nbattery staple as it says", "refused: (redacted) as it says"},
		{"│ refused: correct horse\n│ battery staple.\n", "│ refused: (redacted).\n"},
		{"│ refused: correct\r\n│\n│   horse battery │ staple.\n", "│ refused: (redacted).\n"},
		{"v = <<-EOT\n      user12\n      hunter2-pass12\n      x9\n  EOT", "v = <<-EOT\n      (redacted)\n  EOT"},
		{"      + hunter2-pass12\n      + x9", "      + (redacted)\n      + x9"},
		{"correct \xe2\x94horse", "correct \xe2\x94horse"},
		{"correct │horse battery stapler │ │", "(redacted)r │ │"},
		{"correct horse battery", "correct horse battery"},
	} {
		if got := set.String(tt.text); got != tt.want {
			t.Errorf("String(%q) = %q, want %q", tt.text, got, tt.want)
		}
		for size := 1; size < 5; size++ {
			if got := through(t, set, tt.text+"\n", func() int { return size }); got != tt.want+"\n" {
				t.Errorf("%q in pieces of %d = %q, want %q", tt.text, size, got, tt.want)
			}
		}
	}
	if got := set.String(strings.Repeat("a  b \n", 5000) + "correct   horse\n battery staple"); !strings.HasSuffix(got, "a  b \n(redacted)") {
		t.Errorf("after much layout = …%q", got[len(got)-40:])
	}
}

func TestALogCutInTheMiddleOfASecretKeepsIt(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"the token=0123456789abcde": "the (redacted)",
		"passenger":                 "(redacted)", // as if it were: else a beginning that is right could be told from one that is not
		"token: 0123":               "token: 0123",
		"0123456789abcde\n":         "0123456789abcde\n",
	} {
		var out bytes.Buffer
		w := redact.New(&out, []string{"0123456789abcdef"})
		fmt.Fprint(w, text)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Errorf("%q closed = %q, want %q", text, out.String(), want)
		}
		if got := w.Clean(); got != int64(len(text)) {
			t.Errorf("Clean() = %d, want %d", got, len(text))
		}
		if _, err := w.Write([]byte("x")); err == nil {
			t.Error("Write() after Close() = nil, want an error")
		}
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestWriterStaysFailed(t *testing.T) {
	t.Parallel()
	boom := errors.New("disk full")
	w := redact.New(failing{boom}, nil)
	for range 2 {
		if _, err := w.Write([]byte("x\n")); !errors.Is(err, boom) {
			t.Errorf("Write() = %v, want %v", err, boom)
		}
	}
	if err := w.Close(); !errors.Is(err, boom) {
		t.Errorf("Close() = %v, want %v", err, boom)
	}
	if got := w.Clean(); got > 2 {
		t.Errorf("Clean() = %d", got)
	}
}

func FuzzWriter(f *testing.F) {
	f.Add("password1", "aaaaaaaa", "x password1 aaaaaaaaaaaaa", 3)
	f.Add(secret, "\x00\xff\xfe------", base64.StdEncoding.EncodeToString([]byte("u:"+secret)), 1)
	f.Add("a\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC", "%2F%2f%2F", "%2F%2f%2F%2f", 2)
	f.Fuzz(func(t *testing.T, a, b, text string, size int) {
		set := redact.Compile([]string{a, b})
		whole := through(t, set, text, func() int { return len(text) })
		if got := through(t, set, text, func() int { return size % 64 }); got != whole {
			t.Errorf("in pieces of %d = %q, in one = %q", size%64, got, whole)
		}
		for _, s := range []string{a, b} {
			if s = strings.TrimSpace(s); len([]rune(s)) >= redact.MinLength && strings.Contains(whole, s) && !strings.Contains(redact.Mark, s) && //nolint:gocritic // a secret that is part of the mark
				!strings.Contains(s, redact.Mark[:1]) && !strings.Contains(s, redact.Mark[len(redact.Mark)-1:]) {
				t.Errorf("%q is still in %q", s, whole)
			}
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	secrets := make([]string, 50)
	for i := range secrets {
		secrets[i] = fmt.Sprintf("secret-%04d-%s", i, strings.Repeat("k", 40))
	}
	set := redact.Compile(secrets)
	line := []byte(strings.Repeat("aws_instance.web[0]: Still creating... [10s elapsed] secret-key\n", 512))
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		w := set.Writer(&bytes.Buffer{})
		if _, err := w.Write(line); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriterWorstCase(b *testing.B) {
	set := redact.Compile([]string{strings.Repeat("a", 4000) + "b"})
	text := []byte(strings.Repeat("a", 1<<20))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		w := set.Writer(&bytes.Buffer{})
		if _, err := w.Write(text); err != nil {
			b.Fatal(err)
		}
	}
}
