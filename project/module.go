package project

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	hcljson "github.com/hashicorp/hcl/v2/json"
	"github.com/zclconf/go-cty/cty"

	"github.com/planlatch/planlatch/run"
)

type moduleKey struct{ dir, tool string }

// module is what one directory says, as one tool reads it.
type module struct {
	dir       string
	calls     map[string]moduleCall // by the name of the module block
	backend   *backend
	required  []string        // required_version
	variables map[string]bool // name → a value must be given
	refs      []ref
	links     []string // what its symlinked files lead to
	unsure    bool     // something reads a path that only a run can tell
	problems  []run.Problem
}

// moduleCall is one module block with a local source.
type moduleCall struct {
	source string // as written
	file   string
	line   int
}

// backend is where the code keeps its state.
type backend struct {
	kind     string
	settings string // literal settings, in one order; equal settings may be one state
	literal  bool   // it has settings, and all are literal
}

// ref is a path that the code reads.
type ref struct {
	root    bool   // relative to the root module, else to the module itself
	path    string // relative
	pattern string // of fileset; "" means the path itself and all below it
	sure    bool   // an argument of a function that reads; else a text that may be a path
}

var topSchema = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
	{Type: "terraform"}, {Type: "module", LabelNames: []string{"name"}}, {Type: "variable", LabelNames: []string{"name"}},
}}

var terraformSchema = &hcl.BodySchema{
	Attributes: []hcl.AttributeSchema{{Name: "required_version"}},
	Blocks:     []hcl.BlockHeaderSchema{{Type: "backend", LabelNames: []string{"type"}}, {Type: "cloud"}},
}

var (
	sourceSchema  = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "source"}}}
	defaultSchema = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "default"}}}
)

// module reads a directory once.
func (t *tree) module(dir, tool string) *module {
	key := moduleKey{dir, tool}
	if m := t.modules[key]; m != nil {
		return m
	}
	m := &module{dir: dir, calls: map[string]moduleCall{}, variables: map[string]bool{}}
	t.modules[key] = m
	for _, name := range t.configFiles(dir, tool) {
		t.readConfig(m, path.Join(dir, name))
	}
	return m
}

func (t *tree) readConfig(m *module, name string) {
	file, src := t.parse(name, &m.problems)
	if file == nil {
		return
	}
	if target, err := t.resolve(name); err == nil && target != name {
		m.links = append(m.links, target)
	}
	m.readBody(file.Body, src, name)
	if body, ok := file.Body.(*hclsyntax.Body); ok {
		m.findPaths(body)
	} else {
		m.findJSONPaths(src)
	}
}

// parse reads and parses one configuration file, within the bounds of the tree. The file is nil when nothing of it could be understood.
func (t *tree) parse(name string, problems *[]run.Problem) (*hcl.File, []byte) {
	if t.files++; t.files > maxFiles || t.bytes > maxParsed {
		t.bound("", fmt.Sprintf("the repository has more than %d configuration files, or more than %d MiB of them", maxFiles, maxParsed>>20),
			"leave directories out with discover.ignore in "+ConfigFile)
		return nil, nil
	}
	src, problem, ok := t.read(name, maxFileSize)
	if problem != nil {
		*problems = append(*problems, *problem)
	}
	if !ok {
		return nil, nil
	}
	t.bytes += int64(len(src))
	file, diags := Parse(name, src)
	*problems = append(*problems, fromDiagnostics(diags)...)
	if file == nil || file.Body == nil {
		return nil, nil
	}
	return file, src
}

// Parse parses a configuration file of any size or depth that somebody else wrote. The form goes by the name: what ends in .json is JSON.
func Parse(name string, src []byte) (*hcl.File, hcl.Diagnostics) {
	if !strings.HasSuffix(name, ".json") {
		return parseNative(src, name)
	}
	// The standard library bounds the depth, the HCL parser does not.
	if json.Valid(src) || len(src) == 0 || !deepJSON(src) {
		return hcljson.Parse(src, name)
	}
	return nil, hcl.Diagnostics{tooNested(name)}
}

// ParseTemplate parses a text of a JSON file, in which the tools look for templates. ok is false if it is none.
func ParseTemplate(src []byte, name string) (e hclsyntax.Expression, ok bool) {
	return parseTemplate(src, name)
}

// Literal returns a value that is written out. Nothing is evaluated.
func Literal(e hcl.Expression) (text string, ok bool) { return literal(e) }

// deepJSON says whether invalid JSON nests more than the parser should follow.
func deepJSON(src []byte) bool {
	return bytes.Count(src, []byte("[")) > maxNesting || bytes.Count(src, []byte("{")) > maxNesting
}

func fromDiagnostics(diags hcl.Diagnostics) []run.Problem {
	var out []run.Problem
	for _, d := range diags {
		if d.Severity != hcl.DiagError || len(out) >= 10 {
			continue
		}
		p := run.Problem{Message: d.Summary, Fix: d.Detail}
		if d.Subject != nil {
			p.File, p.Line, p.Column = d.Subject.Filename, d.Subject.Start.Line, d.Subject.Start.Column
		}
		out = append(out, p)
	}
	return out
}

