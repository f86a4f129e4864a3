package redteam_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	"github.com/planlatch/planlatch/testkit/child"
	"github.com/planlatch/planlatch/testkit/github"
	"github.com/planlatch/planlatch/testkit/pinned"
	"github.com/planlatch/planlatch/vcs"
)

// settings are what server.yaml says, in the form in which a wall changes it.
type settings struct {
	Listen, URL, Data, States string
	AdminToken, WebhookSecret string
	EncryptionKey             string
	HostKind                  string
	HostURL, HostToken        string
	Repos                     []string
	Vault                     string // the repository of the victim
	Sandbox                   string
	Network                   string
	Allow, Traps              []string
	Environment               []string
	Limits, PlanTimeout       string
	OnlyVault                 string // selector of the victim's provider configuration
	PlanIdentity              string
	ApplyIdentity             string
	VaultSecret               string
	Secret                    string // env or values: how the secret of every project is given
	ProjectSecret             string
	Chat, Note                string
	Owner, Other, Stranger    string   // logins: who owns most policy sets, one of another project, and nobody
	Owners                    []string // of every policy set; empty: those who should
	Sets                      string   // further policy sets, as lines
	Defaults                  string   // one more line of defaults
	Extra                     string
	Beside                    string // a second host
}

var serverYAML = template.Must(template.New("").Parse(`# {{.Note}}
listen: {{.Listen}}
url: {{.URL}}
data: {{.Data}}
encryption_key: {{.EncryptionKey}}
admin_token: {{.AdminToken}}
vcs:
  - name: {{.HostKind}}
    kind: {{.HostKind}}
    url: {{.HostURL}}
    token: "{{.HostToken}}"
    webhook_secret: "{{.WebhookSecret}}"
    repos: [{{range $n, $r := .Repos}}{{if $n}}, {{end}}"{{$r}}"{{end}}]
{{.Beside}}
execution:
  workers: 8
  sandbox: {{.Sandbox}}
  plan_timeout: {{.PlanTimeout}}
  cancel_grace: {plan: 1s, apply: 10s}
  limits: {{.Limits}}
  network: {mode: {{.Network}}, allow: [{{range $n, $a := .Allow}}{{if $n}}, {{end}}"{{$a}}"{{end}}]}
  environment: [{{range $n, $e := .Environment}}{{if $n}}, {{end}}{{$e}}{{end}}]
  binds: [{path: {{.States}}, write: true}]
defaults:
  apply: before_merge
  requirements: {apply: [mergeable]}
  {{.Defaults}}
repos:
  - {match: "{{.HostKind}}/{{.Vault}}", steps: {before_plan: [[sleep, "1200"]]}}
provider_configs:
  - name: vault
    projects: ["{{.OnlyVault}}"]
    plan: {env: {VAULT_SECRET: "{{.VaultSecret}}"}}
    apply: {env: {VAULT_SECRET: "{{.VaultSecret}}"}}
  - name: everyone
    projects: ["//**"]
    plan: { {{.Secret}}: {PROJECT_SECRET: "{{.ProjectSecret}}", IDENTITY: "{{.PlanIdentity}}"}}
    apply: { {{.Secret}}: {PROJECT_SECRET: "{{.ProjectSecret}}", IDENTITY: "{{.ApplyIdentity}}"}}
{{.Policies}}
notify:
  - {name: chat, kind: webhook, url: "{{.Chat}}", secret: "not of interest here"}
{{.Extra}}
`))

// server is one planlatch, whole or without a wall, and what it says to whoever is not on the host.
type server struct {
	settings
	without wall
	dir     string
	trap    *trap

	env, files, yaml, otherFiles, otherEnv, project canary // where secrets lie
	identity                                        canary // the apply identity

	shared vcs.Repo      // where attacks have directories of their own
	own    []vcs.Repo    // for attacks that need one each
	member *http.Client  // logged in, for pages
	beside *github.World // the second host; nil: none
	odd    *oddities     // what it answers at times

	child child.Server
	mu    sync.Mutex
	chat  bytes.Buffer
}

// said is everything that the server has logged.
func (s *server) said() string { return s.child.Log() }

func (s *server) chatted() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.chat.String()
}

// take hands out a repository of its own.
func (s *server) take(t *testing.T) vcs.Repo {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.own) == 0 {
		t.Fatal("no repository is left")
	}
	r := s.own[0]
	s.own = s.own[1:]
	return r
}

// secrets are all canaries of the server that no attacker may see.
func (s *server) secrets() []canary {
	return []canary{
		s.env, s.files, s.yaml, s.otherFiles, s.otherEnv, s.project, s.identity,
		{"the admin token", s.AdminToken}, {"the webhook secret", s.WebhookSecret}, {"the host's token", s.HostToken},
		{"the encryption key", strings.TrimPrefix(s.EncryptionKey, "base64key://")},
	}
}

// others are the canaries that no run of ours has, not even in its own environment.
func (s *server) others() []canary {
	return slices.DeleteFunc(s.secrets(), func(c canary) bool { return c == s.project })
}

