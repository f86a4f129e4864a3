package program_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/planlatch/planlatch/program"
)

func TestFind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	for path, mode := range map[string]os.FileMode{first + "/text": 0o644, second + "/text": 0o755, second + "/aws": 0o755} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(first+"/aws", 0o755); err != nil {
		t.Fatal(err)
	}
	env := []string{"HOME=/", "PATH=relative:" + first + ":" + second}
	for name, want := range map[string]string{
		"text": second + "/text", // the first one is no program
		"aws":  second + "/aws",  // the first one is a directory
		"./x":  "./x",
		"none": "",
	} {
		got, err := program.Find(name, env)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("Find(%q) = %q, %v, want %q", name, got, err, want)
		}
	}
}
