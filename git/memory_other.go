//go:build !linux

package git

import "os"

func bound(*os.Process, uint64) {}
