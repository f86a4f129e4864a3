package app_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/blob"
)

// onSmall is an installation on a small disk, with its first key alone.
func onSmall(t *testing.T, d *smallDisk) *sealed {
	t.Helper()
	s := &sealed{t: t, dir: d.dir, values: 110, objects: 10, padding: strings.Repeat("x", 20_000)}
	s.first, s.fresh = s.keyFile("first"), s.keyFile("fresh")
	return s
}

// halfway rotates, which cannot end, and looks whether it says one clear error. done is a pattern.
func (s *sealed) halfway(file, done string, args ...string) {
	s.t.Helper()
	_, said := s.says(3, append(append([]string{"rotate"}, args...), "--config", file)...)
	if strings.Count(said, "planlatch: ") != 1 || strings.Count(said, "no space left on device") != 1 || !regexp.MustCompile(done).MatchString(said) {
		s.t.Errorf("rotate %v on a full disk said %s, want once that there is no space left, and %q", args, said, done)
	}
}

// beside has a server at work while f is done.
func (s *sealed) beside(file string, f func()) {
	s.t.Helper()
	server, err := app.NewServer(s.t.Context(), s.load(file), app.ServerOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	f()
	if err := server.Close(); err != nil {
		s.t.Error(err)
	}
}

// readable reads all objects, also where the disk is full, and looks for files that are none.
func (s *sealed) readable(file string) {
	s.t.Helper()
	cfg := s.load(file)
	o := blob.Options{Dir: filepath.Join(cfg.Data, "blobs"), Key: cfg.EncryptionKey.Reveal()}
	for _, k := range cfg.OldEncryptionKeys {
		o.Old = append(o.Old, k.Reveal())
	}
	blobs, err := blob.Open(s.t.Context(), o)
	if err != nil {
		s.t.Fatal(err)
	}
	defer blobs.Close()
	for i := range s.objects {
		got, err := blobs.Get(s.t.Context(), fmt.Sprintf("runs/x/%d", i))
		if err != nil || !bytes.Equal(got, bytes.Repeat(fmt.Append(nil, i), 50_000)) {
			s.t.Errorf("object %d = %d bytes, %v", i, len(got), err)
		}
	}
	if files, err := filepath.Glob(filepath.Join(o.Dir, "runs/x/*")); err != nil || len(files) != s.objects {
		s.t.Errorf("%d files are there, %v, want those of %d objects", len(files), err, s.objects)
	}
}

const makeRoom = "nothing is lost; make room, and say it again to go on"

// keysRotateOnAFullDisk: the disk is full from the start, then from some object on.
func keysRotateOnAFullDisk(t *testing.T, d *smallDisk) {
	s := onSmall(t, d)
	s.fill(s.config(s.first))
	both := s.config(s.fresh, s.first)
	d.fill()
	s.halfway(both, "open the database") // there is no room for what SQLite needs to open it
	d.free()
	s.beside(both, func() {
		d.fill()
		s.halfway(both, " 0 values and 0 objects are done, "+makeRoom)
		s.halfway(both, " 0 values and 0 objects are done, "+makeRoom, "--all")
		if out, _ := s.says(1, "status", "--config", both); !regexp.MustCompile(` +112 +10 +old, still needed`).MatchString(out) {
			t.Errorf("status = %s, want that all is under the old key", out)
		}
		s.readable(s.config(s.first))
		s.readable(s.config(s.fresh, s.first))
		d.free()
	})
	s.whole(s.config(s.first)) // as if nobody had tried

	s.large(s.config(s.first))
	s.beside(s.config(s.fresh, s.first), func() {
		d.fill()
		d.leave(500 << 10) // enough for each of the others
		s.halfway(both, " 0 values and 10 objects are done, "+makeRoom)
		s.readable(both)
		s.readable(s.config(s.first, s.fresh))
		s.config(s.fresh, s.first)
		d.free()
	})
	s.whole(s.config(s.first, s.fresh))
	s.whole(s.config(s.fresh, s.first))
	if _, said := s.says(0, "rotate", "--config", both); !strings.Contains(said, "Encrypted anew: 112 values and 1 objects") {
		t.Errorf("rotate, with room, said %s, want that it does the rest", said)
	}
	s.whole(s.config(s.fresh))
	sound(t, filepath.Join(s.dir, "data"))
}

// large stores an object behind all others.
func (s *sealed) large(file string) {
	s.t.Helper()
	rows, blobs := s.open(s.load(file))
	err := blobs.Put(s.t.Context(), "runs/y/large", bytes.Repeat([]byte("large"), 400_000))
	if err := errors.Join(err, rows.Close(), blobs.Close()); err != nil {
		s.t.Fatal(err)
	}
}

// rowsOnAFullDisk: there is room for all objects, and for some rows.
func rowsOnAFullDisk(t *testing.T, d *smallDisk) {
	s := onSmall(t, d)
	s.fill(s.config(s.first))
	both := s.config(s.fresh, s.first)
	s.beside(both, func() {
		d.fill()
		d.leave(1500 << 10) // of three times that
		s.halfway(both, "[1-9][0-9]* values and 10 objects are done, "+makeRoom)
		d.free()
	})
	s.whole(s.config(s.first, s.fresh))
	s.whole(s.config(s.fresh, s.first))
	if err := s.start(s.config(s.fresh)); err == nil {
		t.Error("a server with the new key alone starts before all is done")
	}
	s.says(0, "rotate", "--config", s.config(s.fresh, s.first))
	s.whole(s.config(s.fresh))
	sound(t, filepath.Join(s.dir, "data"))
}

// aKeyGeneratedOnAFullDisk: a fresh key that is not kept whole must not have encrypted anything.
func aKeyGeneratedOnAFullDisk(t *testing.T, d *smallDisk) {
	s := onSmall(t, d)
	file := s.config()
	s.fill(file)
	key := filepath.Join(s.dir, "data", "key")
	first, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	d.fill()
	s.halfway(file, "--generate", "--generate")
	if now, err := os.ReadFile(key); err != nil || !bytes.Equal(now, first) {
		t.Errorf("the key file is another one, %v", err)
	}
	d.free()
	s.large(file)
	d.fill()
	d.leave(500 << 10)
	s.halfway(file, " 0 values and 10 objects are done, "+makeRoom, "--generate")
	d.free()
	s.whole(file) // both keys are in the file
	if _, said := s.says(0, "rotate", "--generate", "--config", file); !strings.Contains(said, "going on with it") {
		t.Errorf("with room it said %s, want that it goes on with the key made before", said)
	}
	s.whole(file)
	if now, err := os.ReadFile(key); err != nil || bytes.Contains(now, bytes.TrimSpace(first)) || bytes.Count(now, []byte("\n")) != 1 {
		t.Errorf("the key file has %d lines, %v; want the fresh key alone", bytes.Count(now, []byte("\n")), err)
	}
}
