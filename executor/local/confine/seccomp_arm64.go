package confine

import "golang.org/x/sys/unix"

const (
	nativeArch     = unix.AUDIT_ARCH_AARCH64
	foreignNumbers = 0
)

func deniedHere() []uint32 { return []uint32{unix.SYS_LOOKUP_DCOOKIE} }
