package git_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAMirrorThatNobodyNeedsIsEvictedAndFetchedAgain(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	commit := o.commit("a", map[string]string{"f": "a"})
	all := newMirrors(t)
	m := all.Repo("gitea", "1")
	fetch := func() {
		t.Helper()
		if err := m.Fetch(t.Context(), o.remote(), "refs/heads/main"); err != nil {
			t.Fatalf("Fetch() = %v", err)
		}
	}
	fetch()
	drop := func(busy bool) (gone bool) {
		t.Helper()
		items, err := all.Items(t.Context(), func(_ context.Context, dir string) (bool, error) { return busy && dir == m.Dir(), nil })
		if err != nil || len(items) != 1 || items[0].Bytes == 0 {
			t.Fatalf("Items() = %+v, %v, want the mirror", items, err)
		}
		if gone, err = items[0].Drop(t.Context()); err != nil {
			t.Fatalf("Drop() = %v", err)
		}
		return gone
	}
	if drop(false) {
		t.Error("a mirror went that was fetched into just now")
	}
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(m.Dir(), old, old); err != nil {
		t.Fatal(err)
	}
	if err := m.Maintain(t.Context()); err != nil { // is no use of it
		t.Fatal(err)
	}
	if drop(true) {
		t.Error("a mirror went whose repository has runs")
	}
	if !drop(false) {
		t.Error("a mirror stays that nobody uses")
	}
	if has, err := m.Has(t.Context(), commit); has || err != nil {
		t.Errorf("Has() = %v, %v, want that the commit is to be fetched", has, err)
	}
	fetch()
	if has, err := m.Has(t.Context(), commit); !has || err != nil {
		t.Errorf("Has() after another fetch = %v, %v, want true", has, err)
	}
	if err := os.Mkdir(filepath.Join(filepath.Dir(m.Dir()), "x.gone"), 0o700); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(m.Dir()), "*.gone")); all.Sweep() != nil || err != nil || len(left) != 1 {
		t.Errorf("before Sweep() there was %v, %v", left, err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(m.Dir()), "*.gone")); err != nil || len(left) != 0 {
		t.Errorf("Sweep() left %v, %v", left, err)
	}
}
