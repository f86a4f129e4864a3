package app_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/blob"
	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/disk"
	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/executortest"
	"github.com/planlatch/planlatch/executor/local"
	"github.com/planlatch/planlatch/store"
)

// onSmallDisk, in the environment of the test's own binary, is the directory where it mounts a small file system of its own.
const onSmallDisk = "PLANLATCH_TEST_SMALL_DISK"

// smallDisk is a real file system of a few megabytes.
type smallDisk struct {
	t   *testing.T
	dir string
}

// TestAFullDisk runs its stories in a process of its own, as root of its own namespaces, where it may mount.
func TestAFullDisk(t *testing.T) {
	if dir := os.Getenv(onSmallDisk); dir != "" {
		for name, story := range map[string]func(*testing.T, *smallDisk){
			"AServerTellsSoRefusesAndGoesOn": aServerOnAFullDisk, "NothingIsKeptHalf": nothingIsKeptHalf, "AnApplyWaitsWithItsResult": anApplyOnAFullDisk,
			"KeysRotateLosesNothing": keysRotateOnAFullDisk, "KeysRotateLosesNoRow": rowsOnAFullDisk, "KeysRotateGeneratesNoHalfKey": aKeyGeneratedOnAFullDisk,
		} {
			t.Run(name, func(t *testing.T) { story(t, mounted(t, filepath.Join(dir, name))) })
		}
		return
	}
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestAFullDisk$", "-test.v", "-test.timeout=20m")
	cmd.Env = append(os.Environ(), onSmallDisk+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestAFullDisk/")) {
		t.Fatalf("on a small disk: %v\n%s", err, out)
	}
}

func mounted(t *testing.T, dir string) *smallDisk {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("planlatch-test", dir, "tmpfs", 0, "size=16m,mode=0700"); err != nil {
		t.Fatalf("mount a small file system: %v", err)
	}
	return &smallDisk{t, dir}
}

func (d *smallDisk) ballast() string { return filepath.Join(d.dir, "ballast") }

