package executortest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/planlatch/planlatch/executor"
)

func stepsRunInOrder(t *testing.T, e executor.Executor) {
	r, log := Finish(t, e, Spec(t, "r1-plan-1", "echo one", "echo two >&2; exit 3", "echo three"))
	if log != "one\ntwo\n" {
		t.Errorf("log = %q, want the output of the first two steps", log)
	}
	checkEnd(t, r, executor.EndExit)
	want := []executor.StepResult{{Label: "sh", OK: true}, {Label: "sh", Exit: 3}}
	if diff := cmp.Diff(want, r.Steps, cmpopts.IgnoreFields(executor.StepResult{}, "Started", "Took")); diff != "" {
		t.Errorf("Steps (-want +got):\n%s", diff)
	}
	if r.OK(3) {
		t.Error("OK(3) = true after a failed step")
	}
	for _, step := range r.Steps {
		if step.Took <= 0 || time.Since(step.Started) > Patience {
			t.Errorf("step started %v and took %v", step.Started, step.Took)
		}
	}
}

func exitCodes(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-plan-1", "exit 2", "exit 0")
	s.Steps[0].OK = []int{0, 2}
	s.Steps[1].OK = []int{1}
	r, _ := Finish(t, e, s)
	want := []executor.StepResult{{Label: "sh", Exit: 2, OK: true}, {Label: "sh"}}
	if diff := cmp.Diff(want, r.Steps, cmpopts.IgnoreFields(executor.StepResult{}, "Started", "Took")); diff != "" {
		t.Errorf("Steps (-want +got):\n%s", diff)
	}
}

func stdoutToFile(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-plan-1", "mkfifo plan.json", "echo data; echo noise >&2", "test -p plan.json")
	s.Steps[1].Stdout, s.Outputs = "plan.json", []string{"plan.json"}
	r, log := Finish(t, e, s)
	if got, err := readOutput(t, e, s.Name, "plan.json"); err != nil || !r.OK(3) || log != "noise\n" || got != "data\n" {
		t.Errorf("result %+v, log %q, plan.json %q, %v", r, log, got, err)
	}
}

func missingProgram(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-plan-1", "echo one", "", "echo three")
	s.Steps[1].Argv = []string{"/usr/bin/there-is-no-such-program"}
	r, log := Finish(t, e, s)
	checkEnd(t, r, executor.EndStart)
	if !strings.Contains(r.Reason, "there-is-no-such-program") || log != "one\n" {
		t.Errorf("Reason = %q, log = %q", r.Reason, log)
	}
}

func programAlongPath(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-plan-1", "", "", "")
	s.Steps[0].Argv, s.Steps[1].Argv = []string{"echo", "found"}, []string{"there-is-no-such-program"}
	r, log := Finish(t, e, s)
	checkEnd(t, r, executor.EndStart)
	if !strings.Contains(r.Reason, "there-is-no-such-program") || log != "found\n" {
		t.Errorf("Reason = %q, log = %q", r.Reason, log)
	}
}

func signalExit(t *testing.T, e executor.Executor) {
	r, _ := Finish(t, e, Spec(t, "r1-plan-1", "kill -9 $$"))
	checkEnd(t, r, executor.EndExit)
	if len(r.Steps) != 1 || r.Steps[0].Exit != -1 || r.Steps[0].OK {
		t.Errorf("Steps = %+v, want one with exit -1", r.Steps)
	}
}

func sourceLayout(t *testing.T, e executor.Executor) {
	r, log := Finish(t, e, Spec(t, "r1-plan-1", `
		cat file ../beside/file && echo new >file && echo more >made && cat file made
		umask`))
	want := "content\nbeside\nnew\nmore\n0022\n"
	if !r.OK(1) || log != want {
		t.Errorf("log = %q, want %q", log, want)
	}
}

func sourceUntouched(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-plan-1", "echo changed >file; echo changed >../beside/file; touch ../beside/made; rm -rf ../beside; true")
	if err := os.Symlink("../beside/file", filepath.Join(s.Source.Dir, "in/work/link")); err != nil {
		t.Fatal(err)
	}
	s.Steps[0].Argv[2] += "; echo through >link; true"
	Finish(t, e, s)
	for path, want := range map[string]string{"in/work/file": "content\n", "in/beside/file": "beside\n"} {
		if got, err := os.ReadFile(filepath.Join(s.Source.Dir, path)); err != nil || string(got) != want {
			t.Errorf("%s = %q, %v, want %q", path, got, err, want)
		}
	}
}

