package blob_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/planlatch/planlatch/blob"
)

const (
	key      = "base64key://smGbjm71Nxd1Ig5FS0wj9SlbzAIrnolCz9bQQ6uAhl4="
	otherKey = "base64key://AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
)

func open(t *testing.T, o blob.Options) *blob.Store {
	t.Helper()
	if o.Key == "" {
		o.Key = key
	}
	s, err := blob.Open(t.Context(), o)
	if err != nil {
		t.Fatalf("Open(%+v) = %v", o, err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return s
}

func TestObjectsOfEverySizeComeBack(t *testing.T) {
	t.Parallel()
	s := open(t, blob.Options{Dir: filepath.Join(t.TempDir(), "a", "blobs")})
	for _, size := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 3 * 64 << 10, 1<<20 + 7} {
		data := bytes.Repeat([]byte("planlatch-"), size/10+1)[:size]
		name := "runs/x/" + string(rune('a'+size%26)) + strings.Repeat("n", len(data)%7)
		if err := s.Put(t.Context(), name, data); err != nil {
			t.Fatalf("Put(%d bytes) = %v", size, err)
		}
		got, err := s.Get(t.Context(), name)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("Get() of %d bytes = %d bytes, %v", size, len(got), err)
		}
		if err := s.Delete(t.Context(), name); err != nil {
			t.Errorf("Delete() = %v", err)
		}
	}
}

func TestReadersAreStoredAndReadPieceByPiece(t *testing.T) {
	t.Parallel()
	s := open(t, blob.Options{Dir: t.TempDir()})
	data := strings.Repeat("0123456789", 20_000)
	if err := s.PutReader(t.Context(), "log", iotest.HalfReader(strings.NewReader(data))); err != nil {
		t.Fatalf("PutReader() = %v", err)
	}
	r, err := s.Open(t.Context(), "log")
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	defer r.Close()
	if err := iotest.TestReader(struct{ io.Reader }{r}, []byte(data)); err != nil {
		t.Error(err)
	}
}

func TestFailedReaderStoresNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, blob.Options{Dir: dir})
	for _, broken := range []error{errors.New("disk gone"), io.ErrUnexpectedEOF} {
		for _, size := range []int{0, 100, 64 << 10, 100_000} {
			err := s.PutReader(t.Context(), "x", io.MultiReader(strings.NewReader(strings.Repeat("a", size)), iotest.ErrReader(broken)))
			if !errors.Is(err, broken) {
				t.Errorf("PutReader() of %d bytes and %v = %v, want that error", size, broken, err)
			}
		}
	}
	if _, err := s.Get(t.Context(), "x"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Get() = %v, want ErrNotFound", err)
	}
	if files := allFiles(t, dir); len(files) != 0 {
		t.Errorf("files left behind: %v", files)
	}
}

func TestNameKeepsItsContent(t *testing.T) {
	t.Parallel()
	s := open(t, blob.Options{Dir: t.TempDir()})
	if err := s.Put(t.Context(), "plan", []byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "plan", []byte("one")); err != nil {
		t.Errorf("Put() of the same again = %v, want nil", err)
	}
	if err := s.Put(t.Context(), "plan", []byte("two")); !errors.Is(err, blob.ErrExists) {
		t.Errorf("Put() of other content = %v, want ErrExists", err)
	}
	if got, err := s.Get(t.Context(), "plan"); err != nil || string(got) != "one" {
		t.Errorf("Get() = %q, %v, want one", got, err)
	}
}

func TestAbsentObjects(t *testing.T) {
	t.Parallel()
	s := open(t, blob.Options{Dir: t.TempDir()})
	if _, err := s.Get(t.Context(), "no/such"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Get() = %v, want ErrNotFound", err)
	}
	if err := s.Delete(t.Context(), "no/such"); err != nil {
		t.Errorf("Delete() = %v, want nil", err)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("Check() = %v, want nil", err)
	}
}

func TestNamesThatCouldLeaveTheBucketAreRefused(t *testing.T) {
	t.Parallel()
	s := open(t, blob.Options{Dir: t.TempDir()})
	for _, name := range []string{"", "/etc/x", "../x", "a/../b", "a//b", "a/", ".hidden", "a b", "a\x00", "ä", strings.Repeat("a", 600)} {
		if err := s.Put(t.Context(), name, nil); !errors.Is(err, blob.ErrName) {
			t.Errorf("Put(%q) = %v, want ErrName", name, err)
		}
		if _, err := s.Get(t.Context(), name); !errors.Is(err, blob.ErrName) {
			t.Errorf("Get(%q) = %v, want ErrName", name, err)
		}
	}
}

func TestNothingReadableIsOnDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, blob.Options{URL: "file://" + dir})
	canary := "canary-5b1c"
	if err := s.Put(t.Context(), "runs/r/plan", []byte(strings.Repeat(canary, 20_000))); err != nil {
		t.Fatal(err)
	}
	files := allFiles(t, dir)
	if len(files) != 1 {
		t.Fatalf("files = %v, want one", files)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte(canary)) || bytes.Contains(text, []byte("smGbjm71")) {
		t.Error("the file shows content or key")
	}
	info, err := os.Stat(files[0])
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the file = %v, %v, want 0600", info.Mode(), err)
	}
}

