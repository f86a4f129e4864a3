package config

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/planlatch/planlatch/selector"
)

// ModuleCredential is a credential that init of some projects fetches modules with. No run can read it; runs can read with it, below URL.
type ModuleCredential struct {
	Name string `yaml:"name" need:"true"`
	// URL is where it is good for: https://host/dir/ for all below, or https://host/dir/repository.git. http is for servers of a trusted network.
	URL string `yaml:"url" need:"true"`
	// Kind is git (default), for git fetch from repositories, or https, for GET of archives and of module registries.
	Kind string `yaml:"kind" oneof:"git https"`
	// Token is the credential.
	Token Secret `yaml:"token" need:"true"`
	// Username makes it the password of a basic login. Default of kind git: x-access-token.
	Username string `yaml:"username"`
	// Header is what carries it, as in PRIVATE-TOKEN. Default: Authorization, with the scheme Basic where there is a username, else Bearer.
	Header string `yaml:"header"`
	// InsteadOf are beginnings of other addresses of the same place, with a slash or colon at their end. Default of kind git: those over ssh.
	InsteadOf []string `yaml:"instead_of"`
	// Projects are those that get it. Required.
	Projects selector.List `yaml:"projects" need:"true"`
}

// git says whether it is for git fetch.
func (m ModuleCredential) git() bool { return m.Kind == "" || m.Kind == KindGit }

// The kinds of module credentials.
const (
	KindGit   = "git"
	KindHTTPS = "https"
)

// BoundModule is a module credential as the executor wants it.
type BoundModule struct {
	Name      string
	Kind      string
	URL       string
	InsteadOf []string
	Header    string
	Value     Secret // of the header
}

// ModulesFor returns the module credentials of a project. Two for one place are an error, because no order between them could be guessed
// safely; of two places where one lies in the other the narrower one counts, which is for the executor to do.
func (c *Config) ModulesFor(t selector.Target) ([]BoundModule, error) {
	var out []BoundModule
	for _, m := range c.ModuleCredentials {
		if !m.Projects.Match(t) {
			continue
		}
		b := m.bound()
		if i := slices.IndexFunc(out, func(o BoundModule) bool { return o.Kind == b.Kind && o.URL == b.URL }); i >= 0 {
			return nil, fmt.Errorf("module credentials %s and %s are both for %s, in %s; narrow the projects of one", out[i].Name, m.Name, b.URL, t.Dir)
		}
		out = append(out, b)
	}
	return out, nil
}

func (m ModuleCredential) bound() BoundModule {
	b := BoundModule{Name: m.Name, Kind: KindHTTPS, URL: m.URL, InsteadOf: m.InsteadOf, Header: "Authorization", Value: m.Token}
	user := m.Username
	if m.git() {
		b.Kind = KindGit
		if user == "" && m.Header == "" {
			user = "x-access-token"
		}
		if b.InsteadOf == nil {
			b.InsteadOf = overSSH(m.URL)
		}
	}
	switch {
	case m.Header != "":
		b.Header = m.Header
	case user != "":
		b.Value = NewSecret("Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+m.Token.Reveal())))
	default:
		b.Value = NewSecret("Bearer " + m.Token.Reveal())
	}
	return b
}

// overSSH lists how the place of an https address is written for ssh.
func overSSH(address string) []string {
	u, err := url.Parse(address)
	if err != nil {
		return nil
	}
	host, path := u.Hostname(), strings.TrimPrefix(u.EscapedPath(), "/")
	return []string{"git@" + host + ":" + path, "ssh://git@" + host + "/" + path}
}

var (
	modulePath   = regexp.MustCompile(`^(/[A-Za-z0-9_~+%-][A-Za-z0-9._~+%-]*)*(/|\.git)$`)
	oddEncoding  = regexp.MustCompile(`(?i)%(2[ef53]|3[bf]|5c|[01].|7f|.?$)`) // of what separates
	moduleHeader = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*$`)
	moduleOrigin = regexp.MustCompile(`^[A-Za-z0-9@:/._~+%-]{8,}([:/]|\.git)$`)
	oneLine      = regexp.MustCompile(`^[\x21-\x7e]+$`)
)

// headersOfOthers would say who is asked, or how to read a request, instead of who asks.
var headersOfOthers = []string{"host", "content-length", "transfer-encoding", "connection", "upgrade", "expect", "te", "trailer", "content-type", "accept"}

func (j *judge) moduleCredentials(ms []ModuleCredential) {
	for i, m := range ms {
		key := fmt.Sprintf("module_credentials[%d]", i)
		j.name(key+".name", m.Name)
		j.selectors(key+".projects", m.Projects)
		j.modulePlace(key, m)
		if !m.Token.IsZero() && !oneLine.MatchString(m.Token.Reveal()) {
			j.add(key+".token", "has a space, a line break or a letter that no token has", "write the token alone into the file")
		}
		if strings.ContainsAny(m.Username, ":\r\n") {
			j.add(key+".username", "has a colon or a line break", "write the name alone, and the token under token")
		}
		switch {
		case m.Header != "" && m.Username != "":
			j.add(key+".header", "is given beside username", "keep one of the two")
		case m.Header != "" && (!moduleHeader.MatchString(m.Header) || slices.Contains(headersOfOthers, strings.ToLower(m.Header))):
			j.add(key+".header", fmt.Sprintf("%q cannot carry a credential", m.Header), "write it as in PRIVATE-TOKEN")
		}
		for n, from := range m.InsteadOf {
			at := fmt.Sprintf("%s.instead_of[%d]", key, n)
			switch {
			case !m.git():
				j.add(at, "is only for kind git", "remove it")
			case !moduleOrigin.MatchString(from):
				j.add(at, fmt.Sprintf("%q is not the beginning of git addresses", from), "write it as in ssh://git@git.example.com:2222/acme/ with a slash at its end")
			}
		}
		for n, o := range ms[:i] {
			if o.git() == m.git() && o.URL == m.URL && m.URL != "" && slices.Equal(texts(o.Projects), texts(m.Projects)) {
				j.add(key+".url", fmt.Sprintf("is also the place of module_credentials[%d], for the same projects", n), "keep one of the two")
			}
		}
	}
}

func (j *judge) modulePlace(key string, m ModuleCredential) {
	if m.URL == "" {
		return
	}
	before := len(j.problems)
	j.webURL(key+".url", m.URL)
	u, err := url.Parse(m.URL)
	if err != nil || len(j.problems) > before {
		return
	}
	path := u.EscapedPath()
	switch {
	case !modulePath.MatchString(path) || strings.Contains(path, "/.") || oddEncoding.MatchString(path):
		j.add(key+".url", fmt.Sprintf("%q does not say what is meant by it", m.URL),
			"end it with a slash for all that is below, as in https://git.example.com/acme/, or with .git for one repository")
	case u.Host != strings.ToLower(u.Host):
		j.add(key+".url", "has capital letters in the name of its host, and git compares letter by letter", "write the name in lower case")
	case !m.git() && path == "/":
		j.add(key+".url", "is a whole host, with its API and all that the token may read there",
			"name the directory of the archives or of the registry, as in https://app.terraform.io/api/registry/")
	}
}

func texts(list selector.List) []string {
	var out []string
	for _, s := range list {
		out = append(out, s.String())
	}
	slices.Sort(out)
	return out
}
