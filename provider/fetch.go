package provider

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/flock"
	"github.com/planlatch/planlatch/project"
)

// The files of a fetch, in its work directory.
const (
	fileMain    = "main.tf"
	filePackage = "package.tar"
)

// prefix of the names of fetches among the executions.
const prefix = "providers-"

// fetch has a tool install one locked provider where nothing of a repository is, and stores what it installed.
func (s *Store) fetch(ctx context.Context, binary string, l project.Lock) (string, error) {
	turn, err := flock.Open(ctx, filepath.Join(s.o.Dir, dirLocks, setDigest([]string{l.Address(), l.Version})))
	if err != nil {
		return "", err
	}
	defer func() { _ = turn.Close() }() // nothing was written to it
	if sum, err := s.vouched(l); err != nil || sum != "" {
		return sum, err // another process was quicker
	}
	dir, err := os.MkdirTemp(filepath.Join(s.o.Dir, dirIncoming), "fetch-")
	if err != nil {
		return "", err
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			s.o.Log.Warn("leftover of a fetched provider stays", "error", err)
		}
	}()
	began := s.now()
	spec, err := s.spec(dir, binary, l)
	if err != nil {
		return "", err
	}
	sum, err := s.install(ctx, spec, l, filepath.Join(dir, "package"))
	if err != nil {
		return "", err
	}
	if err := s.add(l, sum, filepath.Join(dir, "package")); err != nil {
		return "", err
	}
	s.o.Log.Info("stored a provider", "provider", l.Address(), "version", l.Version, "sum", sum, "took", s.now().Sub(began))
	return sum, nil
}

// spec lays out a configuration that requires one provider in one version, with the project's checksums for it, and plans its init.
func (s *Store) spec(dir, binary string, l project.Lock) (executor.Spec, error) {
	tar, err := findTar()
	if err != nil {
		return executor.Spec{}, err
	}
	from, err := s.sources(nil, nil)
	if err != nil {
		return executor.Spec{}, err
	}
	config, err := s.config(from.text())
	if err != nil {
		return executor.Spec{}, err
	}
	l.Constraints = ""
	files := map[string][]byte{
		fileMain: fmt.Appendf(nil, "terraform {\n  required_providers {\n    fetched = {\n      source  = %q\n      version = \"= %s\"\n    }\n  }\n}\n",
			l.Address(), l.Version),
		project.LockFile: project.WriteLocks([]project.Lock{l}),
	}
	if err := os.Mkdir(filepath.Join(dir, "source"), 0o700); err != nil {
		return executor.Spec{}, err
	}
	var inputs []executor.File
	for _, name := range []string{fileMain, project.LockFile} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, files[name], 0o600); err != nil {
			return executor.Spec{}, err
		}
		sum := sha256.Sum256(files[name])
		inputs = append(inputs, executor.File{Name: name, Path: path, SHA256: hex.EncodeToString(sum[:])})
	}
	binds := append([]executor.Bind{{Path: binary}, {Path: config}}, s.o.Binds...)
	if mirror := s.mirrorDir(); mirror != "" {
		binds = append(binds, executor.Bind{Path: mirror})
	}
	installed := path.Join(".terraform", "providers", l.Address(), l.Version, platform)
	spec := executor.Spec{
		Name:   executor.Name(prefix + strings.ToLower(rand.Text())),
		Source: executor.Source{Dir: filepath.Join(dir, "source"), Work: "."},
		Inputs: inputs,
		Steps: []executor.Step{
			{Label: "init", Argv: []string{binary, "init", "-backend=false", "-input=false", "-no-color"}},
			// A mirror on disk is linked to, and what it links to is meant.
			{Label: "pack", Argv: []string{tar, "-C", installed, "-chf", "-", "."}, Stdout: filePackage},
		},
		Outputs: []string{filePackage, project.LockFile},
		Env: append([]string{
			"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp", "TMPDIR=/tmp", "TF_IN_AUTOMATION=1", "TF_INPUT=0", "CHECKPOINT_DISABLE=1", "TF_CLI_CONFIG_FILE=" + config,
		}, s.o.Environment...),
		Binds: binds, Network: s.o.Network, Limits: s.o.Limits,
	}
	spec.Limits.Wall = s.o.Timeout
	return spec, nil
}

