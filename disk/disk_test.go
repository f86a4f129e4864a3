package disk_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/planlatch/planlatch/disk"
)

func TestSpaceAndUsageAreThoseOfTheMachine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	space, err := disk.Of(dir)
	if err != nil || space.Total <= 0 || space.Free < 0 || space.Free > space.Total {
		t.Errorf("Of() = %+v, %v", space, err)
	}
	if _, err := disk.Of(filepath.Join(dir, "none")); err == nil {
		t.Error("Of() of nothing = nil error")
	}
	before := disk.Usage(t.Context(), dir)
	if err := os.WriteFile(filepath.Join(dir, "f"), make([]byte, 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := disk.Usage(t.Context(), dir) - before; got < 90_000 || got > 200_000 {
		t.Errorf("Usage() grew by %d for a file of 100,000 bytes", got)
	}
	if got := disk.Usage(t.Context(), filepath.Join(dir, "none")); got != 0 {
		t.Errorf("Usage() of nothing = %d", got)
	}
}

func TestShrinkTakesWhatWasNotUsedForLongestAndNoMore(t *testing.T) {
	t.Parallel()
	var gone []string
	item := func(name string, age int, stays bool, err error) disk.Item {
		return disk.Item{Name: name, Bytes: 10, Used: time.Unix(int64(100-age), 0), Drop: func(context.Context) (bool, error) {
			if stays || err != nil {
				return false, err
			}
			gone = append(gone, name)
			return true, nil
		}}
	}
	broken := errors.New("broken")
	items := []disk.Item{item("new", 1, false, nil), item("oldest", 9, false, nil), item("used", 8, true, nil), item("broken", 7, false, broken), item("old", 6, false, nil)}
	if got := disk.Total(items); got != 50 {
		t.Errorf("Total() = %d, want 50", got)
	}
	dropped, err := disk.Shrink(t.Context(), items, 11)
	if !errors.Is(err, broken) || len(dropped) != 2 || fmt.Sprint(gone) != "[oldest old]" {
		t.Errorf("Shrink() took %v, %v, want the two oldest that may go, and the fault", gone, err)
	}
	if dropped, err := disk.Shrink(t.Context(), items, 0); err != nil || len(dropped) != 0 {
		t.Errorf("Shrink() of nothing = %v, %v", dropped, err)
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for bytes, want := range map[int64]string{0: "0 bytes", 1023: "1023 bytes", 1 << 30: "1 GiB", 1288490189: "1.2 GiB", 5 << 40: "5 TiB", 1 << 62: "4194304 TiB"} {
		if got := disk.Text(bytes); got != want {
			t.Errorf("Text(%d) = %q, want %q", bytes, got, want)
		}
	}
	if !disk.Full(fmt.Errorf("write: %w", syscall.ENOSPC)) || disk.Full(syscall.EIO) {
		t.Error("Full() is wrong")
	}
}