func (m *module) readBody(body hcl.Body, src []byte, name string) {
	// What does not fit the schema is the tool's to complain about.
	content, _, _ := body.PartialContent(topSchema)
	for _, block := range content.Blocks {
		switch block.Type {
		case "terraform":
			m.readTerraform(block.Body, src)
		case "module":
			inner, _, _ := block.Body.PartialContent(sourceSchema)
			attr := inner.Attributes["source"]
			if attr == nil {
				continue
			}
			source, ok := literal(attr.Expr)
			delete(m.calls, block.Labels[0]) // an override replaces the source
			if !ok {
				m.unsure = true
			} else if source = slashed(source); isLocal(source) {
				m.calls[block.Labels[0]] = moduleCall{source: source, file: name, line: attr.Range.Start.Line}
			}
		case "variable":
			inner, _, _ := block.Body.PartialContent(defaultSchema)
			_, given := inner.Attributes["default"]
			was, seen := m.variables[block.Labels[0]]
			m.variables[block.Labels[0]] = !given && (was || !seen)
		}
	}
}

// slashed is a module source as the tools read it, which on every system take a backslash in a path for a slash.
func slashed(source string) string {
	if strings.HasPrefix(source, `.\`) || strings.HasPrefix(source, `..\`) || isLocal(source) {
		return strings.ReplaceAll(source, `\`, "/")
	}
	return source
}

// isLocal says whether a module source is a directory of the same repository.
func isLocal(source string) bool {
	return source == "." || source == ".." || strings.HasPrefix(source, "./") || strings.HasPrefix(source, "../")
}

func (m *module) readTerraform(body hcl.Body, src []byte) {
	content, _, _ := body.PartialContent(terraformSchema)
	if attr := content.Attributes["required_version"]; attr != nil {
		if v, ok := literal(attr.Expr); ok && v != "" && !slices.Contains(m.required, v) {
			m.required = append(m.required, v)
		}
	}
	for _, block := range content.Blocks {
		kind := "cloud"
		if block.Type == "backend" {
			kind = block.Labels[0]
		}
		attrs, _ := block.Body.JustAttributes()
		b := &backend{kind: kind, literal: len(attrs) > 0}
		var settings []string
		for name, attr := range attrs {
			v, ok := literal(attr.Expr)
			if !ok {
				b.literal = false
				v = strings.Join(strings.Fields(string(attr.Expr.Range().SliceBytes(src))), " ")
			}
			settings = append(settings, fmt.Sprintf("%s=%q", name, v))
		}
		slices.Sort(settings)
		b.settings = strings.Join(settings, " ")
		m.backend = b
	}
}

// literal returns a value that is written out. Nothing is evaluated: nested loops in a template would take for ever.
func literal(e hcl.Expression) (string, bool) {
	switch e := e.(type) {
	case *hclsyntax.ParenthesesExpr:
		return literal(e.Expression)
	case *hclsyntax.TemplateExpr:
		var text strings.Builder
		for _, part := range e.Parts {
			l, ok := part.(*hclsyntax.LiteralValueExpr)
			if !ok || l.Val.IsNull() || l.Val.Type() != cty.String {
				return "", false
			}
			text.WriteString(l.Val.AsString())
		}
		return text.String(), true
	case *hclsyntax.LiteralValueExpr:
		return primitive(e.Val)
	case hclsyntax.Expression:
		return "", false
	}
	// Without a context the JSON form gives texts as they are written.
	v, diags := e.Value(nil)
	text, ok := primitive(v)
	return text, ok && !diags.HasErrors() && !strings.Contains(text, "${") && !strings.Contains(text, "%{")
}

func primitive(v cty.Value) (string, bool) {
	if v.IsNull() || !v.IsWhollyKnown() || v.IsMarked() {
		return "", false
	}
	switch v.Type() {
	case cty.String:
		return v.AsString(), true
	case cty.Bool:
		return fmt.Sprint(v.True()), true
	case cty.Number:
		return v.AsBigFloat().Text('g', -1), true
	}
	return "", false
}

// library says whether a directory can only be used by others: it keeps no state of its own, and lacks values that nobody gives.
func (t *tree) isLibrary(m *module, varFiles []string) bool {
	if m.backend != nil || len(m.problems) > 0 {
		return false
	}
	missing := map[string]bool{}
	for name, required := range m.variables {
		if required {
			missing[name] = true
		}
	}
	if len(missing) == 0 {
		return false
	}
	files := slices.Clone(varFiles)
	if l := t.dirs[m.dir]; l != nil {
		for _, name := range l.other {
			if isAutoVarFile(name) {
				files = append(files, path.Join(m.dir, name))
			}
		}
	}
	for _, name := range files {
		var problems []run.Problem
		file, _ := t.parse(name, &problems)
		if file == nil || len(problems) > 0 {
			return false // the tool will say what is wrong with it
		}
		attrs, _ := file.Body.JustAttributes()
		for name := range attrs {
			delete(missing, name)
		}
	}
	return len(missing) > 0
}
