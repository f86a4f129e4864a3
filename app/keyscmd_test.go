package app_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/blob"
	"github.com/planlatch/planlatch/config"
	runs "github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/store"
	"github.com/planlatch/planlatch/testkit/postgres"
	"github.com/planlatch/planlatch/testkit/s3"
)

// sealed is an installation with things in it that are encrypted at rest.
type sealed struct {
	t            *testing.T
	dir          string
	database     string // empty: SQLite
	blobs        string // empty: files
	first, fresh string // files of keys
	values       int
	objects      int
	padding      string // of every delivery
}

func (s *sealed) event(i int) string { return fmt.Sprintf("event %d", i) + s.padding }

func newSealed(t *testing.T, database, blobs string) *sealed {
	t.Helper()
	s := &sealed{t: t, dir: t.TempDir(), database: database, blobs: blobs, values: 110, objects: 10}
	if blobs == "" && database != "" {
		s.blobs = "file://" + filepath.Join(s.dir, "data", "blobs")
	}
	s.first, s.fresh = s.keyFile("first"), s.keyFile("fresh")
	return s
}

func (s *sealed) keyFile(name string) string {
	s.t.Helper()
	raw := make([]byte, 32)
	rand.Read(raw) //nolint:errcheck // never fails
	file := filepath.Join(s.dir, name)
	if err := os.WriteFile(file, []byte("base64key://"+base64.StdEncoding.EncodeToString(raw)+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return file
}

// config writes server.yaml with these keys, the current one first; none: a generated one.
func (s *sealed) config(keys ...string) (file string) {
	s.t.Helper()
	text := strings.ReplaceAll(good, "DATA", filepath.Join(s.dir, "data"))
	if s.database != "" {
		text += fmt.Sprintf("database: %q\nadmin_token: a-token-of-the-tests\n", s.database)
	}
	if s.blobs != "" {
		text += fmt.Sprintf("blobs: %q\n", s.blobs)
	}
	if len(keys) > 0 {
		text += fmt.Sprintf("encryption_key: file:%s\n", keys[0])
	}
	if len(keys) > 1 {
		text += fmt.Sprintf("old_encryption_keys: [\"file:%s\"]\n", strings.Join(keys[1:], `", "file:`))
	}
	file = filepath.Join(s.dir, "server.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return file
}

func (s *sealed) load(file string) *config.Config {
	s.t.Helper()
	cfg, err := config.Load(file, func(string) (string, bool) { return "", false })
	if err != nil {
		s.t.Fatal(err)
	}
	return cfg
}

// start starts a server and stops it: it opens the root key.
func (s *sealed) start(file string) error {
	s.t.Helper()
	server, err := app.NewServer(s.t.Context(), s.load(file), app.ServerOptions{})
	if err != nil {
		return err
	}
	return server.Close()
}

// open opens what the configuration names, as a server does.
func (s *sealed) open(cfg *config.Config) (*store.Store, *blob.Store) {
	s.t.Helper()
	key, old := cfg.EncryptionKey.Reveal(), []string{}
	if key == "" {
		var err error
		if key, old, _, err = blob.GeneratedKey(filepath.Join(cfg.Data, "key")); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, k := range cfg.OldEncryptionKeys {
		old = append(old, k.Reveal())
	}
	sealer, err := blob.OpenSealer(s.t.Context(), key, old...)
	if err != nil {
		s.t.Fatal(err)
	}
	o := store.Options{DSN: cfg.Database.Reveal(), Sealer: sealer}
	if o.DSN == "" {
		o.Dir = cfg.Data
	}
	rows, err := store.Open(s.t.Context(), o)
	if err != nil {
		s.t.Fatal(err)
	}
	blobs, err := blob.Open(s.t.Context(), blob.Options{URL: cfg.Blobs, Dir: filepath.Join(cfg.Data, "blobs"), Key: key, Old: old})
	if err != nil {
		s.t.Fatal(err)
	}
	return rows, blobs
}

func (s *sealed) fill(file string) {
	s.t.Helper()
	if err := s.start(file); err != nil {
		s.t.Fatal(err)
	}
	rows, blobs := s.open(s.load(file))
	var faults []error
	for i := range s.values {
		_, err := rows.Deliver(s.t.Context(), runs.Delivery{Host: "gitea", ID: fmt.Sprint(i), Event: []byte(s.event(i))})
		faults = append(faults, err)
	}
	repo, err := rows.SaveRepo(s.t.Context(), runs.Repo{Host: "gitea", HostID: "1", Name: "acme/infra"})
	faults = append(faults, err)
	_, err = rows.SavePull(s.t.Context(), runs.Pull{Repo: repo.ID, Number: 7, State: "open", Frozen: []byte("frozen")})
	faults = append(faults, err)
	for i := range s.objects {
		faults = append(faults, blobs.Put(s.t.Context(), fmt.Sprintf("runs/x/%d", i), bytes.Repeat(fmt.Append(nil, i), 50_000)))
	}
	if err := errors.Join(append(faults, rows.Close(), blobs.Close())...); err != nil {
		s.t.Fatal(err)
	}
}

// whole reads everything with the keys of a configuration.
func (s *sealed) whole(file string) {
	s.t.Helper()
	if err := s.start(file); err != nil {
		s.t.Fatalf("the server does not start: %v", err)
	}
	rows, blobs := s.open(s.load(file))
	defer func() {
		if err := errors.Join(rows.Close(), blobs.Close()); err != nil {
			s.t.Error(err)
		}
	}()
	for i := range s.values {
		d, err := rows.Delivery(s.t.Context(), "gitea", fmt.Sprint(i))
		if err != nil || string(d.Event) != s.event(i) {
			s.t.Fatalf("Delivery(%d) = %.20q, %v", i, d.Event, err)
		}
	}
	repo, err := rows.RepoByName(s.t.Context(), "gitea", "acme/infra")
	if err != nil {
		s.t.Fatal(err)
	}
	if p, err := rows.PullByNumber(s.t.Context(), repo.ID, 7); err != nil || string(p.Frozen) != "frozen" {
		s.t.Errorf("PullByNumber() = %q, %v", p.Frozen, err)
	}
	for i := range s.objects {
		got, err := blobs.Get(s.t.Context(), fmt.Sprintf("runs/x/%d", i))
		if err != nil || !bytes.Equal(got, bytes.Repeat(fmt.Append(nil, i), 50_000)) {
			s.t.Fatalf("object %d = %d bytes, %v", i, len(got), err)
		}
	}
}

// says runs planlatch keys and looks at its exit code.
func (s *sealed) says(want int, args ...string) (stdout, stderr string) {
	s.t.Helper()
	code, out, said := run(s.t, nil, append([]string{"keys"}, args...)...)
	if code != want {
		s.t.Fatalf("keys %v ended with %d, want %d\n%s%s", args, code, want, out, said)
	}
	return out, said
}

// engines are where things can be kept.
func engines(t *testing.T) map[string]func(t *testing.T) *sealed {
	t.Helper()
	return map[string]func(t *testing.T) *sealed{
		"SQLiteAndFiles":     func(t *testing.T) *sealed { return newSealed(t, "", "") },
		"PostgreSQLAndFiles": func(t *testing.T) *sealed { return newSealed(t, postgres.New(t, postgres.Options{}), "") },
	}
}

func TestKeysRotateMakesTheOldKeySuperfluous(t *testing.T) {
	t.Parallel()
	for name, fresh := range engines(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changeKey(t, fresh(t))
		})
	}
}

// TestKeysRotateInABucket sets the environment, from where the AWS library takes credentials, so it is not parallel.
func TestKeysRotateInABucket(t *testing.T) {
	b := s3.New(t)
	t.Setenv("AWS_ACCESS_KEY_ID", b.Owner.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", b.Owner.SecretKey)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	changeKey(t, newSealed(t, "", fmt.Sprintf("s3://%s?region=%s&use_path_style=true&endpoint=%s", b.Name, b.Region, b.Endpoint)))
}

func changeKey(t *testing.T, s *sealed) {
	t.Helper()
	s.fill(s.config(s.first))
	if err := s.start(s.config(s.fresh)); err == nil || !strings.Contains(err.Error(), "old_encryption_keys") {
		t.Errorf("starting with the new key alone = %v, want a refusal that names old_encryption_keys", err)
	}
	both := s.config(s.fresh, s.first)
	server, err := app.NewServer(t.Context(), s.load(both), app.ServerOptions{}) // it has the database meanwhile
	if err != nil {
		t.Fatalf("starting with both keys = %v", err)
	}
	out, _ := s.says(1, "status", "--config", both)
	if want := regexp.MustCompile(`(?m) +112 +10 +old, still needed$`); !want.MatchString(out) {
		t.Errorf("status = %s, want %s", out, want)
	}
	out, said := s.says(0, "rotate", "--config", both)
	if !strings.Contains(said, "Encrypted anew: 112 values and 10 objects") || !strings.Contains(out, "needed no more") {
		t.Errorf("rotate said %s%s", said, out)
	}
	if _, said := s.says(0, "rotate", "--config", both); !strings.Contains(said, "Encrypted anew: 0 values and 0 objects") {
		t.Errorf("rotate, said again, said %s, want nothing left", said)
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	s.whole(s.config(s.fresh))
	if _, said := s.says(0, "rotate", "--all", "--config", s.config(s.fresh)); !strings.Contains(said, "Encrypted anew: 112 values and 10 objects") {
		t.Errorf("rotate --all said %s", said)
	}
	s.whole(s.config(s.fresh))
	if err := s.start(s.config(s.first)); err == nil {
		t.Error("a server with the old key alone starts, want a refusal")
	}
}

// TestKeysRotateGoesOnAfterAKill kills the command, as a program, after it said that it began, again and again.
func TestKeysRotateGoesOnAfterAKill(t *testing.T) {
	t.Parallel()
	for name, fresh := range engines(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := fresh(t)
			s.fill(s.config(s.first))
			both := s.config(s.fresh, s.first)
			for range 3 {
				killed(t, "keys", "rotate", "--config", both)
				s.whole(both)
			}
			s.says(0, "rotate", "--config", both)
			s.whole(s.config(s.fresh))
		})
	}
}

// full is a pipe that takes no more.
func full(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(r.Close(), w.Close()) })
	size, err := unix.FcntlInt(w.Fd(), unix.F_GETPIPE_SZ, 0)
	if err == nil {
		_, err = w.Write(make([]byte, size))
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// killed runs planlatch as a program and kills it once it has said something. Nobody takes what it prints in the end, so it cannot have ended before.
func killed(t *testing.T, args ...string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), self, args...)
	cmd.Env, cmd.Stdout = []string{asProgram + "=1"}, full(t)
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(said).ReadString('\n'); err != nil {
		t.Errorf("%v said nothing: %v", args, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Errorf("%v had ended by itself: %v", args, err)
	}
	_ = cmd.Wait() // it was killed
}

func TestKeysRotateGeneratesAKeyWhileTheServerIsStopped(t *testing.T) {
	t.Parallel()
	s := newSealed(t, "", "")
	file := s.config()
	s.fill(file)
	key := filepath.Join(s.dir, "data", "key")
	first, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	server, err := app.NewServer(t.Context(), s.load(file), app.ServerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, said := s.says(2, "rotate", "--generate", "--config", file); !strings.Contains(said, "in use by another planlatch") {
		t.Errorf("beside a server it said %s", said)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	killed(t, "keys", "rotate", "--generate", "--config", file)
	s.whole(file) // with two keys in the file
	if _, said := s.says(0, "rotate", "--generate", "--config", file); !strings.Contains(said, "going on with it") {
		t.Errorf("after a kill it said %s, want that it goes on with the key made before", said)
	}
	s.whole(file)
	now, err := os.ReadFile(key)
	if err != nil || bytes.Contains(now, bytes.TrimSpace(first)) || bytes.Count(now, []byte("\n")) != 1 {
		t.Errorf("the key file has %d lines, %v; want the fresh key alone", bytes.Count(now, []byte("\n")), err)
	}
	if old, err := os.ReadFile(key + ".old"); err != nil || !bytes.Equal(old, first) {
		t.Errorf("the old key is not kept for backups: %v", err)
	}
	if _, said := s.says(2, "rotate", "--generate", "--config", s.config(s.first)); !strings.Contains(said, "encryption_key is configured") {
		t.Errorf("with a configured key it said %s", said)
	}
}

func TestKeysStatusTellsWhatNoKeyOpens(t *testing.T) {
	t.Parallel()
	s := newSealed(t, "", "")
	s.fill(s.config(s.first))
	both := s.config(s.fresh, s.first)
	damaged := filepath.Join(s.dir, "data", "blobs", "runs", "x", "3")
	text, err := os.ReadFile(damaged)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(damaged, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, said := s.says(1, "rotate", "--config", both); !strings.Contains(said, "object runs/x/3") || !strings.Contains(said, "restore a backup") {
		t.Errorf("rotate said %s, want the damaged object named", said)
	}
	if now, err := os.ReadFile(damaged); err != nil || !bytes.Equal(now, text) {
		t.Errorf("the damaged object was changed: %v", err)
	}
	if _, said := s.says(1, "status", "--config", s.config(s.keyFile("another"))); !strings.Contains(said, "which is not configured") {
		t.Errorf("status with a strange key said %s", said)
	}
	code, out, _ := run(t, nil, "doctor", "--config", s.config(s.fresh, s.first))
	if code == 0 || !strings.Contains(out, "keys") || !strings.Contains(out, "need an old key") {
		t.Errorf("doctor = %d\n%s", code, out)
	}
}
