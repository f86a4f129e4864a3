package runner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/planlatch/planlatch/facts"
	"github.com/planlatch/planlatch/run"
)

// backend is where a project keeps its state, as init resolved it and wrote it into .terraform/terraform.tfstate, and plan into the plan file.
type backend struct {
	Type   string         `json:"type"`
	Config map[string]any `json:"config"`

	Workspace string `json:"-"` // of a plan file; empty: not known
}

// readBackend reads what init wrote; no file means no backend block.
func readBackend(data []byte) (backend, error) {
	var file struct {
		Backend backend `json:"backend"`
	}
	if len(data) == 0 {
		return backend{}, nil
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return backend{}, fmt.Errorf("read the backend that init resolved: %w", err)
	}
	return file.Backend, nil
}

// remotePlan says whether a plan file is only a note of a plan that was made by the service behind a remote or cloud backend. Applying it would
// run there, with its credentials and not in our sandbox (semantics 24).
func remotePlan(plan []byte) bool {
	var note struct {
		Format *int `json:"remote_plan_format"`
	}
	return json.Unmarshal(plan, &note) == nil && note.Format != nil
}

// localExecution is how to have a workspace of a remote or cloud backend run where we can see it.
const localExecution = `set "Execution Mode" to "Local" in the settings of its workspace`

// forgets says whether nothing would remember what an apply creates: there is no backend, or the state is local and not inside a bind that
// runs may write.
func (r *Runner) forgets(g ground, b backend) bool {
	switch b.Type {
	case "":
		return true
	case "local":
		path, _ := b.Config["path"].(string)
		return !r.writable(g, path)
	}
	return false
}

func (r *Runner) writable(g ground, path string) bool {
	for _, b := range r.o.Binds(facts.Target(g.repo, g.run), "apply") {
		rel, err := filepath.Rel(b.Path, path)
		if b.Write && filepath.IsAbs(path) && err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
			return true
		}
	}
	return false
}

// places names, per backend, the settings that say where a state is. What says how to get there (credentials, profiles, retries) may
// differ between two projects that share one.
var places = map[string][]string{
	"azurerm":    {"storage_account_name", "container_name", "key"},
	"consul":     {"address", "datacenter", "path"},
	"cos":        {"bucket", "prefix", "key"},
	"gcs":        {"bucket", "prefix"},
	"http":       {"address"},
	"kubernetes": {"host", "namespace", "secret_suffix", "config_context"},
	"local":      {"path", "workspace_dir"},
	"oss":        {"bucket", "prefix", "key"},
	"pg":         {"conn_str", "schema_name"},
	"remote":     {"hostname", "organization", "workspaces"},
	"cloud":      {"hostname", "organization", "workspaces"},
	"s3":         {"bucket", "key", "workspace_key_prefix", "endpoint", "endpoints"},
}

// identity names the state that a workspace has in the backend: equal for two directories that share one. Of an unknown backend every
// setting counts, which at worst takes one state for two. It is a digest, since an address may have a name in it that is nobody's business.
func (b backend) identity(workspace string) string {
	at := map[string]any{}
	keys, known := places[b.Type]
	if !known {
		for k := range b.Config {
			keys = append(keys, k)
		}
	}
	for _, k := range keys {
		switch v := b.Config[k].(type) {
		case nil:
		case string:
			if v != "" {
				at[k] = spelled(v)
			}
		default:
			at[k] = v
		}
	}
	if workspace == "default" { // nothing of it lies where other workspaces do
		delete(at, "workspace_key_prefix")
		delete(at, "workspace_dir")
	}
	text, err := json.Marshal([]any{b.Type, workspace, at}) // maps are written in the order of their keys
	if err != nil {
		return ""
	}
	h := sha256.Sum256(text)
	return b.Type + ":" + hex.EncodeToString(h[:16])
}

// spelled takes user and password out of an address, and gives a path one of its spellings: whoever writes "a//b" means to pass for another.
func spelled(text string) string {
	if !strings.Contains(text, "://") {
		return path.Clean(text)
	}
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	u.User = nil
	return u.String()
}

// identify remembers which state a project has, so that no other one with the same state runs beside it (semantics 6).
func (r *Runner) identify(ctx context.Context, of run.Run, identity string) error {
	if identity == "" {
		return nil
	}
	_, err := r.Store.SaveProjects(ctx, []run.Project{{Repo: of.Repo, Dir: of.Dir, Workspace: of.Work, Label: of.Label, Identity: identity}})
	if err != nil {
		return fmt.Errorf("remember where the state is: %w", err)
	}
	return nil
}

// beside names the other projects that keep their state where a planned one does. Of the same repository, those whose directory its source
// still has: a moved one left its old place.
func (r *Runner) beside(ctx context.Context, g ground) ([]string, error) {
	twins, err := r.Store.Twins(ctx, g.run.Project)
	if err != nil || len(twins) == 0 {
		return nil, err
	}
	root, err := os.OpenRoot(g.tree)
	if err != nil {
		return nil, fmt.Errorf("open the source: %w", err)
	}
	defer func() { _ = root.Close() }() // read only
	var names []string
	elsewhere := 0
	for _, t := range twins {
		if t.Repo != g.run.Repo {
			elsewhere++
		} else if _, err := root.Stat(t.Dir); err == nil {
			names = append(names, t.Label)
		}
	}
	if elsewhere > 0 { // what it is called may be nobody's business here
		names = append(names, "a project of another repository")
	}
	return names, nil
}
