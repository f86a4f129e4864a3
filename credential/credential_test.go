package credential_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/planlatch/planlatch/credential"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// question is a plan of one project.
var question = credential.Question{Host: "github", Repo: "acme/infra", Dir: "prod/net", Workspace: "blue", Phase: "plan", Run: "r1"}

// bench is an Asker whose clock is ours, and what it logged.
type bench struct {
	*credential.Asker

	now atomic.Int64
	log lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func setup(o credential.Options) *bench {
	b := &bench{}
	b.now.Store(time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC).Unix())
	o.Now = func() time.Time { return time.Unix(b.now.Load(), 0).UTC() }
	o.Log = slog.New(slog.NewTextHandler(&b.log, nil))
	o.Environment = append([]string{"PATH=/usr/bin:/bin"}, o.Environment...)
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Minute // how long a program takes is no matter here
	}
	b.Asker = credential.New(o)
	return b
}

func sh(script string, args ...string) credential.Command {
	return credential.Command{Config: "aws-prod", Argv: append([]string{"sh", "-c", script, "sh"}, args...), TTL: time.Hour}
}

func TestAnAnswerIsWhatTheProgramPrinted(t *testing.T) {
	t.Parallel()
	b := setup(credential.Options{})
	got, err := b.Ask(t.Context(), sh(`echo '{"env": {"KEY": "k\"1"}, "values": {"REGION": "", "X": "x"}, "files": {"CONFIG": "a\\nb\\u0000"}, "expires": "2026-01-31T13:00:00+00:30"}'`),
		question, credential.Need{})
	want := credential.Answer{
		Env: map[string]string{"KEY": `k"1`}, Values: map[string]string{"REGION": "", "X": "x"}, Files: map[string]string{"CONFIG": "a\nb\x00"},
		Expires: time.Date(2026, 1, 31, 12, 30, 0, 0, time.UTC),
	}
	got.Expires = got.Expires.UTC()
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Ask() = %v (-want +got):\n%s", err, diff)
	}
}

func TestTheProgramGetsTheQuestionAndNothingElse(t *testing.T) {
	t.Parallel()
	b := setup(credential.Options{Environment: []string{"HOME=/srv/home"}})
	c := sh(`printf '{"values": {"GOT": "%s"}}' "$(env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= -e ^OLDPWD= | sort | tr '\n' ' ')$(pwd) $(cat) $*"`, "one", "two words")
	c.Environment = []string{"VAULT_ADDR=https://vault"}
	got, err := b.Ask(t.Context(), c, question, credential.Need{})
	want := "HOME=/srv/home PATH=/usr/bin:/bin PLANLATCH_DIR=prod/net PLANLATCH_HOST=github PLANLATCH_PHASE=plan PLANLATCH_PROJECT=prod/net " +
		"PLANLATCH_REPO=acme/infra PLANLATCH_RUN_ID=r1 PLANLATCH_WORKSPACE=blue VAULT_ADDR=https://vault /  one two words"
	if err != nil || got.Values["GOT"] != want {
		t.Errorf("the program got %q, %v\nwant %q", got.Values["GOT"], err, want)
	}
}

func TestWhateverIsNoAnswerGivesNoCredentials(t *testing.T) {
	t.Parallel()
	const invalid = "printed no valid answer"
	for name, tt := range map[string]struct {
		script, want, detail string
		need                 credential.Need
	}{
		"Exit":      {script: `echo '{"env": {"A": "abcdefgh"}}'; echo no access >&2; exit 3`, want: "failed (exit 3)", detail: "no access"},
		"Killed":    {script: `kill -9 $$`, want: "was killed"},
		"Nothing":   {script: `true`, want: invalid, detail: "printed nothing"},
		"Text":      {script: `echo sorry`, want: invalid, detail: "one JSON object"},
		"List":      {script: `echo '[]'`, want: invalid, detail: "one JSON object"},
		"Cut":       {script: `echo '{"env": {"A": "abcdefgh"'`, want: invalid, detail: "one JSON object"},
		"Two":       {script: `echo '{"env": {}} {}'`, want: invalid, detail: "one JSON object"},
		"Unknown":   {script: `echo '{"Credentials": {}}'`, want: invalid, detail: `"Credentials" is no key`},
		"OtherCase": {script: `echo '{"Env": {}}'`, want: invalid, detail: `"Env" is no key`},
		"KeyTwice":  {script: `echo '{"env": {}, "env": {}}'`, want: invalid, detail: `"env" is there twice`},
		"NameTwice": {script: `echo '{"env": {"A": "x", "A": "y"}}'`, want: invalid, detail: `"A" is there twice`},
		"InTwo":     {script: `echo '{"env": {"A": "x"}, "files": {"A": "y"}}'`, want: invalid, detail: "files.A is in env, too"},
		"NoObject":  {script: `echo '{"env": ["A"]}'`, want: invalid, detail: "env must be an object"},
		"Number":    {script: `echo '{"env": {"A": 1}}'`, want: invalid, detail: "env.A is no text"},
		"Null":      {script: `echo '{"env": {"A": null}}'`, want: invalid, detail: "env.A is no text"},
		"Empty":     {script: `echo '{"env": {"A": ""}}'`, want: invalid, detail: "env.A is empty"},
		"EmptyFile": {script: `echo '{"files": {"A": ""}}'`, want: invalid, detail: "files.A is empty"},
		"NUL":       {script: `echo '{"env": {"A": "\u0000"}}'`, want: invalid, detail: "env.A cannot be the value"},
		"Refused":   {script: `echo '{"env": {"PATH": "/evil"}}'`, want: invalid, detail: "PATH is not for runs"},
		"NoTime":    {script: `echo '{"env": {}, "expires": "soon"}'`, want: invalid, detail: "expires is no time"},
		"Expired":   {script: `echo '{"env": {}, "expires": "2026-01-31T11:59:59Z"}'`, want: "printed credentials that have expired"},
		"EndsTooSoon": {
			script: `echo '{"env": {}, "expires": "2026-01-31T12:04:10Z"}'`, need: credential.Need{Least: 5 * time.Minute},
			want: "printed credentials that end in 4m10s; a plan needs at least 5m0s",
		},
		"TooMuch":    {script: `yes '{"env": {"A": "x"}}'`, want: "printed more than 1048576 bytes"},
		"TooLong":    {script: `sleep 600`, want: "took longer than 2s"},
		"NotThere":   {script: "", want: "could not be started", detail: "no-such-program is no program along PATH"},
		"Executable": {script: "/etc/passwd", want: "could not be started", detail: "permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := credential.Options{Check: func(name string) error {
				if name == "PATH" {
					return errors.New("PATH is not for runs")
				}
				return nil
			}}
			if name == "TooLong" {
				o.Timeout = 2 * time.Second
			}
			b, c := setup(o), sh(tt.script)
			switch name {
			case "NotThere":
				c.Argv = []string{"no-such-program"}
			case "Executable":
				c.Argv = []string{tt.script}
			}
			_, err := b.Ask(t.Context(), c, question, tt.need)
			var e *credential.Error
			if !errors.As(err, &e) || err.Error() != "the credential command of aws-prod "+tt.want {
				t.Fatalf("Ask() = %v, want ... %s", err, tt.want)
			}
			if !strings.Contains(e.Detail, tt.detail) || (tt.detail != "") != strings.Contains(b.log.String(), "gave no credentials") && tt.detail != "" {
				t.Errorf("Detail = %q, log = %q, want %q in both", e.Detail, b.log.String(), tt.detail)
			}
		})
	}
}

