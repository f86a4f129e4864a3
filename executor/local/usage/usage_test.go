package usage_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/planlatch/planlatch/executor/executortest"
	"github.com/planlatch/planlatch/executor/local/process"
	"github.com/planlatch/planlatch/executor/local/usage"
)

func TestATreeIsMeasuredWithoutLeavingIt(t *testing.T) {
	t.Parallel()
	dir, outside := t.TempDir(), t.TempDir()
	executortest.Write(t, outside+"/large", strings.Repeat("x", 1<<20))
	executortest.Write(t, dir+"/closed/file", strings.Repeat("x", 100_000))
	if err := os.Symlink(outside, dir+"/closed/link"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir+"/closed", 0o300); err != nil {
		t.Fatal(err)
	}
	if got := usage.Measure(dir, 0); got.Entries != 3 || got.Bytes < 100_000 || got.Bytes > 1<<19 || got.Deep {
		t.Errorf("Measure() = %+v, want a directory, a file and a link", got)
	}
	for i := range 20 {
		executortest.Write(t, filepath.Join(dir, "many", string(rune('a'+i))), "")
	}
	if got := usage.Measure(dir, 5); got.Entries <= 10 || got.Entries > 15 {
		t.Errorf("Measure() counted %d entries, want it to stop a little behind twice the 5", got.Entries)
	}
}

func TestADirectoryTooDeepIsTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(dir+strings.Repeat("/d", usage.MostDeep), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := usage.Measure(dir, 0); got.Deep || got.Entries != usage.MostDeep {
		t.Errorf("Measure() = %+v, want %d entries", got, usage.MostDeep)
	}
	if err := os.Mkdir(dir+strings.Repeat("/d", usage.MostDeep+1), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := usage.Measure(dir, 0); !got.Deep {
		t.Errorf("Measure() = %+v, want it too deep", got)
	}
}

func TestAFileWithoutANameCountsOnceWhileItIsOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, err := os.Create(dir + "/file")
	if err != nil {
		t.Fatal(err)
	}
	again, err := os.Open(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(strings.Repeat("x", 100_000)); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(f.Name()); err != nil {
		t.Fatal(err)
	}
	self := []process.Stat{{ID: process.ID{PID: os.Getpid()}}}
	if got := usage.Removed(dir, self); got != st.Blocks*512 || got < 100_000 {
		t.Errorf("Removed() = %d, want the %d bytes of the one file", got, st.Blocks*512)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if got := usage.Removed(dir, self); got != 0 {
		t.Errorf("Removed() = %d, want nothing once it is closed", got)
	}
}
