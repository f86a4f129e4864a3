//go:build tools

// Package govulncheck pins a program that make check runs.
package govulncheck

import _ "golang.org/x/vuln/cmd/govulncheck"
