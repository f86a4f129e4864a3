package app_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDoctorProvesTheNetwork(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	const gone = "127.0.0.1:1" // one that was free a moment ago may be somebody's now
	const held = "attempts to reach this machine and metadata services failed"
	for name, c := range map[string]struct {
		text  string
		env   string
		wants []string
	}{
		"Open": {"execution: {network: {mode: open}}", "", []string{"ok    network        execution.network: mode open: ", held}},
		"AllowList": {
			"execution: {network: {mode: allow_list, allow: [\"" + l.Addr().String() + "\", \"" + gone + "\", \"*.example.com\"]}}\nrepos: [{match: gitea/acme/infra, network: {mode: none}}]", "",
			[]string{
				"ok    network        execution.network: mode allow_list: ", held + ", 1 allowed targets answer",
				"warn  network        execution.network: mode allow_list: the allowed target " + gone + " does not answer: " + gone + " could not be reached: it refused the connection",
				"ok    network        repos[0].network: mode none: ",
			},
		},
		"Proxy": {"execution: {network: {mode: none}}", "http://user:geheim@127.0.0.1:3128", []string{"runs are given the proxy 127.0.0.1:3128, which network.allow does not have"}},
		"ProxyThatIsAllowed": {
			"execution: {network: {mode: allow_list, allow: [\"" + l.Addr().String() + "\"]}}", "http://" + l.Addr().String(),
			[]string{"they reach whatever it reaches"},
		},
		"Off": {"execution: {sandbox: off}", "", []string{"warn  network        execution.network: mode open is not held"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := filepath.Join(dir, "server.yaml")
			if err := os.WriteFile(file, []byte(strings.ReplaceAll(good, "DATA", dir)+"\n"+c.text+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			env := map[string]string{"PATH": os.Getenv("PATH")}
			if c.env != "" {
				env["HTTPS_PROXY"] = c.env
			}
			_, out, errs := run(t, env, "doctor", "--config", file)
			for _, want := range c.wants {
				if !strings.Contains(out, want) {
					t.Errorf("doctor does not say %q:\n%s%s", want, out, errs)
				}
			}
			if strings.Contains(out+errs, "geheim") || strings.Contains(out, "FAIL  network") {
				t.Errorf("doctor says:\n%s", out)
			}
		})
	}
}
