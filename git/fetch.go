package git

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/planlatch/planlatch/vcs"
)

// keptRefs is where fetched refs stand, each under a hash of its name: whoever opens a pull request names branches, and a branch "a" that
// became "a/b" would else be in its own way.
const keptRefs = "refs/planlatch/"

func keptRef(ref string) string {
	sum := sha256.Sum256([]byte(ref))
	return keptRefs + hex.EncodeToString(sum[:16])
}

// Fetch brings refs (whole names: refs/heads/main, refs/pull/7/head) and commits (whole ids) into the mirror, making it on first use.
// Commits that are there already cost nothing. Either everything asked for has arrived or there is an error; what did arrive stays.
// Errors: ErrRef, ErrAuth, or a *CommandError.
func (m *Mirror) Fetch(ctx context.Context, r vcs.Remote, refs ...string) error {
	to, err := m.ms.remote(r)
	if err != nil {
		return err
	}
	for _, ref := range refs {
		if !isID(ref) && !validRef(ref) {
			return fmt.Errorf("fetch from %s: %q is neither a whole ref (refs/heads/main) nor a commit id", to.Redacted(), ref)
		}
	}
	m.touch()
	if missing, err := m.absent(ctx, refs); err != nil || len(missing) == 0 {
		return err
	}
	lock, release, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	// Another fetch may have brought all of it while we waited.
	if refs, err = m.absent(ctx, refs); err != nil || len(refs) == 0 {
		return err
	}
	if err := m.create(ctx, lock, refs); err != nil {
		return err
	}
	if err := m.sweep(); err != nil {
		return fmt.Errorf("clean the mirror: %w", err)
	}
	start := time.Now()
	err = m.fetch(ctx, lock, r, to, refs)
	m.ms.o.Log.Debug("fetched", "url", to.Redacted(), "refs", len(refs), "took", time.Since(start), "error", err)
	if err != nil {
		return fmt.Errorf("fetch from %s: %w", to.Redacted(), err)
	}
	return nil
}

func (m *Mirror) fetch(ctx context.Context, lock *os.File, r vcs.Remote, to *url.URL, refs []string) error {
	args := []string{"fetch", "--quiet", "--no-tags", "--force", "--no-write-fetch-head", "--no-recurse-submodules",
		"--no-auto-maintenance", "--no-auto-gc", "--stdin", "--end-of-options", to.String()}
	files := []*os.File{lock}
	if r.Username+r.Password != "" && to.Scheme != "file" {
		creds, err := answerCredentials(r, to)
		if err != nil {
			return err
		}
		defer creds.close()
		args = append([]string{"-c", credentialHelper}, args...)
		files = append(files, creds.child)
	}
	var specs strings.Builder
	for _, ref := range refs {
		fmt.Fprintf(&specs, "+%s:%s\n", ref, keptRef(ref))
	}
	err := m.run(ctx, call{args: args, in: strings.NewReader(specs.String()), files: files, timeout: m.ms.o.Timeout})
	if err != nil {
		return explain(err)
	}
	if refs, err = m.absent(ctx, refs); err != nil {
		return err
	}
	for _, ref := range refs {
		if isID(ref) {
			return fmt.Errorf("%s: %w", ref, ErrRef)
		}
	}
	return nil
}

// remote checks an address. What it returns has no credential in it.
func (ms *Mirrors) remote(r vcs.Remote) (*url.URL, error) {
	if ms.o.AllowFile && filepath.IsAbs(r.URL) {
		return &url.URL{Scheme: "file", Path: r.URL}, nil
	}
	to, err := url.Parse(r.URL)
	if err != nil {
		// The parser's message repeats the address, which could hold what must not be shown.
		return nil, errors.New("the git address of the repository is not a URL")
	}
	switch {
	case to.User != nil:
		return nil, fmt.Errorf("the git address on %s contains a user or password; pass them apart", to.Host)
	case to.Scheme == "file" && ms.o.AllowFile:
	case to.Scheme != "https" && to.Scheme != "http":
		return nil, fmt.Errorf("the git address on %q has scheme %q; only https and http are allowed", to.Host, to.Scheme)
	case to.Host == "":
		return nil, errors.New("the git address of the repository names no host")
	}
	return to, nil
}

