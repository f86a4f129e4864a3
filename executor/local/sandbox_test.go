package local_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/executortest"
	"github.com/planlatch/planlatch/executor/local"
)

// walled are the sandboxes that promise walls, with namespaces and without.
func walled() map[string]local.Options {
	return map[string]local.Options{"Namespaces": {}, "LandlockAlone": {Sandbox: local.SandboxAuto, Bwrap: nowhere}}
}

func TestSecretsOfTheServerAreOutOfReach(t *testing.T) {
	t.Parallel()
	const canary = "canary-3f9d"
	for name, o := range walled() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := t.TempDir()
			o.Dir, o.Shim = filepath.Join(data, "executions"), builtShim(t)
			executortest.Write(t, filepath.Join(data, "server.yaml"), "secret: "+canary)
			executortest.Write(t, filepath.Join(o.Dir, "runs/r0-plan-1/launch.json"), canary)
			s := executortest.Spec(t, "r1-plan-1", fmt.Sprintf(`
				cat /proc/*/environ /proc/*/task/*/environ 2>/dev/null | tr '\0' '\n'
				cat %[1]s/server.yaml %[1]s/executions/runs/*/launch.json ../../../executions/runs/*/launch.json 2>/dev/null
				cat /proc/*/root%[1]s/server.yaml /proc/*/cwd/../server.yaml 2>/dev/null
				ls %[1]s 2>/dev/null; cat /etc/shadow 2>/dev/null; ls /root /home 2>/dev/null
				echo x >%[1]s/made; echo x >/usr/made; echo x >/etc/made; echo x >/made; echo x >../beside/file; mkdir /src/made
				mount -t tmpfs x /usr; unshare -U true; kill -9 -1 %[2]d
				strings /proc/[0-9]*/mem 2>/dev/null; true`, data, os.Getpid()))
			// What each step may see of the secrets of its own run is its own environment.
			first := startServer(t, order{Options: o, Spec: s, Secrets: executor.Secrets{Env: []string{"OWN=own-secret"}}}, "CANARY="+canary, "PATH=/usr/bin:/bin")
			first.waitFor(t, "started")
			_, log := executortest.Follow(t, open(t, o), s.Name)
			for _, leaked := range []string{canary, "server.yaml", "root:*", "root:!", "root:$"} {
				if strings.Contains(log, leaked) {
					t.Errorf("log shows %q:\n%s", leaked, log)
				}
			}
			if !strings.Contains(log, "own-secret") {
				t.Errorf("log lacks the run's own environment, so the test proves nothing:\n%s", log)
			}
			for _, path := range []string{filepath.Join(data, "made"), "/usr/made", "/etc/made", "/made"} {
				if _, err := os.Stat(path); err == nil {
					t.Errorf("%s was written", path)
				}
			}
			if got, err := os.ReadFile(filepath.Join(s.Source.Dir, "in/beside/file")); err != nil || string(got) != "beside\n" {
				t.Errorf("shared source = %q, %v", got, err)
			}
		})
	}
}

func TestSecretsAreInNoFileAndNoHelper(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]local.Options{"Namespaces": {}, "None": {Sandbox: local.SandboxAuto, Bwrap: nowhere}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.Dir = t.TempDir()
			secretsInNoFile(t, o, "geheim-71c2-"+name)
		})
	}
}

func secretsInNoFile(t *testing.T, o local.Options, secret string) {
	e := open(t, o)
	s := executortest.Spec(t, "r1-plan-1", `grep -q . "$KEY" && echo ready; while ! [ -e go ]; do sleep 0.02; done`)
	executortest.StartWith(t, e, s, executor.Secrets{
		Env: []string{"TOKEN=" + secret}, Files: []executor.SecretFile{{Variable: "KEY", Content: []byte(secret)}},
	})
	executortest.WaitLog(t, e, s.Name, "ready\n")
	secretOnNoDisk(t, o.Dir, secret)
	holders := 0
	proc, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range proc {
		comm, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "comm")) // gone in the meantime: nothing to see
		for _, file := range []string{path, filepath.Join(filepath.Dir(path), "cmdline")} {
			if body, _ := os.ReadFile(file); strings.Contains(string(body), secret) {
				holders++
				if name := strings.TrimSpace(string(comm)); name != "sh" && name != "sleep" {
					t.Errorf("%s of %q shows the secret", filepath.Base(file), name)
				}
			}
		}
	}
	if holders == 0 {
		t.Error("no process has the secret, so the test proves nothing")
	}
	if err := e.Cancel(t.Context(), s.Name, true); err != nil {
		t.Fatal(err)
	}
	executortest.Follow(t, e, s.Name)
	secretOnNoDisk(t, o.Dir, secret)
}