func inputs(t *testing.T, e executor.Executor) {
	dir := t.TempDir()
	Write(t, filepath.Join(dir, "plan"), "reviewed")
	s := Spec(t, "r1-apply", "cat deep/tfplan && stat -c %a deep/tfplan && cat file")
	s.Inputs = []executor.File{
		{Name: "deep/tfplan", Path: filepath.Join(dir, "plan"), SHA256: digest("reviewed")},
		{Name: "file", Path: filepath.Join(dir, "plan"), SHA256: digest("reviewed")},
	}
	altered := s
	altered.Inputs = slices.Clone(s.Inputs)
	altered.Inputs[1].SHA256 = digest("altered")
	if err := e.Start(t.Context(), altered, executor.Secrets{}); err == nil || !strings.Contains(err.Error(), "file") {
		t.Errorf("Start() with an altered input = %v, want a refusal that names it", err)
	}
	if r, log := Finish(t, e, s); !r.OK(1) || log != "reviewed600\nreviewed" {
		t.Errorf("result %+v, log %q", r, log)
	}
}

func sealedInputs(t *testing.T, e executor.Executor) {
	dir := t.TempDir()
	Write(t, filepath.Join(dir, "plan"), "reviewed")
	at := executor.Sealed("tfplan")
	s := Spec(t, "r1-apply", "test ! -e tfplan", "cat "+at)
	s.Inputs = []executor.File{{Name: "tfplan", Path: filepath.Join(dir, "plan"), SHA256: digest("reviewed"), Sealed: true}}
	for i := range s.Steps {
		s.Steps[i].Argv = []string{"/bin/sh", "-c", strings.ReplaceAll(s.Steps[i].Argv[2], at, `"$0"`), at}
	}
	if r, log := Finish(t, e, s); !r.OK(2) || log != "reviewed" {
		t.Errorf("result %+v, log %q", r, log)
	}
	s.Outputs = []string{"tfplan"}
	if err := e.Start(t.Context(), s, executor.Secrets{}); err == nil || !strings.Contains(err.Error(), "tfplan") {
		t.Errorf("Start() with an output in the place of a sealed input = %v, want a refusal that names it", err)
	}
}

