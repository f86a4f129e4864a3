package tool

import (
	"io/fs"
	"syscall"
	"time"
)

// touched is when a file's status last changed.
func touched(info fs.FileInfo) time.Time {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(s.Ctim.Sec, s.Ctim.Nsec)
	}
	return time.Time{}
}
