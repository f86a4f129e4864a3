package inventory

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// The kinds of module sources.
const (
	kindLocal    = "local"
	kindRegistry = "registry"
	kindGit      = "git"
	kindHTTP     = "http"
	kindOther    = "other"
)

var (
	registryName = regexp.MustCompile(`^(?:([0-9a-zA-Z.-]+\.[0-9a-zA-Z-]+(?::[0-9]+)?)/)?([0-9A-Za-z](?:[0-9A-Za-z-_]*[0-9A-Za-z])?)/([0-9A-Za-z](?:[0-9A-Za-z-_]*[0-9A-Za-z])?)/([0-9a-z]+)$`)
	forced       = regexp.MustCompile(`^([A-Za-z0-9]+)::(.*)$`)
	scpLike      = regexp.MustCompile(`^[A-Za-z0-9._-]+@([A-Za-z0-9.-]+):([^/].*)$`)
	shorthand    = regexp.MustCompile(`^(github\.com|bitbucket\.org|gitlab\.com)/`)
	exactVersion = regexp.MustCompile(`^\s*=?\s*v?[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?\s*$`)
	versionTag   = regexp.MustCompile(`^([A-Za-z0-9._/-]+[-_/])?v?[0-9]+(\.[0-9]+){1,3}([-+.][0-9A-Za-z.-]+)?$`)
	commitHash   = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	plainPath    = regexp.MustCompile(`^[A-Za-z0-9._~/+-]*$`)
	plainRef     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/+-]*$`)
	checksumOf   = regexp.MustCompile(`^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$`)
)

// originOf sorts a module source as the tools do: paths, then names of a registry, then addresses of anything else.
func originOf(source, version string) Module {
	m := Module{Source: clip(source), Version: clip(version), Address: clip(source), Package: clip(source), Kind: kindOther}
	for _, prefix := range []string{"./", "../", `.\`, `..\`} {
		if strings.HasPrefix(source, prefix) {
			m.Kind, m.Pinned = kindLocal, true
			return m
		}
	}
	name, sub, _ := strings.Cut(source, "//")
	if p := registryName.FindStringSubmatch(name); p != nil && !shorthand.MatchString(name) {
		m.Kind, m.Pinned = kindRegistry, exactVersion.MatchString(version)
		m.Address = withoutPublicHost(strings.ToLower(p[1]), strings.Join(p[2:], "/"))
		m.Package = m.Address
		if sub != "" {
			m.Address += "//" + sub
			m.Odd = oddPath(sub)
		}
		return m
	}
	m.remote(source)
	return m
}

// remote reads an address that is neither a path nor a name of a registry.
func (m *Module) remote(source string) {
	kind, rest := "", source
	if f := forced.FindStringSubmatch(source); f != nil {
		kind, rest = strings.ToLower(f[1]), f[2]
	}
	switch scp := scpLike.FindStringSubmatch(rest); {
	case (kind == "" || kind == kindGit) && shorthand.MatchString(rest):
		m.git("https://" + rest)
	case (kind == "" || kind == kindGit) && scp != nil && !strings.Contains(rest, "://"):
		m.git("ssh://git@" + scp[1] + "/" + scp[2])
	case kind == kindGit:
		m.git(rest)
	case kind == "" && (strings.HasPrefix(rest, "https://") || strings.HasPrefix(rest, "http://")):
		m.archive(rest)
	default:
		m.Odd = "it is not fetched over https from a registry, git or an archive"
	}
}

// git reads the address of a repository.
func (m *Module) git(address string) {
	m.Kind = kindGit
	u, err := url.Parse(address)
	if err != nil {
		m.Odd = "it is no address that can be read"
		return
	}
	repo, sub, _ := strings.Cut(strings.TrimPrefix(u.EscapedPath(), "/"), "//")
	m.Address = clip("git::" + strings.ToLower(u.Host) + "/" + strings.TrimSuffix(repo, ".git"))
	m.Package = m.Address
	if sub != "" {
		m.Address = clip(m.Address + "//" + sub)
	}
	query, err := url.ParseQuery(u.RawQuery)
	m.Ref = clip(query.Get("ref"))
	m.Pinned = commitHash.MatchString(m.Ref) || versionTag.MatchString(m.Ref)
	switch {
	case err != nil:
		m.Odd = "its query cannot be read"
	case u.Scheme != "https" && u.Scheme != "ssh":
		m.Odd = "it is not fetched over https or ssh"
	case u.User != nil && u.Scheme == "https":
		m.Odd = "it carries a user name in front of the host"
	case m.Ref != "" && !plainRef.MatchString(m.Ref):
		m.Odd = "its ref has unusual characters"
	default:
		m.Odd = oddURL(u, query, "ref", "depth")
	}
}

// archive reads the address of a file, or of a page that leads to one.
func (m *Module) archive(address string) {
	m.Kind = kindHTTP
	u, err := url.Parse(address)
	if err != nil {
		m.Odd = "it is no address that can be read"
		return
	}
	file, _, _ := strings.Cut(u.EscapedPath(), "//")
	m.Address = clip(u.Scheme + "://" + strings.ToLower(u.Host) + u.EscapedPath())
	m.Package = clip(u.Scheme + "://" + strings.ToLower(u.Host) + file)
	query, err := url.ParseQuery(u.RawQuery)
	m.Pinned = checksumOf.MatchString(query.Get("checksum"))
	switch {
	case err != nil:
		m.Odd = "its query cannot be read"
	case u.Scheme != "https":
		m.Odd = "it is not fetched over https"
	case u.User != nil:
		m.Odd = "it carries a user name in front of the host"
	default:
		m.Odd = oddURL(u, query, "checksum", "archive")
	}
}

// oddURL says why an address may not mean what it looks like.
func oddURL(u *url.URL, query url.Values, known ...string) string {
	for key, values := range query {
		if !slices.Contains(known, key) || len(values) > 1 {
			return "its query says more than " + strings.Join(known, " and ")
		}
	}
	if u.Fragment != "" || u.Host == "" || !plainPath.MatchString(u.Host[:len(u.Host)-len(portOf(u))]) {
		return "its host has unusual characters, or a fragment follows"
	}
	return oddPath(u.EscapedPath())
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return ":" + p
	}
	return ""
}

func oddPath(p string) string {
	if !plainPath.MatchString(p) || strings.Count(p, "//") > 1 {
		return "its path has unusual characters"
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." || part == "." {
			return "its path goes back with .."
		}
	}
	return ""
}
