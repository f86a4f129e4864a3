package e2e_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

// private calls a module of a private repository, by an address that the change computes, and shows all that it can find of a token.
const private = `
locals {
  from = "git::%[1]s/%[2]s.git?ref=main"
}
module "private" {
  source = local.from
}
output "found" {
  value = [module.private.word, [for f in ["/proc/self/environ", "/proc/1/environ", "/tmp/.gitconfig", "/tmp/.netrc", "/etc/gitconfig",
    ".terraform/modules/private/.git/config", "/etc/hosts"] : try(filebase64(f), "none")]]
}
output "environment" {
  value = replace(try(file("/proc/self/environ"), "none"), "\u0000", "\n")
}
`

func TestAPrivateModuleIsPlannedAndItsTokenSeenByNobody(t *testing.T) {
	t.Parallel()
	w := begin(t, nil, rules{})
	modules := w.host.Repo(t, true)
	w.host.Grant(t, modules, w.bob, vcs.PermissionWrite)
	w.bob.Commit(t, modules, vcstest.Change{Branch: "main", Files: map[string]string{"main.tf": "output \"word\" {\n  value = \"from-a-private-module\"\n}\n"}, Message: "word"})
	account := w.host.Account()
	code := merged(network("net", "v1"), map[string]string{"net/private.tf": fmt.Sprintf(private, account.URL, modules.Name)})
	pull, _ := w.propose("without", code)
	w.shows(pull, "failed")

	w.stop()
	path := filepath.Join(w.dir, "server.yaml")
	yaml, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	owner, _, _ := strings.Cut(modules.Name, "/")
	yaml = fmt.Appendf(yaml, "module_credentials:\n  - {name: modules, url: %q, token: %q, projects: [\"//net\"]}\n", account.URL+"/"+owner+"/", account.Token)
	if err := os.WriteFile(path, yaml, 0o600); err != nil {
		t.Fatal(err)
	}
	w.restart()
	w.tells(w.alice, pull, "planlatch plan")
	w.shows(pull, "from-a-private-module", "TF_IN_AUTOMATION")
	basic := base64.StdEncoding.EncodeToString([]byte("x-access-token:" + account.Token))
	secrets := []string{account.Token, base64.StdEncoding.EncodeToString([]byte(account.Token)), basic, base64.StdEncoding.EncodeToString([]byte(basic))}
	w.hides(pull, append(secrets, "(redacted)")) // nothing had to be withheld: it was not there
	err = filepath.WalkDir(filepath.Join(w.dir, "data"), func(path string, entry os.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the server works
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		body, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // as above
		}
		for _, s := range secrets {
			if strings.Contains(string(body), s) {
				t.Errorf("%s holds the token", path)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
