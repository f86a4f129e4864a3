package credential

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/program"
	"github.com/planlatch/planlatch/redact"
)

// What a program may print. More is no answer, and of its complaints the end is what counts.
const (
	mostAnswer = 1 << 20
	mostStderr = 8 << 10
)

// waitDelay is how long the pipes of a program may stay open after its end: something that it started has them.
const waitDelay = 2 * time.Second

// run runs the program once, in a process group of its own, and reads its answer.
func (a *Asker) run(ctx context.Context, c Command, q Question) (Answer, error) {
	environment := slices.Concat(a.o.Environment, c.Environment)
	path, err := program.Find(c.Argv[0], environment)
	if err != nil {
		return Answer{}, a.failed(c, q, "could not be started", err, "")
	}
	bounded, cancel := context.WithTimeout(ctx, a.o.Timeout)
	defer cancel()
	stdout, stderr := &head{most: mostAnswer, full: cancel}, &end{most: mostStderr}
	cmd := exec.CommandContext(bounded, path) //nolint:gosec // the operator's own program, from server.yaml
	cmd.Args, cmd.Dir, cmd.Env = c.Argv, "/", slices.Concat(environment, q.variables())
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr, cmd.WaitDelay = &syscall.SysProcAttr{Setpgid: true}, waitDelay
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	err = cmd.Run()
	if cmd.Process != nil {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // what it left behind; usually nobody
	}
	what := ""
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return Answer{}, ctx.Err()
	case stdout.over:
		what = fmt.Sprintf("printed more than %d bytes", mostAnswer)
	case bounded.Err() != nil:
		what = fmt.Sprintf("took longer than %s", a.o.Timeout)
	case errors.As(err, &exit) && exit.Exited():
		what = fmt.Sprintf("failed (exit %d)", exit.ExitCode())
	case errors.As(err, &exit):
		what = "was killed"
	case err != nil && !errors.Is(err, exec.ErrWaitDelay): // its own end was good, and an answer is whole or no JSON
		what = "could not be started"
	}
	if what == "" {
		answer, fault := decode(stdout.kept.Bytes(), a.o.Check)
		if fault == nil {
			return answer, nil
		}
		what, err = "printed no valid answer", fault
	}
	complaint := ""
	if !stdout.over { // else what it printed is too much to be withheld: that takes seconds and hundreds of megabytes
		complaint = a.complaint(stderr.text(), stdout.kept.String(), environment)
	}
	return Answer{}, a.failed(c, q, what, err, complaint)
}

// complaint is what a program wrote to stderr, without what it wrote to stdout, what its environment holds, and the server's secrets.
func (a *Asker) complaint(stderr, stdout string, environment []string) string {
	hidden := append(redact.InFile(stdout), redact.InFile(strings.Join(environment, "\n"))...)
	return a.o.Redact(redact.String(hidden)(strings.TrimSpace(strings.ToValidUTF8(stderr, "?"))))
}

func (q Question) variables() []string {
	return []string{
		"PLANLATCH_HOST=" + q.Host, "PLANLATCH_REPO=" + q.Repo, "PLANLATCH_DIR=" + q.Dir, "PLANLATCH_PROJECT=" + q.Dir,
		"PLANLATCH_WORKSPACE=" + q.Workspace, "PLANLATCH_PHASE=" + q.Phase, "PLANLATCH_RUN_ID=" + q.Run,
	}
}

// head keeps what is written up to a limit, and calls full when it is passed. The buffer is no embedded one: its ReadFrom knows no limit.
type head struct {
	kept bytes.Buffer
	most int
	over bool
	full func()
}

func (h *head) Write(p []byte) (int, error) {
	if h.over = h.over || h.kept.Len()+len(p) > h.most; h.over {
		h.full()
		return len(p), nil // the program is being killed; an error would end it with another message
	}
	return h.kept.Write(p)
}

// end keeps the last bytes of what is written.
type end struct {
	kept bytes.Buffer
	most int
	cut  bool
}

func (e *end) Write(p []byte) (int, error) {
	n, err := e.kept.Write(p)
	if over := e.kept.Len() - e.most; over > 0 {
		e.kept.Next(over)
		e.cut = true
	}
	return n, err
}

// text is what was kept, from its first whole line or else word on: half of a secret would not be known for one.
func (e *end) text() string {
	text := e.kept.String()
	if !e.cut {
		return text
	}
	if _, rest, ok := strings.Cut(text, "\n"); ok {
		return rest
	}
	_, rest, _ := strings.Cut(text, " ")
	return rest
}
