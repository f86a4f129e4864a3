// Package selector says which projects a rule is about: one language for policies, permissions, credentials, binds, notifications and
// pauses.
//
// A selector is written host/owner/repo//dir:workspace, each part a doublestar pattern, and omitted parts match all: "//prod/**",
// "github/acme/infra", "github/acme", "*//**:prod". It is matched against what a project really is, the directory and workspace, never
// against a name that a pull request can choose. Hosts and repositories match in any case, because hosts treat their names so;
// directories and workspaces match exactly. The root directory is written "." and counts as one segment.
//
// The package is pure and its values are safe for concurrent use.
package selector

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"
)

// Longest is how many bytes a selector may have. Matching time grows with it, and selectors also come from repositories.
const Longest = 1024

// mostAlternatives bounds what braces may expand to, because matching tries each combination.
const mostAlternatives = 256

// Target is a project as a selector sees it.
type Target struct {
	Host      string // name of the host in server.yaml
	Repo      string // owner/name
	Dir       string // relative to the root of the repository, cleaned; "." for the root
	Workspace string // "default" when the project names none
}

// Selector is one parsed selector. The zero value matches nothing, so that a rule that was never filled in opens nothing.
type Selector struct {
	text      string
	host      string // patterns; empty matches all
	repo      string
	dir       string
	workspace string
}

// Parse reads a selector. The error says what is wrong with it and how to write what was probably meant.
func Parse(s string) (Selector, error) {
	sel, err := parse(s)
	if err != nil {
		return Selector{}, fmt.Errorf("selector %q: %w", cut(s), err)
	}
	return sel, nil
}

func parse(s string) (Selector, error) {
	if err := plain(s); err != nil {
		return Selector{}, err
	}
	place, below, hasBelow := strings.Cut(s, "//")
	if strings.EqualFold(place, "https:") || strings.EqualFold(place, "http:") {
		return Selector{}, errors.New("is a URL; write the host's name from server.yaml instead, as in github/acme/infra//prod/**")
	}
	sel := Selector{text: s}
	var err error
	if sel.host, sel.repo, err = parsePlace(place); err != nil {
		return Selector{}, err
	}
	if hasBelow {
		if sel.dir, sel.workspace, err = parseBelow(below); err != nil {
			return Selector{}, err
		}
	}
	return sel, nil
}

// parsePlace reads host/owner/repo. An owner alone stands for all its repositories.
func parsePlace(s string) (host, repo string, err error) {
	if strings.Contains(s, ":") {
		return "", "", errors.New(`has ":" before "//"; a workspace follows the directory, as in github/acme/infra//**:prod`)
	}
	if err := checkPath(s, "host/owner/repo"); err != nil {
		return "", "", err
	}
	host, repo, _ = strings.Cut(strings.ToLower(s), "/")
	if repo != "" && !strings.Contains(repo, "/") {
		repo += "/**"
	}
	if err := checkPattern(host, repo); err != nil {
		return "", "", err
	}
	return host, repo, nil
}

// parseBelow reads dir:workspace. The last colon separates them, because a directory may contain one and a workspace never does.
func parseBelow(s string) (dir, workspace string, err error) {
	dir = s
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		dir, workspace = s[:i], s[i+1:]
	}
	if strings.Contains(workspace, "/") {
		return "", "", fmt.Errorf(`workspace %q has a "/"; the workspace is what follows the last ":"`, cut(workspace))
	}
	if err := checkPath(dir, "directory"); err != nil {
		return "", "", err
	}
	if err := checkPattern(dir, workspace); err != nil {
		return "", "", err
	}
	return dir, workspace, nil
}

// Match says whether the selector is about t.
func (s Selector) Match(t Target) bool {
	if s.text == "" {
		return false
	}
	return match(s.host, strings.ToLower(t.Host)) && match(s.repo, strings.ToLower(t.Repo)) &&
		match(s.dir, t.Dir) && match(s.workspace, t.Workspace)
}

