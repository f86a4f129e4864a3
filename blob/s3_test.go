package blob_test

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/planlatch/planlatch/testkit/pinned"

	"github.com/planlatch/planlatch/blob"
)

// TestS3 runs against a real S3 server. It sets the environment, from where the AWS library takes credentials, so it is not parallel.
func TestS3(t *testing.T) {
	address := startS3(t, pinned.Path(t, "versitygw"))
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret-key")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	s := open(t, blob.Options{URL: "s3://blobs?region=us-east-1&use_path_style=true&endpoint=http://" + address})
	data := []byte(strings.Repeat("planlatch", 100_000))
	if err := s.Put(t.Context(), "runs/x/plan", data); err != nil {
		t.Fatalf("Put() = %v", err)
	}
	if err := s.Put(t.Context(), "runs/x/plan", data); err != nil {
		t.Errorf("Put() of the same again = %v, want nil", err)
	}
	if err := s.Put(t.Context(), "runs/x/plan", []byte("other")); !errors.Is(err, blob.ErrExists) {
		t.Errorf("Put() of other content = %v, want ErrExists", err)
	}
	if got, err := s.Get(t.Context(), "runs/x/plan"); err != nil || string(got) != string(data) {
		t.Errorf("Get() = %d bytes, %v, want %d", len(got), err, len(data))
	}
	if err := s.Delete(t.Context(), "runs/x/plan"); err != nil {
		t.Errorf("Delete() = %v", err)
	}
	if _, err := s.Get(t.Context(), "runs/x/plan"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Get() of a deleted object = %v, want ErrNotFound", err)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("Check() = %v", err)
	}
}

// startS3 starts a server with a bucket named blobs and returns its address.
func startS3(t *testing.T, program string) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := syscall.Mkdir(filepath.Join(root, "blobs"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, "--port", address, "--region", "us-east-1", "posix", root)
	cmd.Env = []string{"ROOT_ACCESS_KEY=key", "ROOT_SECRET_KEY=secret-key", "PATH=/usr/bin:/bin", "HOME=" + root}
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("versitygw: %s", log.String())
		}
	})
	var d net.Dialer
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) { //nolint:forbidigo // another process
		conn, err := d.DialContext(t.Context(), "tcp", address)
		if err == nil {
			_ = conn.Close()
			return address
		}
		if time.Now().After(deadline) {
			t.Fatalf("versitygw does not listen: %v", err)
		}
	}
}
