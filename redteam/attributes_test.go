package redteam_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/runner"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

// Row 19: files that git itself obeys when a person checks a repository out, or makes an archive of it.

func attributeAttacks() []attack {
	return []attack{
		{
			Row: 19, Name: "attributes hide a file and write into another, beside odd names", Wall: "files as they were committed", Without: extraction, Quick: true,
			Try: func(w *world) []string {
				files := map[string]string{
					".gitattributes": "hidden.txt export-ignore\nwritten.txt export-subst\n*.txt ident\n* filter=evil diff=evil merge=evil\n",
					"hidden.txt":     "hidden", "written.txt": "$Format:by-%an$ $Id$",
					"main.tf": `output "hidden" {
  value = fileexists("hidden.txt") ? "as committed" : join("-", ["left", "out"])
}

output "written" {
  value = file("written.txt")
}

output "odd" {
  value = "${length(fileset(".", "odd/**"))} odd names"
}
`,
				}
				for _, name := range oddNames {
					files["odd/"+name] = "odd"
				}
				pull, head := w.propose(files)
				w.planned(pull, head)
				if s := w.summary(pull); !w.breached() && !strings.Contains(s, fmt.Sprint(len(oddNames), " odd names")) {
					w.Errorf("not all of %d odd names are there:\n%s", len(oddNames), s)
				}
				return w.spoils(pull, head, canary{"a file that was left out", "left-out"}, canary{"what git wrote into a file", "by-mallet"},
					canary{"an escape of a terminal", "\x1b]0;"}, canary{"a character that turns text around", "\u202e"})
			},
		},
		{
			Row: 19, Name: "submodules lie on a service of this machine", Wall: "nothing but the repository is fetched", Without: extraction,
			Try: func(w *world) []string {
				address, path := "http://"+w.server.trap.Addresses[0], "/"+w.name
				files := w.with(map[string]string{"main.tf": "output \"planned\" {\n  value = true\n}\n"})
				files[".gitmodules"] = "[submodule \"x\"]\n\tpath = " + w.dir + "/module\n\turl = " + address + path + "-module.git\n\tupdate = checkout\n"
				head := w.mallory.Commit(w, w.repo, vcstest.Change{
					Branch: w.name, Files: files, Modules: map[string]string{w.dir + "/module": strings.Repeat("1", 40)},
				})
				w.mallory.Open(w, w.repo, w.name, "main", "Modules")
				if got := w.ends(head, "planlatch/plan"); !w.breached() && got.State != vcs.StatusSuccess {
					w.Errorf("the plan ended %s: %s", got.State, got.Description)
				}
				return w.server.trap.caught(path + "-module")
			},
		},
		{
			Row: 19, Name: "large files lie on a service of this machine, whose git has git-lfs", Wall: "nothing but the repository is fetched", Without: extraction,
			Try: func(w *world) []string {
				path := "/" + w.name + "-large"
				pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("ab", 32) + "\nsize 12345\n"
				files := w.with(map[string]string{
					"main.tf":        "output \"large\" {\n  value = filesha256(\"large.bin\")\n}\n",
					".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n",
					"large.bin":      pointer,
				})
				files[".lfsconfig"] = "[lfs]\n\turl = http://" + w.server.trap.Addresses[0] + path + "\n" // git-lfs reads it at the top alone
				head := w.mallory.Commit(w, w.repo, vcstest.Change{Branch: w.name, Files: files})
				pull := w.mallory.Open(w, w.repo, w.name, "main", "Large files")
				w.planned(pull, head)
				if s := w.summary(pull); !w.breached() && !strings.Contains(s, fmt.Sprintf("%x", sha256.Sum256([]byte(pointer)))) {
					w.Errorf("the file of the run is not the pointer as it was committed:\n%s", s)
				}
				return w.server.trap.caught(path)
			},
		},
	}
}

// oddNames are names of files that are options, words of a shell, escapes of a terminal or short names of other file systems.
var oddNames = []string{
	"-rf", "--upload-pack=x", "$(touch x)", "`id`", "; reboot", "a\nb", "a\tb", "\x1b]0;title\x07", "with\u202ebidi", "CON", "a:b", "'\"", "ü", " x ",
	"@everyone", "%s%n", "..x", strings.Repeat("n", 250),
}

// archived has the sources of runs be what git makes of them when it is asked for a checkout with submodules and for an archive.
func archived(o *app.ServerOptions) func(*runner.Parts) {
	cfg, err := config.Load(o.Env[asServer], func(name string) (string, bool) { v, ok := o.Env[name]; return v, ok })
	if err != nil {
		panic(err)
	}
	return func(p *runner.Parts) {
		p.Exec = changed{p.Exec, func(s *executor.Spec) {
			if dir := filepath.Join(cfg.Data, "archive-"+string(s.Name)); checkOut(mirrorWith(cfg.Data, filepath.Base(s.Source.Dir)), filepath.Base(s.Source.Dir), dir) == nil {
				s.Source.Dir = filepath.Join(dir, "archive")
			}
		}}
	}
}

// mirrorWith is the mirror that has a tree.
func mirrorWith(data, tree string) string {
	mirrors, _ := filepath.Glob(filepath.Join(data, "mirrors", "*.git")) // the pattern is good
	for _, m := range mirrors {
		if run("git", "--git-dir="+m, "cat-file", "-e", tree) == nil {
			return m
		}
	}
	return ""
}

// checkOut checks a tree out as a person would, and archives it into dir/archive.
func checkOut(mirror, tree, dir string) error {
	return run("sh", "-c", `set -e
export GIT_AUTHOR_NAME=mallet GIT_AUTHOR_EMAIL=m@x.example GIT_COMMITTER_NAME=mallet GIT_COMMITTER_EMAIL=m@x.example GIT_TERMINAL_PROMPT=0
mkdir -p "$3/archive"
git clone -q --shared --no-checkout "$1" "$3/clone"
cd "$3/clone"
c=$(git commit-tree "$2" -m x)
git -c core.protectNTFS=false checkout -q "$c"
git submodule update --init >/dev/null 2>&1 || true
git archive "$c" | tar -x -C "$3/archive"`, "sh", mirror, tree, dir)
}

// run runs a program of the server without a wall.
func run(name string, args ...string) error {
	cmd := exec.CommandContext(context.Background(), name, args...)
	cmd.Stderr = os.Stderr
	return cmd.Run()
}
