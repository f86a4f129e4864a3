package web_test

import (
	"context"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/planlatch/planlatch/facts"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/store"
	"github.com/planlatch/planlatch/views"
	"github.com/planlatch/planlatch/web"
)

const (
	adminToken = "correct-horse-battery"
	version    = "9.8.7-canary"
	nodeName   = "node-canary"
)

// site is a server's pages over a real store.
type site struct {
	t       *testing.T
	store   *store.Store
	viewer  *views.Viewer
	handler *web.Handler
	linker  *web.Linker
	server  *httptest.Server
	blobs   memory
	repo    run.Repo
	ordinal int

	began time.Time // what the site's clock shows until a test lets time pass: how long a test takes is no matter
	mu    sync.Mutex
	ahead time.Duration
	login bool // links need a login
}

// memory is a blob store.
type memory struct{ m *sync.Map }

func (m memory) Put(_ context.Context, key string, data []byte) error {
	m.m.Store(key, data)
	return nil
}

func (m memory) Get(_ context.Context, key string) ([]byte, error) {
	data, ok := m.m.Load(key)
	if !ok {
		return nil, fmt.Errorf("blob %s: %w", key, run.ErrNotFound)
	}
	b, _ := data.([]byte)
	return b, nil
}

func key() []byte { return []byte("0123456789abcdef0123456789abcdef") }

// setup serves an empty store. change, if given, adjusts the options.
func setup(t *testing.T, change ...func(*web.Options)) *site {
	t.Helper()
	s := &site{t: t, blobs: memory{&sync.Map{}}, began: time.Now()}
	var err error
	if s.store, err = store.Open(t.Context(), store.Options{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
	})
	discard := slog.New(slog.DiscardHandler)
	s.viewer = &views.Viewer{
		Store: s.store, Facts: &facts.Gatherer{Store: s.store, Log: discard}, Blobs: s.blobs, Look: func(string, string) views.Look { return views.Look{} },
	}
	mux := http.NewServeMux()
	s.server = httptest.NewServer(mux)
	t.Cleanup(s.server.Close)
	needsLogin := func(string, string) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.login
	}
	o := web.Options{
		Store: s.store, Views: s.viewer, Key: key(), URL: s.server.URL, LinksLogin: needsLogin, Hosts: []string{"gitea"}, Version: version, Now: s.now,
		Poll:       5 * time.Millisecond,
		AdminToken: func(token string) bool { return subtle.ConstantTimeCompare([]byte(token), []byte(adminToken)) == 1 },
	}
	for _, c := range change {
		c(&o)
	}
	if s.handler, err = web.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.handler.Close)
	s.linker = web.NewLinkerAt(key(), s.server.URL, needsLogin, s.now)
	mux.Handle("/", s.handler)
	return s
}

func (s *site) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.began.Add(s.ahead)
}

func (s *site) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += d
}

