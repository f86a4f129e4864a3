//go:build tools

// Package golangcilint pins a program that make check runs.
package golangcilint

import _ "github.com/golangci/golangci-lint/v2/cmd/golangci-lint"
