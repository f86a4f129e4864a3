package local_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/planlatch/planlatch/testkit/pinned"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/executortest"
	"github.com/planlatch/planlatch/executor/local"
)

// The credential of the private places, and how a log could show it.
const (
	lentToken = "geheim-5d81c4"
	lentBasic = "Basic cGxhbmxhdGNoOmdlaGVpbS01ZDgxYzQ=" // planlatch:geheim-5d81c4
)

// forge is a real git server with private repositories acme/mod and other/mod, archives, and a registry of modules. Everybody with the
// credential may read and push everything.
type forge struct {
	*httptest.Server

	roots     string // file with its certificate
	byAddress string // URL, where URL has a name
	repos     string
	withheld  atomic.Int64 // requests without the credential
	lent      atomic.Int64 // requests with it
}

func newForge(t testing.TB, host string) *forge {
	t.Helper()
	f := &forge{repos: t.TempDir(), roots: filepath.Join(t.TempDir(), "roots.pem")}
	for _, name := range []string{"acme/mod", "other/mod"} {
		f.repo(t, name)
	}
	backend, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatalf("git --exec-path: %v", err)
	}
	git := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(backend)), "git-http-backend"), Root: "/",
		Env: []string{"GIT_PROJECT_ROOT=" + f.repos, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=planlatch", "HOME=" + f.repos},
	}
	archive := f.archive(t)
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/.well-known/terraform.json" {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"modules.v1": "/acme/registry/"}`))
			return
		}
		if r.Header.Get("Authorization") != lentBasic {
			f.withheld.Add(1)
			w.Header().Set("Www-Authenticate", `Basic realm="forge"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		f.lent.Add(1)
		switch r.URL.Path {
		case "/acme/mod.tar.gz", "/other/mod.tar.gz":
			w.Header().Set("Content-Type", "application/gzip")
			_, _ = w.Write(archive)
		case "/acme/registry/acme/net/any/versions":
			_, _ = w.Write([]byte(`{"modules":[{"versions":[{"version":"1.0.0"}]}]}`))
		case "/acme/registry/acme/net/any/1.0.0/download":
			w.Header().Set("X-Terraform-Get", "/acme/mod.tar.gz?archive=tar.gz")
			w.WriteHeader(http.StatusNoContent)
		default:
			git.ServeHTTP(w, r)
		}
	}))
	if host != "127.0.0.1" {
		addrs, err := net.LookupHost(host)
		if err != nil {
			t.Skipf("LOUD: this machine does not know its own name %s: %v", host, err)
		}
		l, err := net.Listen("tcp", net.JoinHostPort(addrs[0], "0"))
		if err != nil {
			t.Skipf("LOUD: no listener at %s: %v", addrs[0], err)
		}
		_ = f.Listener.Close()
		f.Listener = l
	}
	certificate := f.certify(t, host)
	f.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	f.StartTLS()
	t.Cleanup(f.Close)
	_, port, err := net.SplitHostPort(f.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	f.byAddress = "https://" + f.Listener.Addr().String()
	f.URL = "https://" + net.JoinHostPort(host, port)
	return f
}

func (f *forge) repo(t testing.TB, name string) {
	t.Helper()
	work, bare := t.TempDir(), filepath.Join(f.repos, name+".git")
	executortest.Write(t, filepath.Join(work, "main.tf"), "output \"hello\" {\n  value = \"from "+name+"\"\n}\n")
	for _, args := range [][]string{
		{"init", "-q", "-b", "main", work}, {"-C", work, "add", "."},
		{"-C", work, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qm", "first"}, {"-C", work, "tag", "v1"},
		{"clone", "-q", "--bare", work, bare}, {"-C", bare, "config", "http.receivepack", "true"},
	} {
		if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
}

func (f *forge) archive(t testing.TB) []byte {
	t.Helper()
	out, err := exec.Command("git", "-C", filepath.Join(f.repos, "acme/mod.git"), "archive", "--format=tar.gz", "v1").Output()
	if err != nil {
		t.Fatalf("git archive: %v", err)
	}
	return out
}

func (f *forge) certify(t testing.TB, host string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "forge"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	at, _, err := net.SplitHostPort(f.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.IPAddresses = []net.IP{net.ParseIP(at)}
	if host != at {
		c.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	executortest.Write(t, f.roots, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// lends are acme/ of the forge.
func (f *forge) lends(kinds ...executor.LendKind) (lends []executor.Lend, values []string) {
	for _, kind := range kinds {
		l := executor.Lend{Name: "acme-" + string(kind), Kind: kind, URL: f.URL + "/acme/", Header: "Authorization"}
		if kind == executor.LendGit {
			l.InsteadOf = []string{"git@git.example.com:acme/", "ssh://git@git.example.com/acme/"}
		}
		lends, values = append(lends, l), append(values, lentBasic)
	}
	return lends, values
}

// show is what a hostile step does to find a credential: it reads everything of its place, into a file that the test looks through.
const show = `{
	env; cat /proc/*/environ /proc/*/cmdline | tr '\0' '\n'; git config --list --show-origin
	cat /etc/hosts $HOME/.netrc $HOME/.git-credentials /etc/gitconfig .git/config
	find / -xdev -type f -newer /proc/1 -size -200k -not -path '/proc/*' | xargs cat; find /run -maxdepth 1 -type f | grep -v shim | xargs cat
} >>$WORK/found 2>/dev/null; true`

func lent(script string) executor.Step {
	return executor.Step{Label: "init", Argv: []string{"/bin/sh", "-c", script}, Lent: true}
}

func unlent(label, script string) executor.Step {
	return executor.Step{Label: label, Argv: []string{"/bin/sh", "-c", script}}
}

// unseen fails if the credential is in a log or anywhere below a directory.
func unseen(t testing.TB, log, dir string) {
	t.Helper()
	check := func(where, text string) {
		for _, form := range []string{lentToken, lentBasic, strings.TrimPrefix(lentBasic, "Basic ")} {
			if at := strings.Index(text, form); at >= 0 {
				t.Errorf("%s shows the credential: …%s", where, text[max(0, at-60):at+len(form)])
			}
		}
	}
	check("the log", log)
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		body, err := os.ReadFile(path)
		check(path, string(body))
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestPrivateRepositoriesAreFetchedWithoutTheCredential(t *testing.T) {
	t.Parallel()
	f := newForge(t, "127.0.0.1")
	for name, o := range walled() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.Dir = t.TempDir()
			e := open(t, o)
			s := executortest.Spec(t, "r1-plan-1")
			if name == "LandlockAlone" {
				s.Network.Mode = executor.NetworkOpen // this machine's loopback is shared there
			}
			s.Env = append(s.Env, "SSL_CERT_FILE="+f.roots, "WORK=/src/in/work")
			lends, values := f.lends(executor.LendGit)
			s.Lends = lends
			s.Steps = []executor.Step{
				unlent("before", "git clone -q "+f.URL+"/acme/mod.git early && echo EARLY; true"),
				lent(`set -e; env >env.sh; sed -i 's/=\(.*\)/="\1"/; s/^/export /' env.sh
					git clone -q ` + f.URL + `/acme/mod.git a; git clone -q git@git.example.com:acme/mod.git b; git clone -q ssh://git@git.example.com/acme/mod.git c
					cat a/main.tf; cmp a/main.tf b/main.tf; cmp a/main.tf c/main.tf
					set +e; cd a; echo x >>main.tf; git -c user.name=a -c user.email=a@example.com commit -qam evil; git push origin main && echo PUSHED
					git clone -q ` + f.URL + `/other/mod.git other && echo OTHER; git clone -q ` + f.URL + `/acme/../other/mod.git other && echo OTHER
					` + show),
				unlent("after", ". ./env.sh; git clone -q "+f.URL+"/acme/mod.git late && echo LATE;"+show),
			}
			begin(t, e, s, executor.Secrets{Lent: values})
			r, log := executortest.Follow(t, e, s.Name)
			if !r.OK(3) || !strings.Contains(log, "from acme/mod") {
				t.Errorf("result %+v, log:\n%s", r, log)
			}
			for _, done := range []string{"EARLY\n", "PUSHED\n", "OTHER\n", "LATE\n"} {
				if strings.Contains(log, done) {
					t.Errorf("log shows %q:\n%s", done, log)
				}
			}
			for _, said := range []string{"no push, no other page of the host", "is lent to init alone"} {
				if !strings.Contains(log, said) {
					t.Errorf("log lacks %q:\n%s", said, log)
				}
			}
			unseen(t, log, o.Dir)
			if out, err := exec.Command("git", "-C", filepath.Join(f.repos, "acme/mod.git"), "log", "--format=%s").Output(); err != nil || string(out) != "first\n" {
				t.Errorf("the repository has %q, %v, want nothing pushed", out, err)
			}
		})
	}
}

// TestACredentialInTheEnvironmentIsSeen takes the wall away: what looks for the credential finds one that is there.
func TestACredentialInTheEnvironmentIsSeen(t *testing.T) {
	t.Parallel()
	e := open(t, local.Options{})
	s := executortest.Spec(t, "r1-plan-1")
	s.Env = append(s.Env, "WORK=/src/in/work")
	s.Steps = []executor.Step{unlent("init", show+"; cat $WORK/found")}
	begin(t, e, s, executor.Secrets{Env: []string{"GIT_CONFIG_VALUE_0=Authorization: " + lentBasic}})
	if _, log := executortest.Follow(t, e, s.Name); !strings.Contains(log, lentBasic) {
		t.Errorf("the attack does not find a credential in the environment:\n%s", log)
	}
}

const modules = `
locals {
  host = "HOST"
}
module "git" {
  source = "git::https://${local.host}/acme/mod.git?ref=v1"
}
module "ssh" {
  source = "git@git.example.com:acme/mod.git"
}
module "archive" {
  source = "https://HOST/acme/mod.tar.gz?archive=tar.gz"
}
module "registry" {
  source  = "REGISTRY/acme/net/any"
  version = "1.0.0"
}
output "hello" {
  value = [module.git.hello, module.ssh.hello, module.archive.hello, module.registry.hello]
}
output "environ" {
  value = try(replace(file("/proc/self/environ"), "\u0000", "\n"), "none")
}
output "authority" {
  value = try(file("/run/planlatch-lent.crt"), "none")
}
`

func TestTofuFetchesPrivateModulesOfEveryKind(t *testing.T) {
	t.Parallel()
	binary := pinned.Path(t, "tofu")
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]executor.NetworkMode{"None": executor.NetworkNone, "Open": executor.NetworkOpen} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newForge(t, host)
			dir := t.TempDir()
			e := open(t, local.Options{Dir: dir})
			s := tofuSpec(t, "r1-plan-1", binary)
			executortest.Write(t, filepath.Join(s.Source.Dir, "in/work/main.tf"), strings.NewReplacer(
				"HOST", strings.TrimPrefix(f.URL, "https://"), "REGISTRY", strings.TrimPrefix(f.byAddress, "https://")).Replace(modules))
			s.Network.Mode = mode
			s.Env = append(s.Env, "SSL_CERT_FILE="+f.roots, "WORK=/src/in/work")
			var values []string
			s.Lends, values = f.lends(executor.LendGit, executor.LendHTTPS)
			s.Lends, values = append(s.Lends, executor.Lend{Name: "registry", Kind: executor.LendHTTPS, URL: f.byAddress + "/acme/", Header: "Authorization"}), append(values, lentBasic)
			s.Steps = []executor.Step{
				{Label: "init", Argv: []string{binary, "init", "-no-color", "-input=false"}, Lent: true},
				{Label: "plan", Argv: []string{binary, "plan", "-no-color", "-input=false"}},
				unlent("after", show),
			}
			begin(t, e, s, executor.Secrets{Lent: values})
			r, log := executortest.Follow(t, e, s.Name)
			if !r.OK(3) || strings.Count(log, `"from acme/mod"`) < 4 {
				t.Errorf("result %+v, log:\n%s", r, log)
			}
			if !strings.Contains(log, "HOME=/tmp") {
				t.Errorf("the plan does not show its environment, so the test proves nothing:\n%s", log)
			}
			unseen(t, log, dir)
		})
	}
}

func TestAnotherPlaceOfTheHostIsNotReadByTofu(t *testing.T) {
	t.Parallel()
	binary := pinned.Path(t, "tofu")
	f := newForge(t, "127.0.0.1")
	for name, source := range map[string]string{"Git": "git::" + f.URL + "/other/mod.git", "Archive": f.URL + "/other/mod.tar.gz?archive=tar.gz"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t, local.Options{})
			s := tofuSpec(t, "r1-plan-1", binary)
			executortest.Write(t, filepath.Join(s.Source.Dir, "in/work/main.tf"), "module \"x\" {\n  source = \""+source+"\"\n}\n")
			s.Env = append(s.Env, "SSL_CERT_FILE="+f.roots)
			var values []string
			s.Lends, values = f.lends(executor.LendGit, executor.LendHTTPS)
			s.Steps = []executor.Step{{Label: "init", Argv: []string{binary, "init", "-no-color", "-input=false"}, Lent: true}}
			begin(t, e, s, executor.Secrets{Lent: values})
			if r, log := executortest.Follow(t, e, s.Name); r.OK(1) {
				t.Errorf("init fetched %s:\n%s", source, log)
			}
			if n := f.lent.Load(); n != 0 {
				t.Errorf("%d requests came with the credential", n)
			}
		})
	}
}

func TestLendsThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	git := executor.Lend{Name: "acme", Kind: executor.LendGit, URL: "https://git.example.com/acme/", Header: "Authorization"}
	https := git
	https.Kind = executor.LendHTTPS
	odd := git
	odd.InsteadOf = []string{"/"}
	for _, c := range []struct {
		name  string
		o     local.Options
		lend  executor.Lend
		value []string
		want  string
	}{
		{"NoSecret", local.Options{}, git, nil, "1 places and 0 secrets"},
		{"SecretOfTwoLines", local.Options{}, git, []string{"a\r\nb"}, "cannot be one"},
		{"InsteadOfAnything", local.Options{}, odd, []string{"a"}, "cannot stand for its url"},
		{"NoNamespace", local.Options{Sandbox: local.SandboxAuto, Bwrap: nowhere}, https, []string{"a"}, "acme is of kind https, which needs namespaces"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := executortest.Spec(t, "r1-plan-1", "true")
			s.Lends = []executor.Lend{c.lend}
			if err := open(t, c.o).Start(t.Context(), s, executor.Secrets{Lent: c.value}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Start() = %v, want an error with %q", err, c.want)
			}
		})
	}
}

func begin(t testing.TB, e executor.Executor, s executor.Spec, secrets executor.Secrets) {
	t.Helper()
	if err := e.Start(t.Context(), s, secrets); err != nil {
		t.Fatalf("Start(%s) = %v", s.Name, err)
	}
}
