//go:build tools

// Package gitlfs pins a program that tests run.
package gitlfs

import _ "github.com/git-lfs/git-lfs/v3"
