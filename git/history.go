package git

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/planlatch/planlatch/project"
)

// exists says whether the mirror was made.
func (m *Mirror) exists() (bool, error) {
	_, err := os.Stat(filepath.Join(m.dir, "HEAD"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at the mirror: %w", err)
	}
	return true, nil
}

// Has says whether a commit is in the mirror. A mirror that was never fetched has none.
func (m *Mirror) Has(ctx context.Context, sha string) (bool, error) {
	if err := checkIDs(sha); err != nil {
		return false, err
	}
	if ok, err := m.exists(); err != nil || !ok {
		return false, err
	}
	var out bytes.Buffer
	err := m.run(ctx, call{args: []string{"cat-file", "--batch-check=%(objecttype)"}, in: strings.NewReader(sha + "\n"), out: &out})
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", sha, err)
	}
	return strings.TrimSpace(out.String()) == "commit", nil
}

// parse resolves a revision expression that we built; name is what to call it in an error.
func (m *Mirror) parse(ctx context.Context, expr, name string) (string, error) {
	if ok, err := m.exists(); err != nil {
		return "", err
	} else if !ok {
		return "", fmt.Errorf("%s: %w", name, ErrObject)
	}
	out, err := m.output(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", expr)
	if exitCode(err) == 1 || exitCode(err) == 128 {
		return "", fmt.Errorf("%s: %w", name, ErrObject)
	}
	if err != nil {
		return "", fmt.Errorf("resolve %s: %w", name, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Tree returns the tree of a commit, or of a tree itself. Error: ErrObject.
func (m *Mirror) Tree(ctx context.Context, commit string) (string, error) {
	if err := checkIDs(commit); err != nil {
		return "", err
	}
	return m.parse(ctx, commit+"^{tree}", commit)
}

// Merged is what merging a head into a base gives.
type Merged struct {
	Tree      string   // empty when there are conflicts
	Conflicts []string // the files, sorted; file names of the pull request
}

// Merge computes the merge result of two commits without a work tree. Conflicts are an answer, not an error. Errors: ErrUnrelated,
// ErrObject, a *LimitError.
func (m *Mirror) Merge(ctx context.Context, base, head string) (Merged, error) {
	// The merge base tells missing objects and unrelated histories apart, which merge-tree does in prose only.
	if _, err := m.MergeBase(ctx, base, head); err != nil {
		return Merged{}, fmt.Errorf("merge: %w", err)
	}
	if err := m.Bounded(ctx, base, head); err != nil {
		return Merged{}, fmt.Errorf("merge: %w", err)
	}
	var out bytes.Buffer
	merge := []string{"merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", base, head}
	err := m.run(ctx, call{args: merge, out: &atMost{&out, maxOutput}, memory: maxMemory})
	if err != nil && exitCode(err) != 1 {
		return Merged{}, fmt.Errorf("merge: %w", err)
	}
	fields := split0(out.Bytes())
	if len(fields) == 0 || !isID(fields[0]) {
		return Merged{}, errors.Join(errors.New("merge: git merge-tree printed no tree"), err)
	}
	if err == nil {
		return Merged{Tree: fields[0]}, nil
	}
	files := slices.Compact(slices.Sorted(slices.Values(fields[1:])))
	return Merged{Conflicts: files}, nil
}

// split0 splits NUL-terminated fields.
func split0(b []byte) []string {
	b = bytes.TrimSuffix(b, []byte{0})
	if len(b) == 0 {
		return nil
	}
	return strings.Split(string(b), "\x00")
}

// MergeBase returns the best common ancestor. Errors: ErrUnrelated, ErrObject.
func (m *Mirror) MergeBase(ctx context.Context, a, b string) (string, error) {
	if err := m.need(ctx, a, b); err != nil {
		return "", err
	}
	out, err := m.output(ctx, "merge-base", a, b)
	if exitCode(err) == 1 {
		return "", fmt.Errorf("%s and %s: %w", a, b, ErrUnrelated)
	}
	if err != nil {
		return "", fmt.Errorf("find the merge base: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// need checks that commits are here.
func (m *Mirror) need(ctx context.Context, commits ...string) error {
	for _, c := range commits {
		if has, err := m.Has(ctx, c); err != nil {
			return err
		} else if !has {
			return fmt.Errorf("commit %s: %w", c, ErrObject)
		}
	}
	return nil
}

// IsAncestor says whether a is b or one of its ancestors. Error: ErrObject.
func (m *Mirror) IsAncestor(ctx context.Context, a, b string) (bool, error) {
	if err := m.need(ctx, a, b); err != nil {
		return false, err
	}
	_, err := m.output(ctx, "merge-base", "--is-ancestor", a, b)
	if exitCode(err) == 1 {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("compare %s and %s: %w", a, b, err)
	}
	return true, nil
}

// Turn is the place of a commit in the history of the branch that it is on: the number of its first-parent ancestors, itself included. Of
// two commits on one branch the later has the higher one.
func (m *Mirror) Turn(ctx context.Context, commit string) (int64, error) {
	if err := m.need(ctx, commit); err != nil {
		return 0, err
	}
	out, err := m.output(ctx, "rev-list", "--count", "--first-parent", commit)
	if err != nil {
		return 0, fmt.Errorf("count the commits up to %s: %w", commit, err)
	}
	return strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
}

// Changed lists what a head changed since it left the base: from their merge base to the head. Errors: ErrUnrelated, ErrObject.
func (m *Mirror) Changed(ctx context.Context, base, head string) ([]project.Change, error) {
	from, err := m.MergeBase(ctx, base, head)
	if err != nil {
		return nil, err
	}
	return m.ChangedBetween(ctx, from, head)
}

// ChangedBetween lists what differs between two commits or trees, sorted by path; for a merge commit, from its first parent to it. An empty
// a stands for nothing at all, as before the first commit. Errors: ErrObject, a *LimitError.
func (m *Mirror) ChangedBetween(ctx context.Context, a, b string) ([]project.Change, error) {
	b, err := m.Tree(ctx, b)
	if err != nil {
		return nil, err
	}
	if a == "" {
		if a, err = m.emptyTree(ctx); err != nil {
			return nil, err
		}
	} else if a, err = m.Tree(ctx, a); err != nil {
		return nil, err
	}
	if err := m.Bounded(ctx, a, b); err != nil {
		return nil, fmt.Errorf("list changed files: %w", err)
	}
	out, err := m.output(ctx, "diff-tree", "-r", "-z", "--find-renames", "--name-status", "--no-ext-diff", "--no-textconv",
		"--ignore-submodules=none", a, b)
	if err != nil {
		return nil, fmt.Errorf("list changed files: %w", err)
	}
	return parseStatus(split0(out))
}

func (m *Mirror) emptyTree(ctx context.Context) (string, error) {
	var out bytes.Buffer
	err := m.run(ctx, call{args: []string{"hash-object", "-t", "tree", "-w", "--stdin"}, in: strings.NewReader(""), out: &out})
	if err != nil {
		return "", fmt.Errorf("make an empty tree: %w", err)
	}
	return strings.TrimSpace(out.String()), nil
}

// parseStatus reads the fields of diff-tree -z --name-status: a letter and one path, or two for a rename.
func parseStatus(fields []string) ([]project.Change, error) {
	kinds := map[byte]project.Kind{'A': project.Added, 'M': project.Modified, 'D': project.Deleted, 'R': project.Renamed, 'T': project.TypeChanged}
	var changes []project.Change
	for i := 0; i < len(fields); {
		status := fields[i]
		if status == "" || kinds[status[0]] == "" || i+1 >= len(fields) || status[0] == 'R' && i+2 >= len(fields) {
			return nil, fmt.Errorf("list changed files: git diff-tree printed %q, which is no known status", status)
		}
		c := project.Change{Kind: kinds[status[0]], Path: fields[i+1]}
		i += 2
		if c.Kind == project.Renamed {
			c.Old, c.Path = c.Path, fields[i]
			i++
		}
		changes = append(changes, c)
	}
	slices.SortFunc(changes, func(a, b project.Change) int { return strings.Compare(a.Path, b.Path) })
	return changes, nil
}

// PatchID identifies what a head itself changes, whatever base it stands on and however it was rebased, white space included. It is empty
// when the head changes nothing. Errors: ErrUnrelated, ErrObject.
func (m *Mirror) PatchID(ctx context.Context, base, head string) (string, error) {
	from, err := m.MergeBase(ctx, base, head)
	if err != nil {
		return "", err
	}
	if err := m.Bounded(ctx, from, head); err != nil {
		return "", fmt.Errorf("identify the change: %w", err)
	}
	// The attributes of the tree play no part: HEAD of a mirror names nothing, and there is no work tree.
	diff := []string{"diff-tree", "-p", "-r", "--full-index", "--no-renames", "--no-color", "--no-ext-diff", "--no-textconv",
		"--ignore-submodules=none", "--src-prefix=a/", "--dst-prefix=b/", "--unified=3", "--diff-algorithm=myers", from, head}
	r, w := io.Pipe()
	var id bytes.Buffer
	g, both := errgroup.WithContext(ctx)
	g.Go(func() error {
		err := m.run(both, call{args: diff, out: w, memory: maxMemory})
		_ = w.CloseWithError(err) // always nil, as documented
		return err
	})
	g.Go(func() error {
		err := m.run(both, call{args: []string{"patch-id", "--verbatim"}, in: r, out: &id, memory: maxMemory})
		_ = r.CloseWithError(io.ErrClosedPipe) // always nil, as documented; frees the writer if we ended first
		return err
	})
	if err := g.Wait(); err != nil {
		return "", fmt.Errorf("identify the change: %w", err)
	}
	patch, _, _ := strings.Cut(strings.TrimSpace(id.String()), " ")
	modes, err := m.modes(ctx, from, head)
	if err != nil || modes == "" {
		return "", err
	}
	return patch + "-" + modes, nil
}

// modes digests which files a change touches and how their modes move, because a patch id says nothing of a file that only became
// executable, and of an empty one.
func (m *Mirror) modes(ctx context.Context, a, b string) (string, error) {
	out, err := m.output(ctx, "diff-tree", "-r", "-z", "--raw", "--no-renames", "--ignore-submodules=none", a, b)
	if err != nil || len(out) == 0 {
		return "", err
	}
	sum := sha256.New()
	for pair := range slices.Chunk(split0(out), 2) {
		// :100644 100755 <id> <id> M, then the path. The ids differ with every base.
		words := strings.Fields(pair[0])
		if len(pair) != 2 || len(words) != 5 {
			return "", fmt.Errorf("git diff-tree printed %q, which is no raw change", pair)
		}
		fmt.Fprintf(sum, "%s %s %s %s\x00", words[0], words[1], words[4], pair[1]) // a hash never fails to write
	}
	return hex.EncodeToString(sum.Sum(nil)[:8]), nil
}

// Contributors lists the e-mail addresses, in lower case and sorted, of all who authored or committed what the head has and the base has
// not, co-authors included. They are what people typed into git: good for refusing, never for granting. Errors: ErrObject.
func (m *Mirror) Contributors(ctx context.Context, base, head string) ([]string, error) {
	if err := m.need(ctx, base, head); err != nil {
		return nil, err
	}
	format := "--format=%ae%n%ce%n%(trailers:key=Co-authored-by,valueonly,unfold)"
	out, err := m.output(ctx, "log", "--no-color", "--no-show-signature", "--no-mailmap", format, head, "^"+base)
	if err != nil {
		return nil, fmt.Errorf("list contributors: %w", err)
	}
	found := map[string]bool{}
	for line := range strings.SplitSeq(string(out), "\n") {
		line = strings.TrimSpace(line)
		if a, err := mail.ParseAddress(line); err == nil {
			line = a.Address
		} else if i := strings.LastIndexByte(line, '<'); i >= 0 {
			line = strings.TrimSuffix(line[i+1:], ">")
		}
		if line != "" {
			found[strings.ToLower(line)] = true
		}
	}
	var all []string
	for address := range found {
		all = append(all, address)
	}
	slices.Sort(all)
	return all, nil
}
