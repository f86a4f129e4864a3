package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"

	"github.com/planlatch/planlatch/policies"
)

// builtinPrefix marks the sources that are shipped inside the program.
const builtinPrefix = "builtin:"

// source is what the files of one set hold.
type source struct {
	modules map[string]*ast.Module // by the path that messages show; without tests
	tests   map[string]*ast.Module // files ending in _test.rego, only when asked for
	data    map[string]any
	files   map[string]string // path inside the set → sha256, of everything that can change a verdict
}

// open finds the files of a set and the prefix that makes their paths readable in messages.
func open(name string) (fs.FS, string, error) {
	if shipped, ok := strings.CutPrefix(name, builtinPrefix); ok {
		files, ok := policies.Open(shipped)
		if !ok {
			return nil, "", fmt.Errorf("no built-in set %q; there are: %s", shipped, strings.Join(policies.Names(), ", "))
		}
		return files, name + "/", nil
	}
	if strings.HasPrefix(name, "git::") {
		return nil, "", fmt.Errorf("source %s: sets are read from a directory or built in; clone it and name the directory", name)
	}
	if name == "" {
		return nil, "", errors.New("source is empty: name a directory of .rego files, or builtin:baseline")
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, "", fmt.Errorf("open source: %w", err)
	}
	if !info.IsDir() {
		return nil, "", fmt.Errorf("source %s is a file: name the directory that holds it", name)
	}
	return os.DirFS(name), filepath.Clean(name) + "/", nil
}

// read parses every file of a set. Hidden entries are left out: .git, and the second copy of each file in a Kubernetes volume.
func read(set Set, withTests bool) (source, []Fault) {
	src := source{modules: map[string]*ast.Module{}, tests: map[string]*ast.Module{}, data: map[string]any{}, files: map[string]string{}}
	files, prefix, err := open(set.Source)
	if err != nil {
		return src, []Fault{{Set: set.Name, Message: err.Error()}}
	}
	version, err := regoVersion(set.Rego)
	if err != nil {
		return src, []Fault{{Set: set.Name, Message: err.Error()}}
	}
	parser := ast.ParserOptions{RegoVersion: version, Capabilities: capabilities()}
	var faults []Fault
	walk := func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			faults = append(faults, Fault{Set: set.Name, File: prefix + file, Message: err.Error()})
			return nil //nolint:nilerr // it is a fault; others may follow
		}
		if strings.HasPrefix(entry.Name(), ".") && file != "." {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.IsDir() {
			faults = append(faults, src.add(files, set.Name, prefix, file, parser, withTests)...)
		}
		return nil
	}
	// The walk function never returns an error, so there is none here.
	_ = fs.WalkDir(files, ".", walk)
	return src, append(faults, src.settle(set)...)
}

// add reads one file if it is part of a set.
func (src *source) add(files fs.FS, set, prefix, file string, parser ast.ParserOptions, withTests bool) []Fault {
	isTest := strings.HasSuffix(file, "_test.rego")
	isData := slices.Contains([]string{"data.json", "data.yaml", "data.yml"}, path.Base(file))
	if !isData && (path.Ext(file) != ".rego" || isTest && !withTests) {
		return nil
	}
	content, err := fs.ReadFile(files, file)
	if err != nil {
		return []Fault{{Set: set, File: prefix + file, Message: err.Error()}}
	}
	if isData {
		err = src.addData(path.Dir(file), content)
	} else {
		var module *ast.Module
		module, err = ast.ParseModuleWithOpts(prefix+file, string(content), parser)
		switch {
		case err == nil && module == nil: // only comments, or nothing at all: no rule, which the engine notices for the whole set
			return nil
		case err == nil && isTest:
			src.tests[prefix+file] = module
		case err == nil:
			src.modules[prefix+file] = module
		}
	}
	if err != nil {
		return faultsOf(set, prefix+file, err)
	}
	if !isTest {
		sum := sha256.Sum256(content)
		src.files[file] = hex.EncodeToString(sum[:])
	}
	return nil
}

// addData puts a data file under the path of its directory, as OPA does with bundles.
func (src *source) addData(dir string, content []byte) error {
	var value map[string]any
	if err := util.Unmarshal(content, &value); err != nil {
		return fmt.Errorf("not an object in JSON or YAML: %w", err)
	}
	at := src.data
	if dir != "." {
		for part := range strings.SplitSeq(dir, "/") {
			below, ok := at[part].(map[string]any)
			if !ok {
				if _, taken := at[part]; taken {
					return fmt.Errorf("%q is set by another data file", part)
				}
				below = map[string]any{}
				at[part] = below
			}
			at = below
		}
	}
	for _, key := range slices.Sorted(maps.Keys(value)) {
		if _, taken := at[key]; taken {
			return fmt.Errorf("%q is set by another data file", key)
		}
		at[key] = value[key]
	}
	return nil
}

// settle lays the configured settings over those of the data files, key by key. A set that has settings in a data file has declared them:
// a key that is not there, or whose value is of another kind, would be a wish that no rule reads.
func (src *source) settle(set Set) []Fault {
	fault := func(format string, args ...any) []Fault {
		return []Fault{{Set: set.Name, Message: "settings: " + fmt.Sprintf(format, args...)}}
	}
	own, declares := src.data["settings"]
	declared, isObject := own.(map[string]any)
	if declares && !isObject {
		return fault("a data file gives %s instead of an object", kind(own))
	}
	given, err := roundTrip(set.Settings)
	if err != nil {
		return fault("%v", err)
	}
	settings := map[string]any{}
	maps.Copy(settings, declared)
	wanted, _ := given.(map[string]any) // nil when none were given
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		standard, known := declared[key]
		if declares && !known {
			return fault("unknown key %q; the set has %s", key, strings.Join(slices.Sorted(maps.Keys(declared)), ", "))
		}
		if declares && wanted[key] == nil {
			return fault("%s has no value; give it one or leave it out", key)
		}
		if known && standard != nil && kind(standard) != kind(wanted[key]) {
			return fault("%s is %s; the set expects %s", key, kind(wanted[key]), kind(standard))
		}
		settings[key] = wanted[key]
	}
	src.data["settings"] = settings
	return nil
}

// roundTrip turns a value into the types that JSON decoding gives, which is all that OPA's store accepts.
func roundTrip(value any) (any, error) {
	err := util.RoundTrip(&value)
	return value, err
}

func regoVersion(name string) (ast.RegoVersion, error) {
	switch name {
	case "", "v1":
		return ast.RegoV1, nil
	case "v0":
		return ast.RegoV0, nil
	}
	return ast.RegoUndefined, fmt.Errorf("rego: %q is not a version; say v1, or v0 for older rules", name)
}

// faultsOf takes OPA's errors apart, since one file can have many.
func faultsOf(set, file string, err error) []Fault {
	var many ast.Errors
	if !errors.As(err, &many) {
		return []Fault{{Set: set, File: file, Message: err.Error()}}
	}
	var faults []Fault
	for _, one := range many {
		f := Fault{Set: set, File: file, Message: one.Message}
		if one.Location != nil {
			f.Line, f.Column = one.Location.Row, one.Location.Col
			if one.Location.File != "" {
				f.File = one.Location.File
			}
		}
		faults = append(faults, f)
	}
	return faults
}
