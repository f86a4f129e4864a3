package child_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/planlatch/planlatch/testkit/child"
)

// In the environment of a child: where it answers, and the file that what it starts keeps open.
const asServer, holds = "PLANLATCH_CHILD_SERVE", "PLANLATCH_CHILD_HOLDS"

func TestMain(m *testing.M) {
	if address := os.Getenv(asServer); address != "" { //nolint:forbidigo // how a child is told
		file, err := os.OpenFile(os.Getenv(holds), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:forbidigo,gosec // as above
		if err != nil {
			panic(err)
		}
		left := exec.Command("sleep", "1000") //nolint:noctx // it is what is left
		left.Stdout, left.SysProcAttr = file, &syscall.SysProcAttr{Setsid: true}
		if err := left.Start(); err != nil {
			panic(err)
		}
		panic(http.ListenAndServe(address, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))) //nolint:gosec // of a test
	}
	os.Exit(m.Run())
}

// A supervisor that starts one more life after its test would write into directories that are being removed.
func TestNothingIsLeftOfAServerThatDiedAsItsTestEnded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var s *child.Server
	t.Run("killed", func(t *testing.T) {
		address := child.Address(t)
		s = &child.Server{URL: "http://" + address, Dir: dir, Reborn: true, Pause: 200 * time.Millisecond}
		s.Env = append(os.Environ(), asServer+"="+address, holds+"="+filepath.Join(dir, "held"))
		s.Start(t)
		if len(child.Below(dir)) != 1 {
			t.Fatalf("the server started %v, want one process", child.Below(dir))
		}
		if err := s.Signal(syscall.SIGKILL, false); err != nil {
			t.Fatal(err)
		}
	})
	if left := child.Below(dir); len(left) > 0 || s.Pid() != 0 {
		t.Errorf("processes are left: %v, server %d", left, s.Pid())
	}
	lives := s.Lives() // one, or two where the end of the test came late
	<-time.After(2 * s.Pause)
	if s.Pid() != 0 || s.Lives() != lives {
		t.Errorf("the server lives again: %d, life %d, %d when its test ended", s.Pid(), s.Lives(), lives)
	}
}

func TestAServerThatWasKilledLivesAgain(t *testing.T) {
	t.Parallel()
	address := child.Address(t)
	s := &child.Server{URL: "http://" + address, Dir: t.TempDir(), Reborn: true}
	s.Env = append(os.Environ(), asServer+"="+address, holds+"="+filepath.Join(s.Dir, "held"))
	s.Start(t)
	if err := s.Signal(syscall.SIGKILL, false); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(child.Patience); len(s.Back()) == 0; time.Sleep(5 * time.Millisecond) { //nolint:forbidigo // polling another process
		if time.Now().After(deadline) {
			t.Fatalf("it does not answer again:\n%s", s.Tail())
		}
	}
	if s.Lives() != 2 {
		t.Errorf("it lives for the %dth time, want the second", s.Lives())
	}
}
