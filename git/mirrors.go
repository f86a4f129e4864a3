package git

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options say where mirrors live and what git may do.
type Options struct {
	Dir     string        // holds all mirrors; made on first use
	Git     string        // the git program; empty: git in PATH
	Log     *slog.Logger  // nil discards
	Timeout time.Duration // of one fetch; 0 means 15 minutes
	// Env are NAME=value pairs for git besides our own, which win: HTTPS_PROXY, SSL_CERT_FILE, GIT_SSL_CAINFO. No secret belongs here.
	Env []string
	// AllowFile lets fetches read file:// URLs and paths of this machine, for tests and the demo.
	AllowFile bool
	// MaxFiles and MaxBytes bound one exported tree; 0 means 500,000 files and 10 GiB. A tree of a few kilobytes can unfold to billions
	// of files.
	MaxFiles int
	MaxBytes int64
}

const (
	fetchTimeout = 15 * time.Minute
	readTimeout  = 5 * time.Minute
	maxFiles     = 500_000
	maxBytes     = 10 << 30
)

// Errors of this package; compare with errors.Is.
var (
	// ErrRef says that the host has no such ref or commit: it was deleted, or never pushed there.
	ErrRef = errors.New("not found on the remote")
	// ErrAuth says that the host refused our credential, or wanted one.
	ErrAuth = errors.New("credential refused by the remote")
	// ErrUnrelated says that two commits have no common ancestor.
	ErrUnrelated = errors.New("the commits have no common history")
	// ErrObject says that the mirror does not have an object: fetch it first.
	ErrObject = errors.New("not in the mirror")
	// ErrTooLarge says that a tree or file is over a limit of Options.
	ErrTooLarge = errors.New("too large")
	// ErrBadTree says that a tree has an entry that no honest git writes: "..", ".git", the same name twice.
	ErrBadTree = errors.New("malformed tree")
)

// Mirrors are all mirrors below one directory.
type Mirrors struct {
	o       Options
	bounded known // trees that are
	mu      sync.Mutex
	all     map[string]*Mirror
}

// New returns the mirrors below o.Dir. It touches nothing; see Check.
func New(o Options) *Mirrors {
	if o.Git == "" {
		o.Git = "git"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Timeout == 0 {
		o.Timeout = fetchTimeout
	}
	if o.MaxFiles == 0 {
		o.MaxFiles = maxFiles
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = maxBytes
	}
	// A relative directory would change its meaning with the child's working directory. Without one there is nothing to be done but to
	// let git say so.
	if abs, err := filepath.Abs(o.Dir); err == nil {
		o.Dir = abs
	}
	return &Mirrors{o: o, all: map[string]*Mirror{}}
}

var versionText = regexp.MustCompile(`(\d+)\.(\d+)(?:\.\d+)*`)

// Check says which git there is, or why it will not do.
func (ms *Mirrors) Check(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, ms.o.Git, "version")
	cmd.Env = ms.environment()
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("run %s: %w (install git 2.39 or later)", ms.o.Git, err)
	}
	found := versionText.FindStringSubmatch(string(out))
	if found == nil {
		return "", fmt.Errorf("%s says %q, which names no version", ms.o.Git, strings.TrimSpace(string(out)))
	}
	major, _ := strconv.Atoi(found[1]) // digits by the expression
	minor, _ := strconv.Atoi(found[2])
	if major < 2 || major == 2 && minor < 39 {
		return found[0], fmt.Errorf("git is %s; 2.39 or later is needed to merge without a work tree", found[0])
	}
	return found[0], nil
}

// Repo returns the mirror of a repository, identified by the name of its VCS host and the host's own id of it. Nothing is read or made.
func (ms *Mirrors) Repo(host, hostID string) *Mirror {
	// The length keeps ("a", "bc") and ("ab", "c") apart.
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s%s", len(host), host, hostID))
	return ms.named(hex.EncodeToString(sum[:16]))
}

func (ms *Mirrors) named(name string) *Mirror {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	m := ms.all[name]
	if m == nil {
		m = &Mirror{ms: ms, dir: filepath.Join(ms.o.Dir, name+".git"), turn: make(chan struct{}, 1)}
		ms.all[name] = m
	}
	return m
}

// Mirror is the bare copy of one repository.
type Mirror struct {
	ms   *Mirrors
	dir  string
	turn chan struct{} // holds a token while a goroutine of this process writes
}

// Dir is where the mirror lies. It need not exist yet.
func (m *Mirror) Dir() string { return m.dir }

// isID says whether a text is a whole object id. Nothing else is ever passed to git as a commit or tree.
func isID(s string) bool {
	if len(s) != 40 && len(s) != 64 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func checkIDs(ids ...string) error {
	for _, id := range ids {
		if !isID(id) {
			return fmt.Errorf("%q is not an object id (40 or 64 lower-case hexadecimal digits)", id)
		}
	}
	return nil
}
