package project

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Bounds of one expression. The parser and every walk over its result recurse, and a goroutine whose stack is full ends the whole process.
const (
	maxNesting = 500     // brackets within brackets
	maxChain   = 20_000  // operators, conditions and accessors in a row
	harmless   = 8 << 10 // bytes that cannot nest deep enough to matter: most files, which then are scanned once and not twice
)

// reckless says whether parsing could recurse without bound: it counts what makes the syntax tree deep in the flat list of tokens.
// A comma, and a new line outside brackets, begin a new expression.
func reckless(tokens hclsyntax.Tokens) bool {
	type level struct {
		lines bool // a new line ends an expression here
		chain int
	}
	levels := []level{{lines: true}}
	for _, t := range tokens {
		here := &levels[len(levels)-1]
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl,
			hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc:
			// A bracket after an operand is an accessor, and template directives enclose what follows them.
			here.chain++
			levels = append(levels, level{lines: t.Type == hclsyntax.TokenOBrace})
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenTemplateSeqEnd, hclsyntax.TokenCQuote,
			hclsyntax.TokenCHeredoc:
			if len(levels) > 1 {
				levels = levels[:len(levels)-1]
			}
		case hclsyntax.TokenNewline:
			if here.lines {
				here.chain = 0
			}
		case hclsyntax.TokenComma:
			here.chain = 0
		case hclsyntax.TokenIdent, hclsyntax.TokenNumberLit, hclsyntax.TokenQuotedLit, hclsyntax.TokenStringLit, hclsyntax.TokenComment:
		default:
			here.chain++
		}
		if len(levels) > maxNesting || levels[len(levels)-1].chain > maxChain {
			return true
		}
	}
	return false
}

// parseNative parses HCL, unless that could do harm.
func parseNative(src []byte, name string) (*hcl.File, hcl.Diagnostics) {
	start := hcl.InitialPos
	// The diagnostics of the scanner come again from the parser.
	if len(src) > harmless {
		if tokens, _ := hclsyntax.LexConfig(src, name, start); reckless(tokens) {
			return nil, hcl.Diagnostics{tooNested(name)}
		}
	}
	return hclsyntax.ParseConfig(src, name, start)
}

// parseTemplate parses a string of a JSON file, in which the tools look for templates.
func parseTemplate(src []byte, name string) (hclsyntax.Expression, bool) {
	start := hcl.InitialPos
	if len(src) > harmless {
		if tokens, _ := hclsyntax.LexTemplate(src, name, start); reckless(tokens) {
			return nil, false
		}
	}
	e, diags := hclsyntax.ParseTemplate(src, name, start)
	return e, !diags.HasErrors()
}

func tooNested(name string) *hcl.Diagnostic {
	at := hcl.Range{Filename: name, Start: hcl.InitialPos, End: hcl.InitialPos}
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Nested too deeply", Detail: "An expression is too long or too deep.", Subject: &at}
}