func TestAlteredObjectsAreRefused(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("x"), 3*64<<10)
	const sealedPiece = 64<<10 + 16
	tests := map[string]func(text []byte) []byte{
		"Bit":         func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"LastByte":    func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"CutAtPiece":  func(b []byte) []byte { return b[:len(b)-sealedPiece] },
		"CutInPiece":  func(b []byte) []byte { return b[:len(b)-100] },
		"CutInHeader": func(b []byte) []byte { return b[:5] },
		"Empty":       func([]byte) []byte { return nil },
		"Longer":      func(b []byte) []byte { return append(b, 0) },
		"Swapped": func(b []byte) []byte {
			head := len(b) - 3*sealedPiece
			first := bytes.Clone(b[head : head+sealedPiece])
			copy(b[head:], b[head+sealedPiece:head+2*sealedPiece])
			copy(b[head+sealedPiece:], first)
			return b
		},
		"Doubled": func(b []byte) []byte { return append(b, b[len(b)-sealedPiece:]...) },
		"Foreign": func([]byte) []byte { return []byte("something else entirely") },
	}
	for name, alter := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := open(t, blob.Options{Dir: dir})
			if err := s.Put(t.Context(), "x", data); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "x")
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, alter(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Get(t.Context(), "x"); !errors.Is(err, blob.ErrDamaged) {
				t.Errorf("Get() = %v, want ErrDamaged", err)
			}
		})
	}
}

func TestObjectMovedToAnotherNameIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, blob.Options{Dir: dir})
	if err := s.Put(t.Context(), "a", []byte("plan of a")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "b"); !errors.Is(err, blob.ErrDamaged) {
		t.Errorf("Get() = %v, want ErrDamaged", err)
	}
}

func TestWrongKeyIsToldAsSuch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := open(t, blob.Options{Dir: dir}).Put(t.Context(), "x", []byte("y")); err != nil {
		t.Fatal(err)
	}
	_, err := open(t, blob.Options{Dir: dir, Key: otherKey}).Get(t.Context(), "x")
	if !errors.Is(err, blob.ErrKey) || errors.Is(err, blob.ErrDamaged) || !strings.Contains(err.Error(), "encryption_key") {
		t.Errorf("Get() with another key = %v, want ErrKey naming encryption_key", err)
	}
}

func TestUnusableKeysAndBucketsAreRefusedWithoutShowingThem(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]blob.Options{
		"Empty":         {Key: "", Dir: t.TempDir()},
		"EmptyLocal":    {Key: "base64key://", Dir: t.TempDir()},
		"Short":         {Key: "base64key://c2VjcmV0LWtleQ==", Dir: t.TempDir()},
		"NotBase64":     {Key: "base64key://secret key!", Dir: t.TempDir()},
		"Plain":         {Key: "c2VjcmV0LWtleQ", Dir: t.TempDir()},
		"UnknownScheme": {Key: "vault://c2VjcmV0LWtleQ", Dir: t.TempDir()},
		"RelativeDir":   {Key: key, Dir: "blobs"},
		"UnknownBucket": {Key: key, URL: "ftp://bucket"},
		"DirIsAFile":    {Key: key, Dir: "/dev/null"},
	} {
		s, err := blob.Open(t.Context(), o)
		if err == nil || strings.Contains(err.Error(), "c2VjcmV0") || strings.Contains(err.Error(), "secret key") {
			t.Errorf("%s: Open() = %v, %v, want an error without the key", name, s, err)
		}
	}
	// The alphabet of openssl, and keys without padding, are fine.
	for _, k := range []string{"base64key:////////////////////////////////////////////8=", strings.TrimRight(key, "=")} {
		if _, err := blob.OpenSealer(t.Context(), k); err != nil {
			t.Errorf("OpenSealer(%s) = %v, want nil", k, err)
		}
	}
}

func TestGeneratedKeyIsMadeOnceAndKeptPrivate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data", "key")
	var mu sync.Mutex
	keys, fresh := map[string]bool{}, 0
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			k, _, created, err := blob.GeneratedKey(path)
			if err != nil {
				t.Errorf("GeneratedKey() = %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			keys[k] = true
			if created {
				fresh++
			}
		})
	}
	wg.Wait()
	if len(keys) != 1 || fresh != 1 {
		t.Errorf("8 processes made %d keys and %d files, want 1 and 1", len(keys), fresh)
	}
	if files := allFiles(t, filepath.Dir(path)); len(files) != 1 {
		t.Errorf("files = %v, want the key alone", files)
	}
	for k := range keys {
		if _, err := blob.OpenSealer(t.Context(), k); err != nil {
			t.Errorf("OpenSealer() of the generated key = %v", err)
		}
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := blob.GeneratedKey(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("GeneratedKey() of a readable file = %v, want an error with the command", err)
	}
	if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := blob.GeneratedKey(path); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Errorf("GeneratedKey() of an empty file = %v, want an error, never a new key", err)
	}
}