// MatchRepo says whether the selector is about any project of a repository.
func (s Selector) MatchRepo(host, repo string) bool {
	return s.text != "" && match(s.host, strings.ToLower(host)) && match(s.repo, strings.ToLower(repo))
}

// MatchHost says whether the selector is about anything of a host.
func (s Selector) MatchHost(host string) bool {
	return s.text != "" && match(s.host, strings.ToLower(host))
}

// RepoOnly says whether the selector names no directory and no workspace.
func (s Selector) RepoOnly() bool { return s.dir == "" && s.workspace == "" }

// String returns the selector as it was written.
func (s Selector) String() string { return s.text }

// MarshalText returns the selector as it was written.
func (s Selector) MarshalText() ([]byte, error) { return []byte(s.text), nil }

// UnmarshalText is Parse.
func (s *Selector) UnmarshalText(text []byte) error {
	sel, err := Parse(string(text))
	if err != nil {
		return err
	}
	*s = sel
	return nil
}

// List is several selectors. An empty list matches nothing.
type List []Selector

// Match says whether any selector of the list is about t.
func (l List) Match(t Target) bool {
	for _, s := range l {
		if s.Match(t) {
			return true
		}
	}
	return false
}

func match(pattern, name string) bool {
	return pattern == "" || doublestar.MatchUnvalidated(pattern, name)
}

// plain refuses what no selector has for a good reason.
func plain(s string) error {
	switch {
	case s == "":
		return errors.New("is empty; write //** for every project")
	case len(s) > Longest:
		return fmt.Errorf("has %d bytes; at most %d are read", len(s), Longest)
	case !utf8.ValidString(s):
		return errors.New("is not valid UTF-8")
	case strings.TrimSpace(s) != s:
		return errors.New("begins or ends with a space; remove it")
	case strings.HasPrefix(s, "!"):
		return errors.New(`begins with "!"; selectors only include, so list what is meant`)
	case strings.ContainsFunc(s, unicode.IsControl):
		return errors.New("has a control character")
	}
	return nil
}

// checkPath refuses paths that would silently match nothing, since nothing that exists is spelled so.
func checkPath(path, what string) error {
	if path == "" || path == "." {
		return nil
	}
	switch {
	case strings.HasPrefix(path, "/"):
		return fmt.Errorf("%s begins with a slash; paths are relative to the root of the repository, as in //prod/**", what)
	case strings.HasSuffix(path, "/"):
		return fmt.Errorf("%s ends with a slash; write //prod for the directory or //prod/** for it and all below", what)
	}
	for part := range strings.SplitSeq(path, "/") {
		switch part {
		case "":
			return fmt.Errorf("%s has an empty part; one // separates repository and directory, all other slashes are single", what)
		case ".", "..":
			return fmt.Errorf("%s has a part %q; write the path from the root of the repository", what, part)
		}
	}
	return nil
}

func checkPattern(patterns ...string) error {
	for _, p := range patterns {
		if !doublestar.ValidatePattern(p) {
			return fmt.Errorf(`pattern %q is malformed; look for an open "[" or "{" or a trailing "\"`, cut(p))
		}
		if alternatives(p) > mostAlternatives {
			return fmt.Errorf("pattern %q has braces that expand to more than %d alternatives; use several selectors", cut(p), mostAlternatives)
		}
	}
	return nil
}

// alternatives is an upper bound of what the braces of a valid pattern expand to: the product over all groups, nested ones too.
func alternatives(pattern string) int {
	product, open := 1, []int(nil)
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '\\':
			i++
		case c == '{':
			open = append(open, 1)
		case c == ',' && len(open) > 0:
			open[len(open)-1]++
		case c == '}' && len(open) > 0:
			product = min(product*open[len(open)-1], mostAlternatives+1)
			open = open[:len(open)-1]
		}
	}
	return product
}

// cut keeps a hostile text short in a message.
func cut(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