func digest(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

func outputs(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-plan-1", "echo plan >tfplan; mkdir -p sub; echo lock >sub/lock; mkdir dir; mkfifo fifo; exit 1")
	s.Outputs = []string{"tfplan", "missing", "sub/lock", "dir", "fifo"}
	r, _ := Finish(t, e, s)
	want := []executor.Artifact{
		{Name: "tfplan", Size: 5, SHA256: digest("plan\n")}, {Name: "sub/lock", Size: 5, SHA256: digest("lock\n")},
	}
	if diff := cmp.Diff(want, r.Outputs); diff != "" {
		t.Errorf("Outputs (-want +got):\n%s", diff)
	}
	for name, want := range map[string]string{"tfplan": "plan\n", "sub/lock": "lock\n"} {
		if got, err := readOutput(t, e, s.Name, name); err != nil || got != want {
			t.Errorf("Open(%s) = %q, %v, want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"missing", "dir", "fifo", "file", "../launch.json"} {
		if _, err := readOutput(t, e, s.Name, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open(%s) = %v, want ErrNotExist", name, err)
		}
	}
	if err := e.Remove(t.Context(), s.Name); err != nil {
		t.Fatalf("Remove() = %v", err)
	}
	if _, err := readOutput(t, e, s.Name, "tfplan"); !errors.Is(err, executor.ErrAbsent) {
		t.Errorf("Open() after Remove = %v, want ErrAbsent", err)
	}
}

func outputBelow(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-plan-1", "mkdir -p a/b c; ln -s b/state a/state; echo kept >a/b/state; chmod 0 c")
	s.Outputs = []string{"**/state", "**/missing"}
	r, _ := Finish(t, e, s)
	if diff := cmp.Diff([]executor.Artifact{{Name: "**/state", Size: 5, SHA256: digest("kept\n")}}, r.Outputs); diff != "" {
		t.Errorf("Outputs (-want +got):\n%s", diff)
	}
	if got, err := readOutput(t, e, s.Name, "**/state"); err != nil || got != "kept\n" {
		t.Errorf("Open() = %q, %v, want what was found", got, err)
	}
}

func readOutput(t *testing.T, e executor.Executor, n executor.Name, output string) (string, error) {
	t.Helper()
	r, err := e.Open(t.Context(), n, output)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(r)
	return string(body), errors.Join(err, r.Close())
}

func outputLink(t *testing.T, e executor.Executor) {
	secret := filepath.Join(t.TempDir(), "secret")
	Write(t, secret, "server")
	s := Spec(t, "r1-plan-1", "ln -s "+secret+" tfplan; ln -s /etc/passwd other; mkdir sub; rmdir sub; ln -s / sub")
	s.Outputs = []string{"tfplan", "other", "sub/etc/passwd"}
	r, _ := Finish(t, e, s)
	if len(r.Outputs) != 0 {
		t.Errorf("Outputs = %+v, want none through links", r.Outputs)
	}
	for _, name := range s.Outputs {
		if got, err := readOutput(t, e, s.Name, name); err == nil {
			t.Errorf("Open(%s) = %q, want an error", name, got)
		}
	}
}

func environment(t *testing.T, e executor.Executor) {
	s := Spec(t, "r1-plan-1", "env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= -e ^OLDPWD= -e ^TMPDIR= -e ^HOME= | sort; tr '\\0' '\\n' </proc/self/cmdline | grep geheim; true")
	s.Env = append(s.Env, "PUBLIC=yes")
	r, log := Finish(t, e, s, "TOKEN=geheim=1", "EMPTY=")
	want := "EMPTY=\nPATH=/usr/bin:/bin\nPUBLIC=yes\nTOKEN=geheim=1\n"
	if !r.OK(1) || log != want {
		t.Errorf("environment = %q, want %q", log, want)
	}
}

func without(t *testing.T, e executor.Executor) {
	const script = `echo "${PUBLIC-lost} ${TOKEN-gone} ${OTHER-away}"`
	s := Spec(t, "r1-plan-1", script, script, script)
	s.Env = append(s.Env, "PUBLIC=yes", "OTHER=PUBLIC=1")
	s.Steps[1].Without = []string{"PUBLIC", "TOKEN", "ABSENT"}
	r, log := Finish(t, e, s, "TOKEN=geheim=1")
	if want := "yes geheim=1 PUBLIC=1\nlost gone PUBLIC=1\nyes geheim=1 PUBLIC=1\n"; !r.OK(3) || log != want {
		t.Errorf("log = %q, want %q", log, want)
	}
}

// secretFiles reads them from the shell itself and from what it starts, for a path that only one of the two can open would be no path.
func secretFiles(t *testing.T, e executor.Executor) {
	const key = "-----BEGIN-----\ngeheim\n"
	read := `cat "$KEY"; echo; while read -r line; do echo "$line"; done <"$KEY"; sh -c 'stat -L -c "%a %s" "$KEY"'; cmp "$KEY" "$KEY" && wc -c <"$EMPTY"
		(echo changed >"$KEY") 2>/dev/null; chmod 600 "$KEY" 2>/dev/null; (echo changed >>"$KEY") 2>/dev/null; cat "$KEY"; echo "$TOKEN"`
	s := Spec(t, "r1-plan-1", read, `echo "${KEY-none}"; cat "$EMPTY" && echo "$TOKEN"`, `cat "$KEY"`)
	s.Steps[1].Without = []string{"KEY"}
	StartWith(t, e, s, executor.Secrets{
		Env: []string{"TOKEN=t"}, Files: []executor.SecretFile{{Variable: "KEY", Content: []byte(key)}, {Variable: "EMPTY"}},
	})
	r, log := Follow(t, e, s.Name)
	want := key + "\n" + key + "400 23\n0\n" + key + "t\nnone\nt\n" + key
	if !r.OK(3) || log != want {
		t.Errorf("result %+v, log (-want +got):\n%s", r, cmp.Diff(want, log))
	}
}

func badSecretFiles(t *testing.T, e executor.Executor) {
	for name, files := range map[string][]executor.SecretFile{
		"NoName":   {{Variable: "../KEY"}},
		"Twice":    {{Variable: "KEY"}, {Variable: "KEY"}},
		"TooLarge": {{Variable: "KEY", Content: make([]byte, executor.MaxSecretFiles)}, {Variable: "MORE", Content: []byte("1")}},
	} {
		s := Spec(t, "r1-plan-1", "true")
		if err := e.Start(t.Context(), s, executor.Secrets{Files: files}); err == nil || !strings.Contains(err.Error(), "secret file") {
			t.Errorf("%s: Start() = %v, want a refusal", name, err)
		}
	}
	largest := executor.SecretFile{Variable: "KEY", Content: make([]byte, executor.MaxSecretFiles)}
	s := Spec(t, "r1-plan-1", `wc -c <"$KEY"`)
	StartWith(t, e, s, executor.Secrets{Files: []executor.SecretFile{largest}})
	if r, log := Follow(t, e, s.Name); !r.OK(1) || strings.TrimSpace(log) != "4194304" {
		t.Errorf("result %+v, log %q, want the whole file", r, log)
	}
}