// findTar finds the program that packs what was installed. It must be of the system that every run sees.
func findTar() (string, error) {
	for _, path := range []string{"/usr/bin/tar", "/bin/tar"} {
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o111 != 0 {
			return path, nil
		}
	}
	return "", errors.New("there is no tar on this machine; install it")
}

// install runs a fetch, unpacks what it installed into dir and returns its checksum, which the tool has written into the lock file.
func (s *Store) install(ctx context.Context, spec executor.Spec, l project.Lock, dir string) (sum string, err error) {
	s.track(spec.Name, true)
	defer s.track(spec.Name, false)
	if err := s.o.Exec.Start(ctx, spec, executor.Secrets{}); err != nil {
		return "", err
	}
	defer func() {
		done := context.WithoutCancel(ctx)
		if ctx.Err() != nil { // it ran longer than we wait
			err = errors.Join(err, s.kill(done, spec.Name))
		}
		if gone := s.o.Exec.Remove(done, spec.Name); gone != nil {
			s.o.Log.Warn("remove the execution of a fetch", "error", gone)
		}
	}()
	log := &tail{most: 4 << 10}
	result, err := s.o.Exec.Attach(ctx, spec.Name, log, 0)
	if err != nil {
		return "", err
	}
	if !result.OK(len(spec.Steps)) {
		return "", fmt.Errorf("init ended by %s %s: %s", result.Ended, result.Reason, log.errors())
	}
	packed, err := s.o.Exec.Open(ctx, spec.Name, filePackage)
	if err != nil {
		return "", err
	}
	defer func() { _ = packed.Close() }() // read only
	if err := unpack(packed, dir); err != nil {
		return "", fmt.Errorf("unpack it: %w", err)
	}
	if sum, err = sumOf(dir); err != nil {
		return "", err
	}
	accepted, err := s.accepted(ctx, spec.Name, l)
	if err != nil {
		return "", err
	}
	if !slices.Contains(accepted, sum) {
		return "", fmt.Errorf("what was installed has the checksum %s, which the tool did not accept", sum)
	}
	return sum, nil
}

// accepted reads the checksums of a provider that an init left in its lock file.
func (s *Store) accepted(ctx context.Context, n executor.Name, l project.Lock) ([]string, error) {
	f, err := s.o.Exec.Open(ctx, n, project.LockFile)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	var text bytes.Buffer
	if _, err := text.ReadFrom(f); err != nil {
		return nil, err
	}
	locks, err := project.ReadLocks(text.Bytes())
	if err != nil {
		return nil, err
	}
	for _, o := range locks {
		if o.Address() == l.Address() && o.Version == l.Version {
			return o.Hashes, nil
		}
	}
	return nil, errors.New("the tool locked another provider than it was asked for")
}

func (s *Store) track(n executor.Name, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if on {
		s.active[n] = true
	} else {
		delete(s.active, n)
	}
}

// kill ends an execution that nobody follows and waits until it has.
func (s *Store) kill(ctx context.Context, n executor.Name) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := s.o.Exec.Cancel(ctx, n, true); err != nil && !errors.Is(err, executor.ErrAbsent) {
		return err
	}
	_, err := s.o.Exec.Attach(ctx, n, &tail{}, 0)
	if errors.Is(err, executor.ErrAbsent) || errors.Is(err, executor.ErrLost) {
		return nil
	}
	return err
}

// sweepExecutions ends and removes fetches of a server that was killed.
func (s *Store) sweepExecutions(ctx context.Context) error {
	names, err := s.o.Exec.List(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for _, n := range names {
		s.mu.Lock()
		ours := s.active[n]
		s.mu.Unlock()
		if ours || !strings.HasPrefix(string(n), prefix) {
			continue
		}
		if err := s.kill(ctx, n); err != nil {
			faults = append(faults, err)
			continue
		}
		faults = append(faults, s.o.Exec.Remove(ctx, n))
	}
	return errors.Join(faults...)
}

// tail keeps the end of a log.
type tail struct {
	most int
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	if over := len(t.text) - t.most; over > 0 {
		t.text = slices.Clone(t.text[over:])
	}
	return len(p), nil
}

var spaces = regexp.MustCompile(`[\s│╷╵]+`)

// errors is what the tool complained about, on one line.
func (t *tail) errors() string {
	text := string(t.text)
	if at := strings.Index(text, "Error:"); at >= 0 {
		text = text[at:]
	}
	return strings.TrimSpace(spaces.ReplaceAllString(strings.ToValidUTF8(text, "?"), " "))
}
