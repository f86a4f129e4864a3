package web

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/planlatch/planlatch/run"
)

// GrantDays is how long a link to a run works: until the end of this many days after the day it was written (semantics 40).
const GrantDays = 30

// grantParam is the query parameter that carries a grant.
const grantParam = "grant"

// Linker writes the addresses of run pages. It is safe for concurrent use.
type Linker struct {
	url    string
	login  func(host, repo string) bool
	grants grants
	now    func() time.Time
}

// NewLinker makes a Linker for the server at url. key is the one the handler has; login says whose links carry no grant, because reading
// needs a login there; nil: nobody's.
func NewLinker(key []byte, url string, login func(host, repo string) bool) *Linker {
	return newLinker(key, url, login, time.Now)
}

func newLinker(key []byte, url string, login func(host, repo string) bool, now func() time.Time) *Linker {
	if login == nil {
		login = func(string, string) bool { return false }
	}
	return &Linker{url: strings.TrimRight(url, "/"), login: login, grants: newGrants(key), now: now}
}

// Run is the address of a run's page, or of its log as text. Unless its repository needs a login, it carries a grant to read exactly this
// run. All links of one UTC day are the same, so that a text that is rendered again stays the same.
func (l *Linker) Run(repo run.Repo, id run.ID, log bool) string {
	address := l.url + runPath(id)
	if log {
		address += "/log"
	}
	if l.login(repo.Host, repo.Name) {
		return address
	}
	return address + "?" + grantParam + "=" + l.grants.give(id, l.now())
}

func runPath(id run.ID) string { return "/runs/" + url.PathEscape(string(id)) }

// grants signs and checks permissions to read one run: "<last day>.<signature>", where days are counted from 1970 in UTC.
type grants struct{ key []byte }

func newGrants(key []byte) grants { return grants{purpose(key, "run link")} }

const day = 24 * 60 * 60

func (g grants) give(id run.ID, now time.Time) string {
	last := now.Unix()/day + GrantDays
	return strconv.FormatInt(last, 10) + "." + g.sign(id, last)
}

// holds says whether a grant allows reading this run now.
func (g grants) holds(grant string, id run.ID, now time.Time) bool {
	digits, signature, ok := strings.Cut(grant, ".")
	if !ok {
		return false
	}
	last, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || strconv.FormatInt(last, 10) != digits {
		return false
	}
	return hmac.Equal([]byte(signature), []byte(g.sign(id, last))) && now.Unix()/day <= last
}

func (g grants) sign(id run.ID, last int64) string {
	return signature(g.key, strconv.FormatInt(last, 10), string(id))
}

// signature is of texts in order; none of them contains a newline that matters, since the first ones are ours.
func signature(key []byte, texts ...string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(strings.Join(texts, "\n")))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// purpose derives the key for one kind of signature, so that none can stand for another.
func purpose(key []byte, name string) []byte {
	derived, err := hkdf.Key(sha256.New, key, nil, "planlatch web: "+name, sha256.Size)
	if err != nil {
		panic("derive a key of 32 bytes: " + err.Error()) // only impossible lengths fail
	}
	return derived
}