func TestSealer(t *testing.T) {
	t.Parallel()
	sealer := func(key string) *blob.Sealer {
		s, err := blob.OpenSealer(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	one, two := sealer(key), sealer(key)
	for _, plain := range []string{"", "x", strings.Repeat("log line\n", 10_000)} {
		a, err := one.Seal(t.Context(), []byte(plain))
		if err != nil {
			t.Fatalf("Seal() = %v", err)
		}
		b, err := one.Seal(t.Context(), []byte(plain))
		if err != nil || bytes.Equal(a, b) {
			t.Errorf("Seal() of one value twice is equal, %v", err)
		}
		if len(plain) > 1 && bytes.Contains(a, []byte(plain[:8])) {
			t.Error("Seal() shows the value")
		}
		for name, s := range map[string]*blob.Sealer{"itself": one, "another process": two} {
			if got, err := s.Open(t.Context(), a); err != nil || string(got) != plain {
				t.Errorf("Open() by %s = %d bytes, %v, want %d", name, len(got), err, len(plain))
			}
		}
		if _, err := sealer(otherKey).Open(t.Context(), a); !errors.Is(err, blob.ErrKey) {
			t.Errorf("Open() with another key = %v, want ErrKey", err)
		}
		for i := range min(len(a), 200) {
			bad := bytes.Clone(a)
			bad[i] ^= 1
			if got, err := two.Open(t.Context(), bad); err == nil {
				t.Fatalf("Open() with byte %d altered = %q, want an error", i, got)
			}
			if got, err := two.Open(t.Context(), a[:i]); err == nil {
				t.Fatalf("Open() of %d bytes = %q, want an error", i, got)
			}
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	s, err := blob.OpenSealer(context.Background(), key)
	if err != nil {
		b.Fatal(err)
	}
	plain := bytes.Repeat([]byte("x"), 2048)
	for b.Loop() {
		if _, err := s.Seal(context.Background(), plain); err != nil {
			b.Fatal(err)
		}
	}
}

func allFiles(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestObjectsAndValuesAreEncryptedAnew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	before := open(t, blob.Options{Dir: dir})
	data := bytes.Repeat([]byte("planlatch-"), 20_000)
	if err := before.Put(t.Context(), "runs/x", data); err != nil {
		t.Fatal(err)
	}
	both := open(t, blob.Options{Dir: dir, Key: otherKey, Old: []string{key, key}})
	if id, err := both.Key(t.Context(), "runs/x"); err != nil || id != before.Current() {
		t.Errorf("Key() = %v, %v, want %v", id, err, before.Current())
	}
	if got, err := both.Get(t.Context(), "runs/x"); err != nil || !bytes.Equal(got, data) {
		t.Errorf("Get() with the old key behind a new one = %d bytes, %v", len(got), err)
	}
	stored := func() []byte {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, "runs", "x"))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	was := stored()
	for range 2 {
		if err := both.Rekey(t.Context(), "runs/x"); err != nil {
			t.Fatalf("Rekey() = %v", err)
		}
		if bytes.Equal(stored()[100:], was[100:]) {
			t.Error("Rekey() left the data as it was, want it under a fresh data key")
		}
		was = stored()
	}
	if got, err := open(t, blob.Options{Dir: dir, Key: otherKey}).Get(t.Context(), "runs/x"); err != nil || !bytes.Equal(got, data) {
		t.Errorf("Get() with the new key alone = %d bytes, %v", len(got), err)
	}
	if _, err := before.Key(t.Context(), "runs/x"); err != nil {
		t.Errorf("Key() without that key = %v, want its id: the object tells it", err)
	}
	if _, err := before.Get(t.Context(), "runs/x"); !errors.Is(err, blob.ErrKey) || !strings.Contains(err.Error(), both.Current().String()) {
		t.Errorf("Get() with the old key alone = %v, want ErrKey naming the key that is needed", err)
	}
	if err := both.Rekey(t.Context(), "runs/absent"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Rekey() of nothing = %v, want ErrNotFound", err)
	}
	if files := allFiles(t, dir); len(files) != 1 {
		t.Errorf("files = %v, want one", files)
	}
}

func TestADamagedObjectIsNotReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, blob.Options{Dir: dir})
	if err := s.Put(t.Context(), "x", bytes.Repeat([]byte("y"), 200_000)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "x")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)-1] ^= 1
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Rekey(t.Context(), "x"); !errors.Is(err, blob.ErrDamaged) {
		t.Errorf("Rekey() = %v, want ErrDamaged", err)
	}
	now, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(now, text) || len(allFiles(t, dir)) != 1 {
		t.Errorf("the file was changed, or something lies beside it: %v", err)
	}
}

func TestKeysAreNeverRepeatedInErrors(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"base64key://c2VjcmV0LXNlY3JldA==", "secret-secret", "nokms://secret-secret"} {
		for _, o := range []blob.Options{{Dir: t.TempDir(), Key: bad}, {Dir: t.TempDir(), Key: key, Old: []string{bad}}} {
			if _, err := blob.Open(t.Context(), o); err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "c2Vj") {
				t.Errorf("Open() = %v, want an error that does not repeat the key", err)
			}
		}
	}
}
