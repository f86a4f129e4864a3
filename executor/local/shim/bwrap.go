package shim

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/planlatch/planlatch/executor"
)

// The sandbox as seen from inside.
const (
	insideSource = "/src"
	insideTmp    = "/tmp"
	InsideShim   = "/run/planlatch-shim"
	insideFiles  = "/run/planlatch-secrets" // secret files
	insideSealed = executor.SealedAt
	// insideAuthority is the file with the certificates that steps believe while something is lent to them; fileAuthority lies in DirEtc.
	insideAuthority = "/run/planlatch-lent.crt"
	fileAuthority   = "lent.crt"
	insideUID       = "1000" // never 0: programs and people read root as power that is not there
)

// SystemDirs are the read-only parts of this machine that steps see at the same path. A data directory must not lie in them.
func SystemDirs() []string {
	return []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}
}

// etcFiles are what programs need of /etc and nothing that is a secret: /etc/ssl/private stays out.
func etcFiles() []string {
	return []string{
		"/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs", "/etc/pki/tls/cert.pem", "/etc/pki/tls/openssl.cnf",
		"/etc/pki/ca-trust/extracted", "/etc/ca-certificates", "/etc/crypto-policies", "/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf",
		"/etc/ld.so.conf.d", "/etc/localtime", "/etc/mime.types", "/etc/protocols", "/etc/services", "/etc/gai.conf",
	}
}

// Shown are the paths of this machine's system that every execution sees, directories with all that is in them.
func Shown() []string { return append(SystemDirs(), etcFiles()...) }

// EtcNames are the files of /etc that are made for each execution.
func EtcNames() []string { return []string{"hosts", "resolv.conf", "passwd", "group", "nsswitch.conf"} }

func devices() []string {
	return []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}
}

// bwrapArgs builds the argv of bubblewrap for the execution in dir. It never dies with its parent: an apply must be able to finish.
func bwrapArgs(l Launch, dir string) []string {
	tmpSize := strconv.FormatInt(tmpBytes(l.Spec.Limits.Memory), 10)
	args := []string{
		"bwrap", "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--as-pid-1",
		"--cap-drop", "ALL", "--uid", insideUID, "--gid", insideUID, "--hostname", l.Hostname,
	}
	// /proc too: the kernel asks for no capability where root's number writes to /proc/sys, and a server that is root lends it to its runs.
	chosen, bind, last := systemArgs(dir), "--ro-bind", []string{"--remount-ro", "/proc", "--remount-ro", "/"}
	if !l.has(WithoutMounts) {
		chosen, bind, last = machineArgs(), "--bind", nil
	}
	args = append(append(args, chosen...), "--proc", "/proc")
	for _, path := range devices() {
		args = append(args, "--dev-bind", path, path)
	}
	args = append(args,
		"--symlink", "/proc/self/fd", "/dev/fd", "--symlink", "/proc/self/fd/0", "/dev/stdin",
		"--symlink", "/proc/self/fd/1", "/dev/stdout", "--symlink", "/proc/self/fd/2", "/dev/stderr",
		// A tmpfs is memory that no process owns, so each has a size.
		"--perms", "1777", "--size", strconv.Itoa(64<<20), "--tmpfs", "/dev/shm",
		"--perms", "1777", "--size", tmpSize, "--tmpfs", insideTmp,
		"--perms", "0700", "--size", strconv.Itoa(2*executor.MaxSecretFiles), "--tmpfs", insideFiles,
		bind, l.Spec.Source.Dir, insideSource, "--bind", filepath.Join(dir, DirWork), filepath.Join(insideSource, l.Spec.Source.Work),
		"--ro-bind", filepath.Join(dir, DirSealed), insideSealed)
	if len(l.Doors) > 0 {
		args = append(args, "--ro-bind", filepath.Join(dir, DirEtc, fileAuthority), insideAuthority)
	}
	for _, b := range l.Spec.Binds {
		how := bind
		if b.Write {
			how = "--bind"
		}
		args = append(args, how, b.Path, b.Path)
	}
	args = append(append(args, "--ro-bind", l.Shim, InsideShim), last...)
	return append(args, "--chdir", filepath.Join(insideSource, l.Spec.Source.Work), "--", InsideShim, hiddenArg, stageInner)
}

// systemArgs shows the parts of this machine's system that are to be read, and nothing else.
func systemArgs(dir string) []string {
	var args []string
	for _, path := range []string{"/etc", "/dev", "/run"} {
		args = append(args, "--perms", "0755", "--dir", path)
	}
	for _, path := range SystemDirs() {
		// On a merged system /bin is a link into /usr; the link itself is what programs expect.
		if target, err := os.Readlink(path); err == nil {
			args = append(args, "--symlink", target, path)
		} else {
			args = append(args, "--ro-bind-try", path, path)
		}
	}
	for _, path := range etcFiles() {
		args = append(args, "--ro-bind-try", path, path)
	}
	for _, name := range EtcNames() {
		args = append(args, "--ro-bind", filepath.Join(dir, DirEtc, name), "/etc/"+name)
	}
	return args
}

// machineArgs shows every directory of this machine as it is, but for those that the sandbox mounts something below: what a test takes the
// wall of chosen mounts away with.
func machineArgs() []string {
	args := []string{"--perms", "0755", "--dir", "/dev", "--perms", "0755", "--dir", "/run"}
	entries, _ := os.ReadDir("/") // without them the sandbox does not start, which tells
	for _, entry := range entries {
		at := "/" + entry.Name()
		switch target, err := os.Readlink(at); {
		case err == nil:
			args = append(args, "--symlink", target, at)
		case entry.IsDir() && !slices.Contains([]string{"/dev", "/proc", "/run", insideSource, insideTmp}, at):
			args = append(args, "--bind", at, at)
		}
	}
	return args
}

// tmpBytes is the size of /tmp: half of the memory, within what an init that unpacks a provider needs and a machine can spare.
func tmpBytes(memory int64) int64 {
	if memory == 0 {
		return 1 << 30
	}
	return min(max(memory/2, 64<<20), 2<<30)
}