// secretOnNoDisk looks for a secret in every file below dir, and for the files of secrets where only a sandbox has them.
func secretOnNoDisk(t *testing.T, dir, secret string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		body, err := os.ReadFile(path)
		if strings.Contains(string(body), secret) {
			t.Errorf("%s holds the secret", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/run/planlatch-secrets"); err == nil {
		t.Error("/run/planlatch-secrets is on this machine")
	}
}

func TestSourceThroughLinks(t *testing.T) {
	t.Parallel()
	e := open(t, local.Options{})
	outside := t.TempDir()
	executortest.Write(t, filepath.Join(outside, "work/secret"), "server")
	t.Run("WorkDirectoryBehindALinkIsRefused", func(t *testing.T) {
		t.Parallel()
		for i, link := range []string{"in", "in/work"} {
			s := executortest.Spec(t, executor.Name(fmt.Sprintf("r%d-plan-1", i)), "cat secret")
			if err := os.RemoveAll(filepath.Join(s.Source.Dir, link)); err != nil {
				t.Fatal(err)
			}
			target := outside
			if link == "in/work" {
				target = filepath.Join(outside, "work")
			}
			if err := os.Symlink(target, filepath.Join(s.Source.Dir, link)); err != nil {
				t.Fatal(err)
			}
			if err := e.Start(t.Context(), s, executor.Secrets{}); err == nil || !strings.Contains(err.Error(), "symbolic link") {
				t.Errorf("Start() with %s as a link = %v, want a refusal", link, err)
			}
		}
	})
	t.Run("LinksInTheSourceLeadNowhere", func(t *testing.T) {
		t.Parallel()
		s := executortest.Spec(t, "r8-plan-1", "cat link/secret beside/secret ../up/secret; cat dots/etc/hostname; true")
		for name, target := range map[string]string{
			"in/work/link": filepath.Join(outside, "work"), "in/up": filepath.Join(outside, "work"), "in/work/beside": "../up", "in/work/dots": "../../../..",
		} {
			if err := os.Symlink(target, filepath.Join(s.Source.Dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		if _, log := executortest.Finish(t, e, s); strings.Contains(log, "server") {
			t.Errorf("log = %q, want nothing from outside", log)
		}
	})
	t.Run("InputIsNotLaidThroughALink", func(t *testing.T) {
		t.Parallel()
		s := executortest.Spec(t, "r9-plan-1", "true")
		if err := os.Symlink(outside, filepath.Join(s.Source.Dir, "in/work/out")); err != nil {
			t.Fatal(err)
		}
		s.Inputs = []executor.File{{Name: "out/planted", Path: "/etc/hostname"}}
		if err := e.Start(t.Context(), s, executor.Secrets{}); err == nil {
			t.Error("Start() with an input behind a link = nil, want a refusal")
		}
		if _, err := os.Stat(filepath.Join(outside, "planted")); err == nil {
			t.Error("the input was written outside")
		}
	})
}

func TestBinds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := open(t, local.Options{Dir: filepath.Join(dir, "executions")})
	read, write := t.TempDir(), t.TempDir()
	executortest.Write(t, filepath.Join(read, "file"), "shown\n")
	s := executortest.Spec(t, "r1-plan-1", fmt.Sprintf("cat %[1]s/file; echo x >%[1]s/made; echo state >%[2]s/made; true", read, write))
	s.Binds = []executor.Bind{{Path: read}, {Path: write, Write: true}}
	if _, log := executortest.Finish(t, e, s); !strings.HasPrefix(log, "shown\n") {
		t.Errorf("log = %q", log)
	}
	if _, err := os.Stat(filepath.Join(read, "made")); err == nil {
		t.Error("a read-only bind was written")
	}
	if got, err := os.ReadFile(filepath.Join(write, "made")); err != nil || string(got) != "state\n" {
		t.Errorf("writable bind = %q, %v", got, err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for i, path := range []string{"/", "/proc", "/dev/null", "/src/x", dir, filepath.Join(dir, "executions/runs"), link, "relative", "/usr/../etc"} {
		s := executortest.Spec(t, executor.Name(fmt.Sprintf("r2-plan-%d", i)), "true")
		s.Binds = []executor.Bind{{Path: path}}
		if err := e.Start(t.Context(), s, executor.Secrets{}); err == nil || !strings.Contains(err.Error(), "bind") {
			t.Errorf("Start() with bind %s = %v, want a refusal", path, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	t.Run("RequiredWithoutNamespacesNamesTheFix", func(t *testing.T) {
		t.Parallel()
		e := open(t, local.Options{Bwrap: nowhere})
		s := executortest.Spec(t, "r1-plan-1", "true")
		if err := e.Start(t.Context(), s, executor.Secrets{}); err == nil || !strings.Contains(err.Error(), "install bubblewrap") {
			t.Errorf("Start() = %v, want a refusal that names the fix", err)
		}
		// A bubblewrap that cannot make namespaces says so itself.
		broken := filepath.Join(t.TempDir(), "bwrap")
		if err := os.WriteFile(broken, []byte("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		err := open(t, local.Options{Bwrap: broken}).Refusal(t.Context())
		if err == nil || !strings.Contains(err.Error(), "No permissions to create new namespace") || !strings.Contains(err.Error(), "user namespaces") {
			t.Errorf("Refusal() = %v, want the reason and the fix", err)
		}
	})
	t.Run("OpenNetworkWithoutAStack", func(t *testing.T) {
		t.Parallel()
		s := executortest.Spec(t, "r1-plan-1", "wc -l </proc/net/dev")
		s.Network.Mode = executor.NetworkOpen
		err := open(t, local.Options{Slirp: nowhere}).Start(t.Context(), s, executor.Secrets{})
		if err == nil || !strings.Contains(err.Error(), "install slirp4netns") || !strings.Contains(err.Error(), "network.mode") {
			t.Errorf("Start() = %v, want a refusal that names the fix", err)
		}
		if _, log := executortest.Finish(t, open(t, local.Options{Slirp: nowhere, Sandbox: local.SandboxAuto}), s); log != "3\n" {
			t.Errorf("auto shows %q lines of interfaces, want the heading and loopback: never silently open", log)
		}
	})
	t.Run("DirectoryThatEveryRunCanRead", func(t *testing.T) {
		t.Parallel()
		if os.Getuid() != 0 {
			return // an ordinary user can make no directory there
		}
		dir := "/usr/local/share/planlatch-test-" + fmt.Sprint(os.Getpid())
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		if _, err := local.New(local.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "move the data directory") {
			t.Errorf("New(%s) = %v, want a refusal", dir, err)
		}
	})
	t.Run("UnknownSandbox", func(t *testing.T) {
		t.Parallel()
		if _, err := local.New(local.Options{Dir: t.TempDir(), Sandbox: "some"}); err == nil {
			t.Error("New() with an unknown sandbox = nil error")
		}
	})
}

func TestWalls(t *testing.T) {
	t.Parallel()
	names := func(walls []local.Wall) (names string) {
		for _, w := range walls {
			names += fmt.Sprintf("%s:%v ", w.Name, w.Force)
			if w.Detail == "" || (w.Fix == "") != w.Force {
				t.Errorf("wall %+v: want a detail, and a fix exactly when it is not in force", w)
			}
		}
		return names
	}
	if got := names(open(t, local.Options{}).Walls(t.Context())); !strings.HasPrefix(got, "namespaces:true landlock:true seccomp:true network:true limits:") {
		t.Errorf("Walls() = %s, want all that this machine has", got)
	}
	got := names(open(t, local.Options{Sandbox: local.SandboxAuto, Bwrap: nowhere}).Walls(t.Context()))
	if !strings.HasPrefix(got, "namespaces:false landlock:true seccomp:true network:false limits:") {
		t.Errorf("Walls() without bubblewrap = %s", got)
	}
	if got := names(open(t, local.Options{Sandbox: local.SandboxOff}).Walls(t.Context())); !strings.HasPrefix(got, "namespaces:false landlock:false seccomp:false network:false") {
		t.Errorf("Walls() with the sandbox off = %s", got)
	}
}

func TestOwnProgramServesAsShim(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range walled() {
		o.Dir, o.Shim = t.TempDir(), self
		if r, log := executortest.Finish(t, open(t, o), executortest.Spec(t, "r1-plan-1", "echo hello")); !r.OK(1) || log != "hello\n" {
			t.Errorf("%s: result %+v, log %q", name, r, log)
		}
	}
}

func TestInside(t *testing.T) {
	t.Parallel()
	s := executortest.Spec(t, "01arz3ndektsv4rrffq69g5fav-plan-2", "hostname; pwd; stat -c '%Y %a' file script; whoami; cat /etc/shadow; ls /tmp; echo x >/tmp/x && cat /tmp/x; true")
	if err := os.WriteFile(filepath.Join(s.Source.Dir, "in/work/script"), nil, 0o700); err != nil {
		t.Fatal(err)
	}
	_, log := executortest.Finish(t, open(t, local.Options{}), s)
	want := "planlatch-01arz3ndektsv4rrffq69g5fav\n/src/in/work\n946684800 644\n946684800 755\nplanlatch\n" +
		"cat: /etc/shadow: No such file or directory\nx\n"
	if log != want {
		t.Errorf("log = %q, want %q", log, want)
	}
}

// speaker listens on addr and says hello to everyone.
func speaker(t *testing.T, addr string) (port string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "hello")
			_ = c.Close()
		}
	}()
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// dialer is a Spec that dials each address from inside.
func dialer(t *testing.T, n executor.Name, addrs ...string) executor.Spec {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := executortest.Spec(t, n)
	s.Binds = []executor.Bind{{Path: self}}
	s.Steps = []executor.Step{{Label: "dial", Argv: append([]string{self, "__program", "dial"}, addrs...)}}
	s.Limits.Wall = executortest.Patience
	return s
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	allowed, beside := speaker(t, "127.0.0.1:0"), speaker(t, "127.0.0.1:0")
	own := ""
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLoopback() && ip.IP.To4() != nil {
			own = ip.IP.String()
		}
	}
	if own == "" {
		t.Fatal("this machine has no address but loopback")
	}
	everywhere := speaker(t, "0.0.0.0:0")
	check := func(t *testing.T, e *local.Executor, s executor.Spec, want map[string]string) {
		t.Helper()
		r, log := executortest.Finish(t, e, s)
		for addr, text := range want {
			line := ""
			for l := range strings.Lines(log) {
				if strings.HasPrefix(l, addr+": ") {
					line = l
				}
			}
			if !strings.Contains(line, text) {
				t.Errorf("%s: got %q, want %q; result %+v", addr, line, text, r)
			}
		}
	}
	const closed, gone = "connect", "unreachable"
	for _, mode := range []executor.NetworkMode{executor.NetworkNone, executor.NetworkOpen} {
		t.Run("AllowedTargetAnswersAndThePortBesideIsRefused/"+string(mode), func(t *testing.T) {
			t.Parallel()
			s := dialer(t, "r1-plan-1", "127.0.0.1:"+allowed, "localhost:"+allowed, "127.0.0.1:"+beside, own+":"+everywhere, own+":"+beside)
			s.Network = executor.Network{Mode: mode, Allow: []string{"localhost:" + allowed, own + ":" + everywhere}}
			check(t, open(t, local.Options{}), s, map[string]string{
				"127.0.0.1:" + allowed: "said hello", "localhost:" + allowed: "said hello", "127.0.0.1:" + beside: "refused",
				own + ":" + everywhere: "said hello", own + ":" + beside: "refused",
			})
		})
	}
	t.Run("OpenClosesMetadataLoopbackAndOurAddresses", func(t *testing.T) {
		t.Parallel()
		s := dialer(t, "r1-plan-1", "127.0.0.1:"+everywhere, own+":"+everywhere, "10.0.2.2:"+everywhere, "169.254.169.254:80", "100.100.100.200:80", "[fd00:ec2::254]:80")
		s.Network.Mode = executor.NetworkOpen
		check(t, open(t, local.Options{}), s, map[string]string{
			"127.0.0.1:" + everywhere: "refused", own + ":" + everywhere: "no route", "10.0.2.2:" + everywhere: closed,
			"169.254.169.254:80": "no route", "100.100.100.200:80": "no route", "[fd00:ec2::254]:80": closed,
		})
	})
	t.Run("NoneHasNothing", func(t *testing.T) {
		t.Parallel()
		s := dialer(t, "r1-plan-1", "127.0.0.1:"+everywhere, own+":"+everywhere, "192.0.2.77:80")
		check(t, open(t, local.Options{}), s, map[string]string{
			"127.0.0.1:" + everywhere: "refused", own + ":" + everywhere: gone, "192.0.2.77:80": gone,
		})
	})
	t.Run("NoneWithoutNamespacesBoundsPorts", func(t *testing.T) {
		t.Parallel()
		e := open(t, local.Options{Sandbox: local.SandboxAuto, Bwrap: nowhere})
		s := dialer(t, "r1-plan-1", "127.0.0.1:"+allowed, "127.0.0.1:"+beside)
		s.Network.Allow = []string{"127.0.0.1:" + allowed}
		check(t, e, s, map[string]string{"127.0.0.1:" + allowed: "said hello", "127.0.0.1:" + beside: "permission denied"})
		s = dialer(t, "r2-plan-1", "127.0.0.1:"+allowed)
		check(t, e, s, map[string]string{"127.0.0.1:" + allowed: "address family not supported"})
	})
}
