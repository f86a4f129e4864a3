package gitea

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// credential is the account that the server runs as; nil means our own.
type credential struct{ uid, gid int }

// account chooses whom to run as: ourselves, unless we are root, which Gitea refuses.
func account() (*credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // documented: nil is our own account
	}
	for _, name := range []string{"nobody", "postgres", "daemon"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.Atoi(u.Uid)
		gid, errGID := strconv.Atoi(u.Gid)
		if errUID == nil && errGID == nil {
			return &credential{uid: uid, gid: gid}, nil
		}
	}
	return nil, errors.New("gitea refuses to run as root, and this machine has no account nobody, postgres or daemon to run it as")
}

// attr makes a child run as the account, in a process group of its own: Ctrl-C ends the test binary, which then ends the server in order.
func (c *credential) attr() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if c != nil {
		attr.Credential = &syscall.Credential{Uid: uint32(c.uid), Gid: uint32(c.gid)}
	}
	return attr
}

// own gives one path to the account, and lets others look into it if it is a directory.
func (c *credential) own(path string) error {
	if c == nil {
		return nil
	}
	if err := os.Lchown(path, c.uid, c.gid); err != nil {
		return fmt.Errorf("give %s to the server: %w", path, err)
	}
	return nil
}

// mirror shows the tree from under the directory to, by hard links where it can. Directories belong to the account, so that it can remove
// them; files keep their owner, since a link shares it with the cache.
func mirror(from, to string, who *credential) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("mirror %s: %w", from, err)
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if d.IsDir() {
			if err := os.Mkdir(target, 0o755); err != nil {
				return err
			}
			return who.own(target)
		}
		if os.Link(path, target) == nil {
			return nil
		}
		return copyFile(path, target) // another file system
	})
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // opened for reading
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
