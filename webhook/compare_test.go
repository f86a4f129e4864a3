package webhook_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// secretName is how the code calls what must not be compared byte by byte until the first difference: how long that takes tells a stranger
// how much of a guess was right.
var secretName = regexp.MustCompile(`(?i)(^|[a-z_])(token|secret|signature|mac|hmac|password|passwd|credential|apikey)$`)

// comparers are the functions that compare and stop at the first difference.
var comparers = map[string]bool{"bytes.Equal": true, "bytes.Compare": true, "strings.EqualFold": true, "strings.Compare": true, "slices.Equal": true, "reflect.DeepEqual": true}

// TestSecretsAreComparedInConstantTime reads all code of this repository: what a secret is compared with passes through crypto/hmac or
// crypto/subtle, or is a constant (as in: is there one at all?).
func TestSecretsAreComparedInConstantTime(t *testing.T) {
	t.Parallel()
	files := 0
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch d.Name() {
			case "testkit", "testdata", "fakehost", "notifytest", "node_modules", "tools", "bench", "chaos", ".git":
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		files++
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		found := leaky(f)
		if name == "../web/access.go" && len(found) == 1 { // token is a level of access there
			found = nil
		}
		for _, at := range found {
			t.Errorf("%s: a secret is compared in a time that tells about it; use hmac.Equal or subtle.ConstantTimeCompare", set.Position(at))
		}
		return nil
	})
	if err != nil || files < 100 {
		t.Fatalf("read %d files: %v", files, err)
	}
}

func TestLeakyComparesAreFound(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]int{
		`a := h.Get("X-Token") == c.Secret.Reveal()`: 1, `a := got != o.webhookToken`: 1, `a := bytes.Equal(mac, sum)`: 1, `a := strings.EqualFold(x, string(secret))`: 1,
		`a := string(signature) == x`: 1, `a := token == ""`: 0, `a := c.Token.Reveal() != ""`: 0, `a := secret == nil`: 0, `a := hmac.Equal(mac, sum)`: 0, `a := len(token) == 4`: 0,
		`a := kind == "token"`: 0,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\nfunc f() {\n"+code+"\n}", parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if got := leaky(f); len(got) != want {
			t.Errorf("leaky(%s) finds %d, want %d", code, len(got), want)
		}
	}
}

// leaky finds the compares of secrets in a file.
func leaky(f *ast.File) []token.Pos {
	var found []token.Pos
	ast.Inspect(f, func(n ast.Node) bool {
		switch e := n.(type) {
		case *ast.BinaryExpr:
			if (e.Op == token.EQL || e.Op == token.NEQ) && !trimmed(e.X, e.Y) && (secretive(e.X) && !constant(e.Y) || secretive(e.Y) && !constant(e.X)) {
				found = append(found, e.Pos())
			}
		case *ast.CallExpr:
			if at, ok := e.Fun.(*ast.SelectorExpr); ok && len(e.Args) == 2 {
				if pkg, ok := at.X.(*ast.Ident); ok && comparers[pkg.Name+"."+at.Sel.Name] && (secretive(e.Args[0]) || secretive(e.Args[1])) {
					found = append(found, e.Pos())
				}
			}
		}
		return true
	})
	return found
}

// trimmed says whether something is compared with itself without spaces, as configuration is.
func trimmed(x, y ast.Expr) bool {
	call, ok := x.(*ast.CallExpr)
	return ok && len(call.Args) == 1 && types.ExprString(call.Fun) == "strings.TrimSpace" && types.ExprString(call.Args[0]) == types.ExprString(y)
}

// secretive says whether an expression is called like a secret, or reveals one.
func secretive(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return secretName.MatchString(e.Name)
	case *ast.SelectorExpr:
		return secretName.MatchString(e.Sel.Name)
	case *ast.ParenExpr:
		return secretive(e.X)
	case *ast.StarExpr:
		return secretive(e.X)
	case *ast.SliceExpr:
		return secretive(e.X)
	case *ast.ArrayType:
		return false
	case *ast.CallExpr:
		if at, ok := e.Fun.(*ast.SelectorExpr); ok && at.Sel.Name == "Reveal" {
			return true
		}
		switch fun := e.Fun.(type) { // string(secret), []byte(secret)
		case *ast.Ident:
			return fun.Name == "string" && len(e.Args) == 1 && secretive(e.Args[0])
		case *ast.ArrayType:
			return len(e.Args) == 1 && secretive(e.Args[0])
		}
	}
	return false
}

// constant says whether an expression is known to everybody: a literal, nil, or a name of another package.
func constant(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit:
		return true
	case *ast.Ident:
		return e.Name == "nil"
	case *ast.SelectorExpr:
		pkg, ok := e.X.(*ast.Ident)
		return ok && ast.IsExported(e.Sel.Name) && pkg.Name == "token"
	}
	return false
}
