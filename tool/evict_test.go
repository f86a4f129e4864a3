package tool_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/planlatch/planlatch/tool"
)

func TestADownloadedToolIsEvictedWhenNobodySeesItAndIsDownloadedAgain(t *testing.T) {
	t.Parallel()
	m := newMirror(t)
	m.publish("tofu", "1.6.2", says("OpenTofu", "1.6.2"))
	f, keep := m.finder(nil)
	resolve := func() string {
		t.Helper()
		got, err := f.Resolve(t.Context(), tool.Want{Name: "tofu", Version: "1.6.2"})
		if err != nil {
			t.Fatalf("Resolve() = %v", err)
		}
		return got.Path
	}
	path := resolve()
	byHand := filepath.Join(keep, "terraform", "1.5.7", "terraform")
	if err := os.MkdirAll(filepath.Dir(byHand), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(byHand, []byte("#!/bin/sh\n"), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	drop := func(used string) (gone bool) {
		t.Helper()
		items, err := f.Items(t.Context(), func(context.Context) (map[string]bool, error) { return map[string]bool{used: true}, nil })
		if err != nil || len(items) != 1 {
			t.Fatalf("Items() = %+v, %v, want the download, and not what somebody put there", items, err)
		}
		if gone, err = items[0].Drop(t.Context()); err != nil {
			t.Fatalf("Drop() = %v", err)
		}
		return gone
	}
	old := time.Now().Add(-time.Hour)
	if drop("") {
		t.Error("a tool went that was named just now")
	}
	if err := os.Chtimes(filepath.Dir(path), old, old); err != nil {
		t.Fatal(err)
	}
	if drop(path) {
		t.Error("a tool went that an execution sees")
	}
	resolve() // keeps it for a while
	if drop("") {
		t.Error("a tool went that was named just now")
	}
	if err := os.Chtimes(filepath.Dir(path), old, old); err != nil {
		t.Fatal(err)
	}
	if !drop("") {
		t.Error("a tool stays that nobody uses")
	}
	if again := resolve(); again != path {
		t.Errorf("Resolve() = %s, want %s", again, path)
	}
}
