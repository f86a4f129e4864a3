package redteam_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/intake"
	"github.com/planlatch/planlatch/project"
	"github.com/planlatch/planlatch/runner"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

// Row 4: names that lead out of the repository: of directories, workspaces and projects, in planlatch.yaml and in comments, and symbolic links.

func pathAttacks() []attack {
	return []attack{
		{
			Row: 4, Name: "directories, workspaces and names in planlatch.yaml and comments lead out", Wall: "paths stay inside the repository", Without: paths,
			Quick: true,
			Try: func(w *world) (loot []string) {
				before := w.outside()
				pull, head := w.propose(map[string]string{
					"main.tf": `output "loot" {
  value = [for up in ["..", "../..", "../../..", "../../../..", "../../../../.."] : try(filebase64("${up}/canary"), "")]
}
`,
					"../planlatch.yaml": strings.ReplaceAll(`version: 1
projects:
  - {dir: ../../..}
  - {dir: /etc}
  - {dir: DIR, workspace: ../../x}
  - {dir: DIR, workspaces: [default, "a/b"]}
  - {dir: DIR, name: a/../b}
  - {dir: DIR, var_files: [../../../../canary]}
`, "DIR", w.dir),
				})
				if w.breached() {
					return w.spoils(pull, head, w.server.files)
				}
				if got := w.ends(head, "planlatch/plan"); got.State == vcs.StatusSuccess {
					loot = append(loot, "a planlatch.yaml that leads out is taken: "+got.Description)
				}
				until(w.T, "all that leads out to be named", func() (string, bool) {
					s := w.summary(pull)
					for line := 3; line <= 8; line++ {
						if !strings.Contains(s, fmt.Sprintf("planlatch.yaml:%d", line)) {
							return fmt.Sprintf("line %d is missing in\n%s", line, s), false
						}
					}
					return "", true
				})
				if s := w.answers(pull); s != "" {
					w.Errorf("besides one refusal there is\n%s", s)
				}
				w.tells(w.mallory, pull, "planlatch plan -p ../../x") // finds the same faults again, of which the summary tells
				for _, says := range []string{"-d ../..", "-w ../../x"} {
					before := w.answers(pull)
					w.tells(w.mallory, pull, "planlatch plan "+says)
					until(w.T, "an answer to "+says, func() (string, bool) { return before, w.answers(pull) != before })
				}
				for _, r := range w.server.runs(w.Context(), w.repo.Name) {
					if r.Dir == w.dir || !fs.ValidPath(r.Dir) {
						loot = append(loot, fmt.Sprintf("there is a run of %s in %s", r.Project, r.Dir))
					}
				}
				if w.outside() != before {
					loot = append(loot, "something outside changed")
				}
				return append(loot, w.spoils(pull, head, w.server.files)...)
			},
		},
		{
			Row: 4, Name: "symbolic links out of the repository, as files and as directories", Wall: "links stay inside the repository", Without: links,
			Try: func(w *world) (loot []string) {
				before := w.outside()
				files := w.with(map[string]string{"main.tf": `output "loot" {
  value = [for name in ["secret.txt", "up/canary", "data/canary", "sly/canary"] : try(filebase64(name), "")]
}
`})
				link := func(target string) string { return strings.ReplaceAll(target, "DATA", w.server.Data) }
				head := w.mallory.Commit(w, w.repo, vcstest.Change{Branch: w.name, Files: files, Links: map[string]string{
					w.dir + "/secret.txt": link("DATA/canary"), w.dir + "/data": link("DATA"), w.dir + "/up": "../../../..",
					w.dir + "/hop": "..", w.dir + "/sly": "hop/../../../..",
				}})
				pull := w.mallory.Open(w, w.repo, w.name, "main", "Links")
				if got := w.ends(head, "planlatch/plan"); got.State != vcs.StatusSuccess {
					w.Errorf("the plan ended %s: %s", got.State, got.Description)
				}
				loot = w.spoils(pull, head, w.server.files)
				if w.outside() != before {
					loot = append(loot, "something outside changed")
				}
				return loot
			},
		},
	}
}

// outside is a digest of what lies beside the data directory: names, modes, times and contents of files that no attack has business with.
func (w *world) outside() string {
	w.Helper()
	marker := filepath.Join(w.server.dir, "outside", w.name)
	if _, err := os.Stat(marker); err != nil {
		check(w.T, os.MkdirAll(filepath.Join(marker, "deep"), 0o700))
		check(w.T, os.WriteFile(filepath.Join(marker, "deep", "x"), []byte(w.name), 0o600))
		check(w.T, os.WriteFile(filepath.Join(marker, "x.tfstate"), []byte("{}"), 0o600))
	}
	sum := sha256.New()
	for _, root := range []string{marker, filepath.Join(w.server.dir, "server.yaml"), filepath.Join(w.server.Data, "canary")} {
		check(w.T, filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			fmt.Fprintln(sum, name, info.Mode(), info.ModTime().UnixNano(), info.Size())
			if d.IsDir() {
				return nil
			}
			text, err := os.ReadFile(name)
			sum.Write(text)
			return err
		}))
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// ruleless has a server read no rules from planlatch.yaml, and so refuse nothing in it.
func ruleless(in *intake.Intake) {
	in.Select = func(ctx context.Context, i project.Input) project.Selection {
		i.Head = without{i.Head, "planlatch.yaml"}
		return project.Select(ctx, i)
	}
}

// without hides a file.
type without struct {
	fs.FS
	name string
}

func (f without) Open(name string) (fs.File, error) {
	if name == f.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return f.FS.Open(name)
}

var firstDir = regexp.MustCompile(`dir: (\S+?)}`)

// joined shows to runs whatever directory planlatch.yaml names first, joined to where the source lies.
func joined(p *runner.Parts) {
	p.Exec = changed{p.Exec, func(s *executor.Spec) {
		text, _ := os.ReadFile(filepath.Join(s.Source.Dir, "planlatch.yaml")) // most have none
		if m := firstDir.FindSubmatch(text); m != nil {
			root := filepath.Join(s.Source.Dir, string(m[1]))
			work, _ := filepath.Rel(root, filepath.Join(s.Source.Dir, s.Source.Work)) // both are absolute
			s.Source = executor.Source{Dir: root, Work: work}
		}
	}}
}

// linked puts all symbolic links of a commit back, wherever they lead.
func linked(o *app.ServerOptions) func(*runner.Parts) {
	cfg, err := config.Load(o.Env[asServer], func(name string) (string, bool) { v, ok := o.Env[name]; return v, ok })
	if err != nil {
		panic(err)
	}
	return func(p *runner.Parts) {
		p.Exec = changed{p.Exec, func(s *executor.Spec) {
			tree := filepath.Base(s.Source.Dir)
			mirror := mirrorWith(cfg.Data, tree)
			list, _ := exec.CommandContext(context.Background(), "git", "--git-dir="+mirror, "ls-tree", "-r", tree).Output() // none: no links
			for line := range strings.Lines(string(list)) {
				about, name, _ := strings.Cut(strings.TrimSpace(line), "\t")
				words := strings.Fields(about)
				if len(words) != 3 || words[0] != "120000" {
					continue
				}
				target, _ := exec.CommandContext(context.Background(), "git", "--git-dir="+mirror, "cat-file", "blob", words[2]).Output()
				dir := filepath.Join(s.Source.Dir, path.Dir(name))
				_ = os.Chmod(dir, 0o755)                                            //nolint:gosec // a server without a wall
				_ = os.Symlink(string(target), filepath.Join(dir, path.Base(name))) // it may be there already
			}
		}}
	}
}