// fill takes all room that is left.
func (d *smallDisk) fill() {
	d.t.Helper()
	f, err := os.OpenFile(d.ballast(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); disk.Full(err) {
			size /= 2
		} else if err != nil {
			d.t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		d.t.Fatal(err)
	}
}

// leave gives back some of the room.
func (d *smallDisk) leave(room int64) {
	d.t.Helper()
	info, err := os.Stat(d.ballast())
	if err != nil {
		d.t.Fatal(err)
	}
	if err := os.Truncate(d.ballast(), info.Size()-room); err != nil {
		d.t.Fatal(err)
	}
}

func (d *smallDisk) free() {
	d.t.Helper()
	if err := os.Remove(d.ballast()); err != nil {
		d.t.Fatal(err)
	}
}

// eventually polls, at the border to what runs beside us.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(2 * time.Minute); !ok(); {
		if time.Now().After(limit) {
			t.Fatalf("never: %s", what)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func aServerOnAFullDisk(t *testing.T, d *smallDisk) {
	cfg := config.Default(d.dir)
	cfg.Listen, cfg.URL, cfg.Execution.Sandbox, cfg.Disk.Free = "127.0.0.1:0", "", "off", 1<<20
	cfg.AdminToken = config.NewSecret("a-token-of-the-tests")
	cfg.VCS = []config.Host{{
		Name: "gitea", Kind: "gitea", URL: "http://127.0.0.1:1", Token: config.NewSecret("token-of-the-tests"), WebhookSecret: config.NewSecret(hookSecret), Repos: []string{"**"},
	}}
	s, err := app.NewServer(t.Context(), cfg, app.ServerOptions{Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	if code := deliver(t, s.URL(), "before"); code != http.StatusAccepted {
		t.Errorf("a delivery to an empty disk = %d, want 202", code)
	}
	d.fill()
	refused := 0
	for i := range 50 { // the database has room of its own for some
		if code := deliver(t, s.URL(), fmt.Sprint("full-", i)); code == http.StatusServiceUnavailable {
			refused++
		} else if code != http.StatusAccepted {
			t.Errorf("a delivery to a full disk = %d, want 202 or 503", code)
		}
	}
	if refused == 0 {
		t.Error("no delivery was refused on a full disk")
	}
	eventually(t, "the metric of a full disk", func() bool { return strings.Contains(get(t, s.URL()+"/metrics"), "planlatch_disk_short 1") })
	if got := get(t, s.URL()+"/readyz"); got != "ready\n" {
		t.Errorf("readyz on a full disk = %q, want ready: pages and webhooks are served", got)
	}
	d.free()
	eventually(t, "the metric of room", func() bool { return strings.Contains(get(t, s.URL()+"/metrics"), "planlatch_disk_short 0") })
	if code := deliver(t, s.URL(), "full-49"); code != http.StatusAccepted {
		t.Errorf("the delivery again, with room = %d, want 202", code)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run() = %v", err)
	}
	sound(t, d.dir)
}

const hookSecret = "a-secret-of-the-tests"

func deliver(t *testing.T, url, id string) int {
	t.Helper()
	body := `{"ref":"refs/heads/main","before":"` + strings.Repeat("a", 40) + `","after":"` + strings.Repeat("b", 40) + `","pusher":{"id":1,"login":"ann"},` +
		`"repository":{"id":7,"name":"infra","full_name":"acme/infra","default_branch":"main","owner":{"id":2,"login":"acme"},"description":"` + strings.Repeat("x", 20_000) + `"}}`
	mac := hmac.New(sha256.New, []byte(hookSecret))
	mac.Write([]byte(body))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/webhooks/gitea", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"X-Gitea-Event": "push", "X-Gitea-Delivery": id, "X-Gitea-Signature": hex.EncodeToString(mac.Sum(nil)), "Content-Type": "application/json",
	} {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	return res.StatusCode
}

func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sound checks that a database is whole and opens.
func sound(t *testing.T, dir string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "planlatch.db"))
	if err != nil {
		t.Fatal(err)
	}
	var says string
	if err := errors.Join(db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&says), db.Close()); err != nil || says != "ok" {
		t.Errorf("integrity_check = %q, %v", says, err)
	}
	s, err := store.Open(t.Context(), store.Options{Dir: dir})
	if err != nil {
		t.Fatalf("the database does not open: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func nothingIsKeptHalf(t *testing.T, d *smallDisk) {
	key, _, _, err := blob.GeneratedKey(filepath.Join(d.dir, "key"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := blob.Open(t.Context(), blob.Options{Dir: filepath.Join(d.dir, "blobs"), Key: key})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	plan := bytes.Repeat([]byte("plan"), 100_000)
	if err := b.Put(t.Context(), "runs/a/before", plan); err != nil {
		t.Fatal(err)
	}
	d.fill()
	if err := b.Put(t.Context(), "runs/a/plan", plan); !disk.Full(err) {
		t.Errorf("Put() on a full disk = %v, want that there is no room", err)
	}
	if _, err := b.Get(t.Context(), "runs/a/plan"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Get() of what had no room = %v, want ErrNotFound", err)
	}
	if left, err := filepath.Glob(filepath.Join(d.dir, "blobs/runs/a/*")); err != nil || len(left) != 1 {
		t.Errorf("files are %v, %v, want the first object alone", left, err)
	}
	d.free()
	if err := b.Put(t.Context(), "runs/a/plan", plan); err != nil {
		t.Errorf("Put() again, with room = %v", err)
	}
	for _, name := range []string{"before", "plan"} {
		if got, err := b.Get(t.Context(), "runs/a/"+name); err != nil || !bytes.Equal(got, plan) {
			t.Errorf("Get(%s) = %d bytes, %v", name, len(got), err)
		}
	}
}

// anApplyOnAFullDisk: what an apply leaves may be the only copy of a state, so its end waits for room.
func anApplyOnAFullDisk(t *testing.T, d *smallDisk) {
	e, err := local.New(local.Options{Dir: filepath.Join(d.dir, "executions"), Sandbox: local.SandboxOff})
	if err != nil {
		t.Fatal(err)
	}
	s := executortest.Spec(t, "r1-apply", "head -c 200000 /dev/zero >errored.tfstate; echo saved; sleep 1000")
	s.Outputs = []string{"errored.tfstate"}
	executortest.Start(t, e, s)
	executortest.WaitLog(t, e, s.Name, "saved")
	d.fill()
	if err := e.Start(t.Context(), executortest.Spec(t, "r2-apply", "true"), executor.Secrets{}); err == nil {
		t.Error("Start() on a full disk = nil error")
	}
	if err := e.Cancel(t.Context(), s.Name, true); err != nil {
		t.Fatal(err)
	}
	waiting, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if r, err := e.Attach(waiting, s.Name, io.Discard, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Attach() on a full disk = %+v, %v, want that it goes on", r, err)
	}
	if err := e.Remove(t.Context(), s.Name); !errors.Is(err, executor.ErrRunning) {
		t.Errorf("Remove() before the result is kept = %v, want ErrRunning", err)
	}
	d.free()
	r, _ := executortest.Follow(t, e, s.Name)
	if len(r.Outputs) != 1 || r.Outputs[0].Size != 200_000 {
		t.Errorf("outputs = %+v, want the whole state", r.Outputs)
	}
	d.fill()
	if err := e.Remove(t.Context(), s.Name); err != nil {
		t.Errorf("Remove() on a full disk = %v", err)
	}
	if err := e.Start(t.Context(), s, executor.Secrets{}); !errors.Is(err, executor.ErrExists) {
		t.Errorf("Start() again = %v, want ErrExists", err)
	}
}