func TestComplaintsReachTheLogWithoutSecrets(t *testing.T) {
	t.Parallel()
	b := setup(credential.Options{Redact: func(s string) string { return strings.ReplaceAll(s, "server-secret", "(hidden)") }})
	c := sh(`echo '{"env": {"A_KEY": "geheim-4711"}}'; head -c 100000 /dev/zero | tr '\0' x >&2; echo >&2; echo "denied for geheim-4711 with $VAULT_TOKEN at $VAULT_ADDR: server-secret" >&2; exit 1`)
	c.Environment = []string{"VAULT_TOKEN=s.f00ba7f00ba7", "VAULT_ADDR=https://vault.example.com"}
	_, err := b.Ask(t.Context(), c, question, credential.Need{})
	if log := b.log.String(); !strings.Contains(log, "denied for (redacted) with (redacted) at https://vault.example.com: (hidden)") || len(log) > 10_000 {
		t.Errorf("log of %d bytes ends in %q", len(log), log[max(0, len(log)-300):])
	}
	for _, secret := range []string{"geheim-4711", "f00ba7", "server-secret"} {
		if strings.Contains(b.log.String(), secret) || strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) {
			t.Errorf("%s leaked", secret)
		}
	}
}

// TestOfALongComplaintNoHalfASecretIsKept: the end is kept, wherever that begins.
func TestOfALongComplaintNoHalfASecretIsKept(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]string{"Word": "' is wrong '", "Line": `'\n'`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(credential.Options{})
			c := sh(`printf %s%b%8160s "no: $VAULT_TOKEN" ` + after + ` the-end >&2; exit 1`)
			c.Environment = []string{"VAULT_TOKEN=s.begins-like-this-and-ends-so"}
			_, _ = b.Ask(t.Context(), c, question, credential.Need{})
			if log := b.log.String(); strings.Contains(log, "ends-so") || !strings.Contains(log, "the-end") {
				t.Errorf("log = %.200q", log)
			}
		})
	}
}

func TestWhatAProgramStartedEndsWithIt(t *testing.T) {
	t.Parallel()
	pid := filepath.Join(t.TempDir(), "pid")
	b := setup(credential.Options{})
	began := time.Now()
	if _, err := b.Ask(t.Context(), sh(`sleep 600 & echo $! >`+pid+`; echo '{"env": {"A": "x"}}'`), question, credential.Need{}); err != nil {
		t.Fatalf("Ask() = %v, want the answer in spite of what holds the pipe", err)
	}
	if took := time.Since(began); took > 5*time.Minute { // half of what holds the pipe
		t.Errorf("Ask() took %v", took)
	}
	text, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		state, err := os.ReadFile(filepath.Join("/proc", strings.TrimSpace(string(text)), "stat"))
		if err != nil || strings.Contains(string(state), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %s still runs: %s", text, state)
		}
	}
}

func TestWhoeverGivesUpIsNotAnsweredAndNotBlamed(t *testing.T) {
	t.Parallel()
	b := setup(credential.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Ask(ctx, sh("sleep 600"), question, credential.Need{}); !errors.Is(err, context.Canceled) || b.log.String() != "" {
		t.Errorf("Ask() = %v, log %q, want the context's error alone", err, b.log.String())
	}
}