// start starts the server as a child process and waits until it answers.
func (s *server) start(t *testing.T) {
	t.Helper()
	var text bytes.Buffer
	if err := serverYAML.Execute(&text, s.settings); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.dir, "server.yaml")
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	s.child = child.Server{URL: s.URL, Dir: s.dir}
	s.child.Env = append(os.Environ(), asServer+"="+file, asWithout+"="+string(s.without), "PLANLATCH_TOFU="+pinned.Path(t, "tofu"), canaryEnv+"="+s.env.Value, s.withLFS(t))
	s.child.Start(t)
	s.logIn(t)
}

// processName is how the server's process is shown to whoever sees it.
func (s *server) processName() string { return filepath.Base(os.Args[0]) }

// stop ends the server as an operator does, once nothing runs.
func (s *server) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	for _, r := range s.runs(ctx, "") {
		if r.State == "planning" || r.State == "applying" || r.State == "queued" {
			s.ask(ctx, http.MethodPost, "/api/v1/runs/"+r.ID+"/cancel")
		}
	}
	until(t, "runs to end", func() (string, bool) {
		busy, _ := filepath.Glob(filepath.Join(s.Data, "executions", "runs", "*"))
		return fmt.Sprint(busy), len(busy) == 0
	})
	if err := s.child.Stop(); errors.Is(err, child.ErrLate) { // how else it ended is not what these tests are about
		t.Errorf("without %q: %v", s.without, err)
	}
}

// logIn makes the client that reads pages.
func (s *server) logIn(t *testing.T) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	check(t, err)
	s.member = &http.Client{Jar: jar, Timeout: 30 * time.Second}
	res, err := s.member.PostForm(s.URL+"/login", url.Values{"token": {s.AdminToken}, "next": {"/audit"}}) //nolint:noctx // bounded by the client
	check(t, err)
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || res.Request.URL.Path != "/audit" {
		t.Fatalf("the administrator logs in and comes to %s, %s", res.Request.URL, res.Status)
	}
}

// get asks as the administrator.
func (s *server) get(ctx context.Context, path string) (code int, body string) {
	return s.ask(ctx, http.MethodGet, path)
}

func (s *server) ask(ctx context.Context, method, path string) (code int, body string) {
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, nil)
	if err != nil {
		return 0, err.Error()
	}
	client := &http.Client{Timeout: 30 * time.Second}
	if strings.HasPrefix(path, "/api/") {
		req.Header.Set("Authorization", "Bearer "+s.AdminToken)
	} else if s.member != nil {
		client = s.member
		req.Header.Set("Accept", "text/html")
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(text)
}

// oneRun is what the API tells of a run.
type oneRun struct {
	ID      string
	State   string
	Reason  string
	Project string
	Dir     string
}

// runs lists the runs of a repository, owner/name, or of all.
func (s *server) runs(ctx context.Context, repo string) []oneRun {
	path := "/api/v1/runs?limit=100"
	if repo != "" {
		path += "&host=" + s.HostKind + "&repo=" + repo
	}
	var list struct{ Runs []oneRun }
	if _, body := s.get(ctx, path); json.Unmarshal([]byte(body), &list) != nil {
		return nil
	}
	return list.Runs
}

// pages are what the server shows of the runs of a directory, or of all: pages, logs, JSON.
func (s *server) pages(ctx context.Context, repo, dir string) map[string]string {
	seen := map[string]string{}
	for _, r := range s.runs(ctx, repo) {
		if dir != "" && r.Dir != dir {
			continue
		}
		for _, path := range []string{"/runs/" + r.ID, "/runs/" + r.ID + "/log", "/api/v1/runs/" + r.ID} {
			_, seen["GET "+path] = s.ask(ctx, http.MethodGet, path)
		}
	}
	return seen
}

// kept are the files that the server writes, by name: database, blobs, caches. What a run has in its hands is not among them.
func (s *server) kept(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(s.Data, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(s.Data, path)
		switch {
		case err != nil:
			return nil //nolint:nilerr // it was removed meanwhile
		case d.IsDir() && (rel == "executions" || rel == "work" || rel == "mirrors" || rel == "providers"):
			return filepath.SkipDir // sources are there, and they are nobody's secret here
		case !d.Type().IsRegular() || d.Name() == "canary" || d.Name() == "encryption.key":
			return nil
		}
		text, err := os.ReadFile(path)
		if err == nil {
			files["the file "+rel] = string(text)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return files
}

// last is the end of a text.
func last(text string, n int) string { return text[max(0, len(text)-n):] }

// until waits until ok, and fails with what was seen last.
func until(t *testing.T, what string, ok func() (seen string, done bool)) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		seen, done := ok()
		if done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s; last seen:\n%s", patience, what, last(seen, 6000))
		}
		time.Sleep(300 * time.Millisecond) //nolint:forbidigo // polling other processes
	}
}

// withLFS is the variable by which a machine's git has git-lfs, as after "git lfs install --system".
func (s *server) withLFS(t *testing.T) string {
	t.Helper()
	file := filepath.Join(s.dir, "gitconfig")
	check(t, os.WriteFile(file, fmt.Appendf(nil, `[filter "lfs"]
	clean = %[1]s clean -- %%f
	smudge = %[1]s smudge -- %%f
	process = %[1]s filter-process
	required = true
`, pinned.Path(t, "git-lfs")), 0o600))
	return "GIT_CONFIG_SYSTEM=" + file
}
