package app

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/local"
)

// What a plan of a work tree gets of its owner's environment: what the backends and providers of most people read, and the way out to the
// network. Names that end in * are prefixes.
var passedNames = []string{
	"AWS_*", "GOOGLE_*", "ARM_*", "KUBE*", "VAULT_*", "TF_VAR_*", "TF_TOKEN_*",
	"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
}

// ownNames are what every run gets from us.
var ownNames = []string{
	"PATH", "HOME", "TMPDIR", "TF_IN_AUTOMATION", "TF_INPUT", "CHECKPOINT_DISABLE", "TF_CLI_CONFIG_FILE", "TF_WORKSPACE", "TF_DATA_DIR", "TF_CLI_ARGS*",
	"TF_PLUGIN_CACHE_DIR", "TF_REATTACH_PROVIDERS",
}

func named(name string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		prefix, ok := strings.CutSuffix(p, "*")
		return p == name || ok && strings.HasPrefix(name, prefix)
	})
}

// The words that tell a secret by the name of its variable, and the ends of names that hold none. Where neither is found, a variable of
// the code (TF_VAR_) is plain, because code marks those that are secret, and everything else is a secret.
var (
	secretWords = []string{"KEY", "SECRET", "TOKEN", "PASS", "PWD", "CREDENTIAL", "AUTH", "PRIVATE", "SAS", "CERT", "SIGNATURE"}
	plainEnds   = []string{
		"_REGION", "_ZONE", "_PROFILE", "_PROJECT", "_LOCATION", "_ADDR", "_NAMESPACE", "_FILE", "_DIR", "_PATH", "_PATHS", "_ENVIRONMENT", "_ARN", "_CTX", "_CONTEXT", "_HOST", "_PORT",
		"KUBECONFIG", "NO_PROXY",
	}
)

// secretName says whether the value of a variable is withheld from everything that is printed.
func secretName(name string) bool {
	name = strings.ToUpper(name)
	if slices.ContainsFunc(plainEnds, func(end string) bool { return strings.HasSuffix(name, end) }) {
		return false
	}
	if slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(name, word) }) {
		return true
	}
	return !strings.HasPrefix(name, "TF_VAR_")
}

// handed is what a plan gets of its owner's environment, as NAME=value.
type handed struct{ values, secrets []string }

// handOver picks what passes by itself, and what was named.
func handOver(env map[string]string, named_ []string) (handed, error) {
	var h handed
	for _, name := range named_ {
		switch _, there := env[name]; {
		case named(name, ownNames):
			return h, usage(fmt.Errorf("--env %s: every plan gets its own %s", name, name))
		case !there:
			return h, usage(fmt.Errorf("--env %s: there is no such variable; set and export it first", name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		switch pair := name + "=" + env[name]; {
		case !named(name, passedNames) && !slices.Contains(named_, name):
		case secretName(name):
			h.secrets = append(h.secrets, pair)
		default:
			h.values = append(h.values, pair)
		}
	}
	return h, nil
}

// without leaves out what something else sets.
func (h handed) without(names map[string]bool) handed {
	drop := func(pairs []string) []string {
		return slices.DeleteFunc(slices.Clone(pairs), func(pair string) bool {
			name, _, _ := strings.Cut(pair, "=")
			return names[name]
		})
	}
	return handed{drop(h.values), drop(h.secrets)}
}

// unseen lists variables that name a file which a plan cannot see.
func (h handed) unseen(binds []executor.Bind) []string {
	var out []string
	for _, pair := range slices.Concat(h.values, h.secrets) {
		name, path, _ := strings.Cut(pair, "=")
		if !filepath.IsAbs(path) || local.Visible(filepath.Clean(path)) {
			continue
		}
		if _, err := os.Stat(path); err != nil || slices.ContainsFunc(binds, func(b executor.Bind) bool { return below(path, b.Path) }) {
			continue
		}
		out = append(out, fmt.Sprintf("%s names a file that plans cannot see; add --bind %s", name, path))
	}
	return out
}

// below says whether a path is dir or lies in it.
func below(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// bindsOf reads --bind PATH and --bind PATH:rw.
func bindsOf(texts []string, home, dir string) ([]executor.Bind, error) {
	var binds []executor.Bind
	for _, text := range texts {
		path, write := strings.CutSuffix(text, ":rw")
		if rest, ok := strings.CutPrefix(path, "~/"); ok && home != "" {
			path = filepath.Join(home, rest)
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		path = filepath.Clean(path)
		if _, err := os.Stat(path); err != nil {
			return nil, usage(fmt.Errorf("--bind %s: %w", text, err))
		}
		binds = append(binds, executor.Bind{Path: path, Write: write})
	}
	return binds, nil
}
