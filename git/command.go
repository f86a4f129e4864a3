package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// killAfter is how long git may take to remove its temporary files once it was told to end.
const killAfter = 5 * time.Second

// call is one git command in a mirror.
type call struct {
	args    []string
	in      io.Reader
	out     io.Writer
	files   []*os.File // inherited as descriptors 3, 4, …
	timeout time.Duration
	memory  uint64 // bytes; 0: as much as there is
}

// CommandError is a git command that failed. Its text has what git wrote, cut to the last lines and free of control characters; it can
// contain text of the remote and of file names.
type CommandError struct {
	Op     string // the subcommand
	Exit   int    // -1 when a signal ended it
	Stderr string
}

func (e *CommandError) Error() string {
	if e.Stderr == "" {
		return fmt.Sprintf("git %s ended with %d", e.Op, e.Exit)
	}
	return fmt.Sprintf("git %s: %s", e.Op, e.Stderr)
}

// environment is all that git sees of the world. HOME names nothing, so neither configuration nor .netrc of a user is found.
func (ms *Mirrors) environment() []string {
	protocols := "https:http"
	if ms.o.AllowFile {
		protocols += ":file"
	}
	env := append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, ms.o.Env...)
	return append(env,
		"HOME=/nonexistent", "LC_ALL=C", "TZ=UTC",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "GIT_NO_REPLACE_OBJECTS=1", "GIT_NO_LAZY_FETCH=1",
		"GIT_ALLOW_PROTOCOL="+protocols,
	)
}

// argv is the command line of git in a mirror. Settings stand here rather than in the mirror's config file, so that a mirror made by an
// older release obeys them as well.
func (m *Mirror) argv(args []string) []string {
	set := []string{
		"core.hooksPath=/dev/null", "core.fsmonitor=false", "core.askPass=", "credential.helper=", "safe.directory=" + m.dir,
		// Whole packs alone are renamed into place: of loose objects a killed fetch could leave a commit without its trees.
		"fetch.unpackLimit=1",
		"gc.auto=0", "maintenance.auto=false", "fetch.recurseSubmodules=false", "submodule.recurse=false",
		"http.followRedirects=initial", "http.lowSpeedLimit=1000", "http.lowSpeedTime=60", "advice.detachedHead=false",
		"core.quotePath=false", "diff.renameLimit=1000", "merge.renameLimit=1000",
		// What is larger is streamed, and compared as a whole instead of by lines.
		"core.bigFileThreshold=32m",
	}
	argv := []string{m.ms.o.Git, "--git-dir=" + m.dir, "--no-pager", "--literal-pathspecs"}
	for _, s := range set {
		argv = append(argv, "-c", s)
	}
	return append(argv, args...)
}

// subcommand finds the git subcommand behind leading -c settings, for messages.
func subcommand(args []string) string {
	for len(args) > 2 && args[0] == "-c" {
		args = args[2:]
	}
	return args[0]
}

// run executes git and waits. The error is a *CommandError when git itself failed, or wraps the context's when that ended it.
func (m *Mirror) run(ctx context.Context, c call) error {
	if c.timeout == 0 {
		c.timeout = readTimeout
	}
	limited, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("took longer than %s", c.timeout))
	defer cancel()
	cmd, stderr := m.command(limited, c)
	err := cmd.Start()
	if err == nil {
		if c.memory > 0 {
			bound(cmd.Process, c.memory)
		}
		err = cmd.Wait()
	}
	if limited.Err() != nil {
		endGroup(cmd)
	}
	switch out, _ := c.out.(*atMost); {
	case out != nil && out.left < 0: // which ended git with a broken pipe
		return fmt.Errorf("git %s: %w", subcommand(c.args), out.over())
	case err == nil:
		return nil
	case limited.Err() != nil:
		return fmt.Errorf("git %s: %w", subcommand(c.args), context.Cause(limited))
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		if c.memory > 0 && outOfMemory(stderr.text()) {
			return fmt.Errorf("git %s: %w", subcommand(c.args), tooLarge("", "take large files out of the change", "git needs more than %d MiB of memory for it", c.memory>>20))
		}
		return &CommandError{Op: subcommand(c.args), Exit: exit.ExitCode(), Stderr: stderr.text()}
	}
	return fmt.Errorf("git %s: %w", subcommand(c.args), err)
}

func (m *Mirror) command(ctx context.Context, c call) (*exec.Cmd, *tail) {
	argv := m.argv(c.args)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = m.ms.environment()
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stdout, cmd.ExtraFiles = c.in, c.out, c.files
	stderr := &tail{}
	cmd.Stderr = stderr
	// A group of its own, so that the transport helpers end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
	cmd.WaitDelay = killAfter
	return cmd, stderr
}

// endGroup kills what a cancelled command left behind, so that a helper cannot keep the mirror's lock.
func endGroup(cmd *exec.Cmd) {
	if cmd.Process != nil {
		// Most often the group is gone already.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
}

// outOfMemory says whether git died of it. There is an exit code for nothing in git, so its words (in LC_ALL=C) have to tell.
func outOfMemory(stderr string) bool {
	return strings.Contains(stderr, "ut of memory") || strings.Contains(stderr, "Cannot allocate memory") || strings.Contains(stderr, "mmap failed")
}

// output runs git and returns what it printed. Error: also a *LimitError.
func (m *Mirror) output(ctx context.Context, args ...string) ([]byte, error) {
	var out bytes.Buffer
	if err := m.run(ctx, call{args: args, out: &atMost{&out, maxOutput}, memory: maxMemory}); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// exitCode is git's own exit code, or -1 when the error is of another kind.
func exitCode(err error) int {
	if e := (*CommandError)(nil); errors.As(err, &e) {
		return e.Exit
	}
	return -1
}

// tail keeps the end of what is written to it.
type tail struct{ b []byte }

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if len(t.b) > 2*tailSize {
		t.b = append(t.b[:0], t.b[len(t.b)-tailSize:]...)
	}
	return len(p), nil
}

// text is the kept end in one line that is fit for a message: the remote chose some of it.
func (t *tail) text() string {
	b := t.b
	if len(b) > tailSize {
		b = b[len(b)-tailSize:]
	}
	var lines []string
	for line := range strings.SplitSeq(strings.ToValidUTF8(string(b), "?"), "\n") {
		// Progress overwrites itself with carriage returns.
		line = line[strings.LastIndexByte(strings.TrimRight(line, "\r"), '\r')+1:]
		line = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
				return -1
			}
			return r
		}, line)
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) > 6 {
		lines = lines[len(lines)-6:]
	}
	return strings.Join(lines, "; ")
}