// must ends the test on an error.
func must[T any](t testing.TB, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// seed is what a run is made of; empty fields get ordinary values.
type seed struct {
	label, title, author, url, branch string
	number                            int
	settings                          run.Settings
	actor                             string
}

// queued stores a run that waits.
func (s *site) queued(d seed) run.Run {
	s.t.Helper()
	ctx := s.t.Context()
	if s.repo.ID == 0 {
		repo, err := s.store.SaveRepo(ctx, run.Repo{Host: "gitea", HostID: "7", Name: "acme/infra", DefaultBranch: "main"})
		s.repo = must(s.t, repo, err)
	}
	if d.number == 0 {
		d.number = 214
	}
	if d.label == "" {
		d.label = "prod/network"
	}
	if d.settings.Apply == "" {
		d.settings.Apply = run.ApplyBeforeMerge
	}
	if d.settings.Lock == "" {
		d.settings.Lock = run.LockApply
	}
	head := fmt.Sprintf("%040x", 0xa1b2c3d+d.number)
	saved, err := s.store.SavePull(ctx, run.Pull{
		Repo: s.repo.ID, Number: d.number, State: "open", Title: d.title, Author: d.author, URL: d.url, HeadSHA: head, HeadBranch: d.branch, BaseBranch: "main",
	})
	pull := must(s.t, saved, err)
	ps, err := s.store.SaveProjects(ctx, []run.Project{{Repo: s.repo.ID, Dir: d.label, Workspace: "default", Label: d.label}})
	projects := must(s.t, ps, err)
	s.ordinal++
	res, err := s.store.Advance(ctx, run.Scope{Pull: pull.ID}, func(run.Snapshot) (run.Change, error) {
		rev := run.Revision{Repo: s.repo.ID, Pull: pull.ID, Branch: "main", Head: head, Base: strings.Repeat("9f", 20), Tree: "tree", Kind: run.KindChange}
		return run.Change{Action: run.ActRevise, Revision: &rev, New: []run.Run{{
			Repo: s.repo.ID, Pull: pull.ID, Project: projects[0].ID, Label: d.label, Dir: d.label, Work: "default", Kind: run.KindChange, Actor: d.actor,
			Cause: fmt.Sprint("delivery ", s.ordinal), Ordinal: s.ordinal, Settings: d.settings, State: run.Queued,
		}}}, nil
	})
	return must(s.t, res, err).Runs[0]
}

// advance makes one decision about a run.
func (s *site) advance(r run.Run, decide func(run.Snapshot) (run.Change, error)) run.Run {
	s.t.Helper()
	_, err := s.store.Advance(s.t.Context(), run.Scope{Runs: []run.At{{ID: r.ID}}}, decide)
	if err != nil {
		s.t.Fatal(err)
	}
	got, err := s.store.Run(s.t.Context(), r.ID)
	return must(s.t, got, err)
}

func (s *site) planning(d seed) run.Run {
	s.t.Helper()
	return s.advance(s.queued(d), claim(run.Owner{Node: nodeName, Deadline: time.Now().Add(time.Hour)}))
}

func claim(o run.Owner) func(run.Snapshot) (run.Change, error) {
	return func(snap run.Snapshot) (run.Change, error) { return run.ClaimPlan(snap, snap.Runs[0].ID, o) }
}

// settled ends the planning of a run with what is shown of it.
func (s *site) settled(r run.Run, kept views.Kept, o run.PlanOutcome) run.Run {
	s.t.Helper()
	name, err := views.Keep(s.t.Context(), s.blobs, r.ID, "plan", kept)
	if err != nil {
		s.t.Fatal(err)
	}
	o.Planned.Blobs = map[string]string{views.KeptPlan: name}
	o.Planned.Counts = kept.Plan.Counts
	if o.Failed == "" {
		o.Planned.Tool, o.Planned.PolicyDigest, o.Planned.PlanDigest, o.Planned.EffectDigest = "tofu 1.12.6", "p0", "d0", "e0"
	}
	return s.advance(r, func(snap run.Snapshot) (run.Change, error) { return run.SettlePlan(snap, r.ID, o) })
}

func (s *site) write(r run.Run, phase string, to int64, text string) {
	s.t.Helper()
	if err := s.store.AppendLog(s.t.Context(), r.ID, phase, to, []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

// browser is a person's browser: it accepts HTML and keeps cookies. It does not follow redirects.
func (s *site) browser() *http.Client {
	jar, err := cookiejar.New(nil)
	return &http.Client{
		Jar: must(s.t, jar, err), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// member is a browser that is logged in.
func (s *site) member() *http.Client {
	s.t.Helper()
	c := s.browser()
	a := s.do(c, "POST", "/login", url.Values{"token": {adminToken}}, nil)
	if a.status != http.StatusSeeOther {
		s.t.Fatalf("POST /login = %d, want 303:\n%s", a.status, a.body)
	}
	return c
}

type answer struct {
	status int
	header http.Header
	body   string
}

// do asks as a browser would. path may be a whole address.
func (s *site) do(c *http.Client, method, path string, form url.Values, header http.Header) answer {
	s.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = s.server.URL + path
	}
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html,*/*;q=0.8")
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	maps.Copy(req.Header, header)
	res, err := c.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(must(s.t, b, err))}
}

func (s *site) get(c *http.Client, path string) answer {
	s.t.Helper()
	return s.do(c, "GET", path, nil, nil)
}

// page asks for a page and parses it.
func (s *site) page(c *http.Client, path string) *html.Node {
	s.t.Helper()
	a := s.get(c, path)
	if a.status != http.StatusOK {
		s.t.Fatalf("GET %s = %d, want 200:\n%s", path, a.status, a.body)
	}
	n, err := html.Parse(strings.NewReader(a.body))
	return must(s.t, n, err)
}

// find returns the elements with a class, or with a tag name if it begins with "<".
func find(n *html.Node, what string) []*html.Node {
	var out []*html.Node
	for d := range n.Descendants() {
		if d.Type != html.ElementNode {
			continue
		}
		if tag, ok := strings.CutPrefix(what, "<"); ok && d.Data == tag || !ok && hasClass(d, what) {
			out = append(out, d)
		}
	}
	return out
}

func hasClass(n *html.Node, class string) bool {
	return slices.Contains(strings.Fields(attr(n, "class")), class)
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// text is what is read of an element, its pieces and words apart by one space.
func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// texts are those of all elements found.
func texts(n *html.Node, what string) []string {
	var out []string
	for _, e := range find(n, what) {
		out = append(out, text(e))
	}
	return out
}

// replaced is a plan that people should look at twice.
func replaced() report.Plan {
	return report.Plan{
		Tool: "1.12.6", Counts: run.Counts{Add: 1, Change: 1, Replace: 1},
		Changes: []report.Change{
			{Address: "aws_db_instance.main", Type: "aws_db_instance", Kind: report.Replace, Reason: "replaced: storage_encrypted forces it", File: "main.tf", Line: 14,
				Attrs: []report.Attr{
					{Path: "storage_encrypted", Before: "false", After: "true", Forces: true},
					{Path: "address", Before: `"db.acme.example"`, Unknown: true},
					{Path: "password", Sensitive: true},
				}},
			{Address: "aws_db_parameter_group.main", Type: "aws_db_parameter_group", Kind: report.Update, File: "main.tf", Line: 40,
				Attrs: []report.Attr{{Path: `parameter["max_connections"].value`, Before: `"200"`, After: `"400"`}}},
			{Address: `aws_route53_record.db["internal"]`, Type: "aws_route53_record", Kind: report.Create, File: "dns.tf", Line: 3, Unknown: 4,
				Attrs: []report.Attr{{Path: "name", After: `"db.internal"`}, {Path: "ttl", After: "60"}, {Path: "type", After: `"CNAME"`}}},
		},
		Outputs: []report.Output{{Name: "endpoint", Kind: report.Update, Attrs: []report.Attr{{Path: "endpoint", Before: `"db.acme.example:5432"`, Unknown: true}}}},
	}
}

func soft() run.Finding {
	return run.Finding{
		Set: "baseline", Rule: "stateful-replace", Level: run.Soft, Resource: "aws_db_instance.main", Message: "A database would be replaced: its data goes with it.",
		Fix: "Create the new one beside it and move the data, or restore from a snapshot with snapshot_identifier.", File: "main.tf", Line: 14,
		Owners: run.Owners{Teams: []string{"acme/security"}, Approvals: 1},
	}
}

// serve asks a handler for a page without a network.
func serve(t *testing.T, h http.Handler, path string) string {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "GET", path, nil)
	r.Header.Set("Accept", "text/html")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("GET %s = %d, want 200:\n%s", path, w.Code, w.Body)
	}
	return w.Body.String()
}
