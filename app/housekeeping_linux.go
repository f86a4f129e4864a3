package app

import (
	"io/fs"
	"syscall"
	"time"
)

// changed is when a file's status last changed: its birth, for a directory that is made by rename and never written again.
func changed(info fs.FileInfo) time.Time {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(s.Ctim.Sec, s.Ctim.Nsec)
	}
	return time.Now()
}
