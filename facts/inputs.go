package facts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"github.com/planlatch/planlatch/run"
)

// Objects reads the git object ids of paths in a tree; an absent path has the id "".
type Objects interface {
	Objects(ctx context.Context, treeish string, paths []string) (map[string]string, error)
}

// Inputs is the digest of everything in a tree that a run's plan is made from: its directory, the modules and files it uses, and its
// settings. Without a list of inputs the whole tree counts.
func Inputs(ctx context.Context, o Objects, tree string, r run.Run) (string, error) {
	paths := r.Settings.Inputs
	if len(paths) == 0 {
		paths = []string{"."}
	}
	ids, err := o.Objects(ctx, tree, paths)
	if err != nil {
		return "", fmt.Errorf("read what %s is made from: %w", r.Label, err)
	}
	h := sha256.New()
	for _, p := range slices.Sorted(maps.Keys(ids)) {
		fmt.Fprintf(h, "%q %s\n", p, ids[p])
	}
	fmt.Fprintf(h, "%q %q %q %q %q %q\n", r.Work, r.Settings.Tool, r.Settings.Version, r.Settings.VarFiles, r.Settings.BackendConfig, r.Settings.Flags)
	if s := r.Settings.Steps; !s.Empty() {
		for _, key := range run.StepKeys {
			fmt.Fprintf(h, "%s %q\n", key, s.Of(key))
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
