package git

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strings"
)

// reduced is the id of what stands at a path, with some directories below it taken out. Trees that contain none of those keep their own
// id, so only the way down to them is read.
func (f *FS) reduced(name string, e entry, without map[string]bool) (string, error) {
	if without[name] {
		return "", nil
	}
	inside := false
	for dir := range without {
		inside = inside || name == "." || strings.HasPrefix(dir, name+"/")
	}
	if !inside || !e.dir() {
		return e.id, nil
	}
	t, err := f.tree(e)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for _, child := range t.entries {
		p := path.Join(name, child.name)
		if without[p] {
			continue
		}
		id, err := f.reduced(p, child, without)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%o %s %s\x00", child.mode, id, child.name) // a hash never fails to write
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
