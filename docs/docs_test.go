// Package docs_test holds the documents to the tree: keys, paths and tests that they name exist.
package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/config"
)

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// pages are all documents, relative to this directory.
func pages(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("*.md")
	if err != nil || len(names) < 5 {
		t.Fatalf("Glob() = %v, %v", names, err)
	}
	return append(names, "../README.md", "../CHANGELOG.md")
}

func TestConfigurationNamesEveryKey(t *testing.T) {
	t.Parallel()
	page := read(t, "configuration.md")
	server, repository, ok := strings.Cut(page, "\n## planlatch.yaml\n")
	if !ok {
		t.Fatal("configuration.md has no chapter on planlatch.yaml")
	}
	for _, key := range keysOf(reflect.TypeFor[config.Config]()) {
		if !mentions(server, key) {
			t.Errorf("configuration.md does not explain the key %s of server.yaml", key)
		}
	}
	for _, key := range repositoryKeys(t) {
		if !mentions(repository, key) {
			t.Errorf("configuration.md does not explain the key %s of planlatch.yaml", key)
		}
	}
}

// mentions says whether a page has a key as code or as a heading, alone or as the end of a path.
func mentions(page, key string) bool {
	return regexp.MustCompile("(`|\\.|### )(" + regexp.QuoteMeta(key) + ")(`|\n| and|\\.|\\[)").MatchString(page)
}

// keysOf lists the YAML keys of a struct and all that it contains.
func keysOf(t reflect.Type) []string {
	switch t.Kind() {
	case reflect.Slice, reflect.Pointer, reflect.Map:
		return keysOf(t.Elem())
	case reflect.Struct:
	default:
		return nil
	}
	var keys []string
	for f := range t.Fields() {
		tag, ok := f.Tag.Lookup("yaml")
		if !ok {
			continue
		}
		if name, _, _ := strings.Cut(tag, ","); name != "" && !slices.Contains(keys, name) {
			keys = append(keys, name)
		}
		keys = append(keys, keysOf(f.Type)...)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// repositoryKeys lists the keys that the reader of planlatch.yaml knows: those of its maps from a key to what reads it.
func repositoryKeys(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../project/config.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	ast.Inspect(file, func(n ast.Node) bool {
		literal, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		kind, ok := literal.Type.(*ast.MapType)
		if !ok {
			return true
		}
		if _, ok := kind.Value.(*ast.FuncType); !ok {
			return true
		}
		for _, e := range literal.Elts {
			if pair, ok := e.(*ast.KeyValueExpr); ok {
				if key, ok := pair.Key.(*ast.BasicLit); ok {
					keys = append(keys, strings.Trim(key.Value, `"`))
				}
			}
		}
		return true
	})
	if len(keys) < 15 {
		t.Fatalf("only %v were found in project/config.go", keys)
	}
	return keys
}

var (
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#+ (.+)$`)
	fence    = regexp.MustCompile("(?s)```.*?```")
	codePath = regexp.MustCompile("`((?:app|bench|blob|client|cmd|command|config|deploy|docs|e2e|examples|executor|facts|flock|git|intake|notify|operator|policies|policy|project|provider|redact|report|run|runner|selector|store|testkit|tool|tools|vcs|views|web|webhook|wire)/[A-Za-z0-9_./-]*)`")
)

func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	for _, page := range pages(t) {
		text := fence.ReplaceAllString(read(t, page), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			file := page
			if target != "" {
				file = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: link to %s: %v", page, m[1], err)
				continue
			}
			if anchor != "" && !slices.Contains(anchors(read(t, file)), anchor) {
				t.Errorf("%s: link to %s: %s has no such heading", page, m[1], file)
			}
		}
	}
}

// anchors are how hosts name the headings of a page.
func anchors(text string) []string {
	var names []string
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		name := strings.ToLower(strings.TrimSpace(m[1]))
		name = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(name, "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}

func TestPathsExist(t *testing.T) {
	t.Parallel()
	for _, page := range pages(t) {
		for _, m := range codePath.FindAllStringSubmatch(testName.ReplaceAllString(read(t, page), ""), -1) {
			if _, err := os.Stat(filepath.Join("..", filepath.FromSlash(m[1]))); err != nil {
				t.Errorf("%s names %s: %v", page, m[1], err)
			}
		}
	}
}

func TestArchitectureNamesEveryPackage(t *testing.T) {
	t.Parallel()
	page := read(t, "architecture.md")
	if lines := strings.Count(page, "\n"); lines > 150 {
		t.Errorf("architecture.md has %d lines, want at most 150", lines)
	}
	var found int
	for _, pattern := range []string{"../*/*.go", "../cmd/*/*.go", "../vcs/*/*.go", "../notify/*/*.go", "../executor/*/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		told := map[string]bool{"docs": true, "examples": true}
		for _, file := range files {
			dir := strings.TrimPrefix(path.Dir(filepath.ToSlash(file)), "../")
			if told[dir] {
				continue
			}
			told[dir] = true
			found++
			if !strings.Contains(page, "`"+dir+"`") {
				t.Errorf("architecture.md does not name the package %s", dir)
			}
		}
	}
	if found < 30 {
		t.Errorf("only %d packages were found", found)
	}
}

var testName = regexp.MustCompile("`([a-z0-9/]+)/((?:Test|Fuzz|Benchmark)[A-Za-z0-9_]+)`")

func TestNamedTestsExist(t *testing.T) {
	t.Parallel()
	have := testsOf(t)
	found := 0
	for _, page := range pages(t) {
		for _, m := range testName.FindAllStringSubmatch(read(t, page), -1) {
			found++
			if !have[m[1]+"/"+m[2]] {
				t.Errorf("%s names %s in %s, which does not exist", page, m[2], m[1])
			}
		}
	}
	if found < 45 {
		t.Errorf("only %d tests are named; semantics.md alone names more", found)
	}
}

// testsOf finds every test function of the tree as package directory and name.
func testsOf(t *testing.T) map[string]bool {
	t.Helper()
	have := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Za-z0-9_]+)\(`)
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && file != ".." && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case !strings.HasSuffix(file, "_test.go"):
			return nil
		}
		dir := strings.TrimPrefix(path.Dir(filepath.ToSlash(file)), "../")
		for _, m := range function.FindAllStringSubmatch(read(t, file), -1) {
			have[dir+"/"+m[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return have
}

func TestEveryRuleHasItsRow(t *testing.T) {
	t.Parallel()
	page := read(t, "semantics.md")
	for n := 1; n <= 45; n++ {
		row := regexp.MustCompile(`(?m)^\| ` + strconv.Itoa(n) + ` \| [^|]{20,} \| [^|]*(Test|not yet)[^|]* \|$`)
		if !row.MatchString(page) {
			t.Errorf("semantics.md has no row for rule %d with a sentence and its tests, or \"not yet\"", n)
		}
	}
}