// absent lists the refs that a fetch has to ask for: every name, and the commits that are not here.
func (m *Mirror) absent(ctx context.Context, refs []string) ([]string, error) {
	var missing []string
	for _, ref := range refs {
		if isID(ref) {
			if has, err := m.Has(ctx, ref); err != nil {
				return nil, err
			} else if has {
				continue
			}
		}
		missing = append(missing, ref)
	}
	return missing, nil
}

// create makes the mirror if there is none: whole, or not at all.
func (m *Mirror) create(ctx context.Context, lock *os.File, refs []string) error {
	if _, err := os.Stat(filepath.Join(m.dir, "HEAD")); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look at the mirror: %w", err)
	}
	format := "sha1"
	for _, ref := range refs {
		if isID(ref) && len(ref) == 64 {
			format = "sha256"
		}
	}
	fresh := &Mirror{ms: m.ms, dir: m.dir + ".new"}
	if err := os.RemoveAll(fresh.dir); err != nil {
		return fmt.Errorf("make the mirror: %w", err)
	}
	// HEAD names a branch that never exists, so that no command takes attributes or defaults from what was fetched.
	args := []string{"init", "--quiet", "--bare", "--template=", "--object-format=" + format, "--initial-branch=none"}
	if err := fresh.run(ctx, call{args: args, files: []*os.File{lock}}); err != nil {
		return fmt.Errorf("make the mirror: %w", err)
	}
	// We read blobs directly and never run git archive; this makes it harmless for whoever does.
	info := filepath.Join(fresh.dir, "info")
	if err := os.MkdirAll(info, 0o700); err != nil {
		return fmt.Errorf("make the mirror: %w", err)
	}
	if err := os.WriteFile(filepath.Join(info, "attributes"), []byte("* -export-ignore -export-subst\n"), 0o600); err != nil {
		return fmt.Errorf("make the mirror: %w", err)
	}
	if err := os.Rename(fresh.dir, m.dir); err != nil {
		return fmt.Errorf("make the mirror: %w", err)
	}
	return nil
}

// Resolve returns the commit that a ref pointed to when it was last fetched, or with <commit id>^1 the first parent of a commit. Error:
// ErrObject, also where there is no parent.
func (m *Mirror) Resolve(ctx context.Context, ref string) (string, error) {
	if id, ok := strings.CutSuffix(ref, "^1"); ok && isID(id) {
		return m.parse(ctx, ref, ref)
	}
	if !validRef(ref) {
		return "", fmt.Errorf("%q is neither a whole ref (refs/heads/main) nor a commit id with ^1", ref)
	}
	return m.parse(ctx, keptRef(ref)+"^{commit}", ref)
}

// Maintain packs the mirror and drops what nothing refers to and is older than two weeks. It takes its time; fetches wait meanwhile.
func (m *Mirror) Maintain(ctx context.Context) error {
	lock, release, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	info, err := os.Stat(m.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil { // this is no use of it
		defer func() { _ = os.Chtimes(m.dir, info.ModTime(), info.ModTime()) }() // best effort
	}
	if err := m.sweep(); err != nil {
		return fmt.Errorf("clean the mirror: %w", err)
	}
	return m.run(ctx, call{args: []string{"gc", "--quiet", "--prune=2.weeks.ago"}, files: []*os.File{lock}, timeout: m.ms.o.Timeout})
}

// badRef is what git forbids in a ref, and what would be more than a name in a refspec.
var badRef = regexp.MustCompile(`[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)|[./]$`)

func validRef(ref string) bool {
	return strings.HasPrefix(ref, "refs/") && len(ref) < 1000 && !badRef.MatchString(ref)
}

// explain adds the reason to a fetch that failed. git has one exit code for everything, so its words (in LC_ALL=C) have to tell.
func explain(err error) error {
	e := (*CommandError)(nil)
	if !errors.As(err, &e) {
		return err
	}
	has := func(texts ...string) bool {
		for _, t := range texts {
			if strings.Contains(e.Stderr, t) {
				return true
			}
		}
		return false
	}
	switch {
	case has("couldn't find remote ref", "not our ref", "unadvertised object"):
		return fmt.Errorf("%w: %w", ErrRef, err)
	case has("Authentication failed", "could not read Username", "could not read Password", "told us to quit",
		"returned error: 401", "returned error: 403"):
		return fmt.Errorf("%w: %w", ErrAuth, err)
	}
	return err
}
