// Package yamlnode tells people about a node of a YAML file: what it is, and where it begins.
package yamlnode

import (
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Kind names what a node is: "a list", "a number".
func Kind(n ast.Node) string {
	switch n.(type) {
	case *ast.SequenceNode:
		return "a list"
	case ast.MapNode:
		return "a mapping"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.NullNode:
		return "empty"
	case *ast.AnchorNode, *ast.AliasNode:
		return "an anchor or alias, which are not read here"
	case *ast.TagNode:
		return "a tag, which are not read here"
	}
	return "text"
}

// Place is a line and a column of a file, from 1. Both are 0 where nobody knows.
type Place struct{ Line, Column int }

// PlaceOf is where a node begins; a mapping begins with its first key.
func PlaceOf(n ast.Node) Place {
	var tk *token.Token
	switch t := n.(type) {
	case *ast.MappingNode:
		if tk = t.Start; len(t.Values) > 0 && !t.IsFlowStyle {
			tk = t.Values[0].Key.GetToken()
		}
	case *ast.MappingValueNode:
		tk = t.Key.GetToken()
	case *ast.LiteralNode:
		tk = t.Start
	default:
		tk = n.GetToken()
	}
	if tk == nil || tk.Position == nil {
		return Place{}
	}
	return Place{tk.Position.Line, tk.Position.Column}
}
