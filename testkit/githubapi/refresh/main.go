// Refresh brings GitHub's published descriptions up to date: it fetches three npm packages, keeps of them what this repository speaks, and
// writes that, with the licences, where the tests read it. Only a developer who wants a newer description runs it; it needs npm.
//
//	go generate ./testkit/githubapi
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
)

// The packages, pinned; all three are published under the MIT licence.
const (
	openapiPackage  = "@octokit/openapi@23.0.2"
	examplesPackage = "@octokit/webhooks-examples@7.6.1"
	graphqlPackage  = "@octokit/graphql-schema@15.26.1"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "refresh:", err)
		stop()
		os.Exit(1) //nolint:gocritic // nothing else is deferred
	}
}

// run starts in testkit/githubapi, where go generate does.
func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "githubapi-")
	if err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // best effort: the system's temporary directory
	for _, step := range []struct {
		spec, file, licence string
		write               func(raw []byte) error
		notes               []string // the files that get the licence beside them
	}{
		{openapiPackage, "generated/api.github.com.json", "LICENSE", writeREST, []string{"testdata/LICENSE-rest"}},
		{graphqlPackage, "schema.graphql", "LICENSE.md", writeGraphQL, []string{"testdata/LICENSE-graphql"}},
		{examplesPackage, "api.github.com/index.json", "", writeExamples, nil},
	} {
		at, err := fetch(ctx, dir, step.spec)
		if err != nil {
			return err
		}
		raw, err := os.ReadFile(filepath.Join(at, step.file))
		if err != nil {
			return fmt.Errorf("%s: %w", step.spec, err)
		}
		if err := step.write(raw); err != nil {
			return fmt.Errorf("%s: %w", step.spec, err)
		}
		for _, note := range step.notes {
			text, err := os.ReadFile(filepath.Join(at, step.licence))
			if err != nil {
				return fmt.Errorf("%s: %w", step.spec, err)
			}
			if err := write(note, append([]byte("From the npm package "+step.spec+".\n\n"), text...)); err != nil {
				return err
			}
		}
	}
	return nil
}

// fetch unpacks an npm package and returns where it is.
func fetch(ctx context.Context, dir, spec string) (string, error) {
	pack := exec.CommandContext(ctx, "npm", "pack", "--silent", "--json", "--pack-destination", dir, spec)
	pack.Stderr = os.Stderr
	out, err := pack.Output()
	if err != nil {
		return "", fmt.Errorf("npm pack %s: %w", spec, err)
	}
	var packed []struct {
		Filename string `json:"filename"`
	}
	if err := json.Unmarshal(out, &packed); err != nil || len(packed) != 1 {
		return "", fmt.Errorf("npm pack %s: answer %q: %w", spec, out, err)
	}
	// npm writes scoped names with a slash where the file has a hyphen.
	file := strings.ReplaceAll(strings.TrimPrefix(packed[0].Filename, "@"), "/", "-")
	at := filepath.Join(dir, strings.TrimSuffix(file, ".tgz"))
	if err := os.Mkdir(at, 0o700); err != nil {
		return "", fmt.Errorf("unpack %s: %w", spec, err)
	}
	unpack := exec.CommandContext(ctx, "tar", "-xzf", filepath.Join(dir, file), "-C", at, "--strip-components=1")
	unpack.Stderr = os.Stderr
	if err := unpack.Run(); err != nil {
		return "", fmt.Errorf("unpack %s: %w", spec, err)
	}
	return at, nil
}

func write(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	return os.WriteFile(path, data, 0o644) //nolint:gosec // part of the repository
}
