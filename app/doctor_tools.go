package app

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/tool"
)

func (d *doctor) tools(ctx context.Context, cfg *config.Config) {
	finder, err := openTools(cfg, d.t.env)
	if err != nil {
		d.bad("tools", err, "")
		return
	}
	found, err := finder.Resolve(ctx, tool.Want{})
	if err != nil {
		d.bad("tools", err, "")
		return
	}
	d.good("tools", "%s %s at %s is what a project that asks for nothing gets", found.Name, found.Version, found.Path)
	all, err := finder.Available(ctx)
	if err != nil {
		d.bad("tools", err, "")
		return
	}
	names := make([]string, len(all))
	for n, t := range all {
		names[n] = t.String()
	}
	missing := "other versions are downloaded from their publishers"
	switch {
	case !cfg.Tools.Download:
		missing = "nothing else is downloaded"
	case cfg.Tools.Mirror != "":
		missing = "other versions are downloaded from " + cfg.Tools.Mirror
	}
	d.good("tools", "here: %s; %s", strings.Join(names, ", "), missing)
	if cfg.Tools.Download && cfg.Tools.Mirror != "" {
		d.mirror(ctx, finder)
	}
	d.weak(all)
}

// weak warns of versions that a hostile repository can use.
func (d *doctor) weak(all []tool.Tool) {
	for _, t := range all {
		for _, a := range t.Advisories() {
			d.warn("tools", fmt.Sprintf("%s at %s has %s: %s", t, t.Path, a.ID, a.What), "use "+a.Fix+" or later and keep it out with tools.allow")
		}
	}
}

// mirror asks the mirror of releases what it has.
func (d *doctor) mirror(ctx context.Context, finder *tool.Finder) {
	for _, name := range []string{"tofu", "terraform"} {
		newest, err := finder.Published(ctx, name)
		if err != nil {
			d.warn("tools.mirror", err.Error(), "serve "+name+"/ there as docs/tools.md says, if a project needs it")
			continue
		}
		d.good("tools.mirror", "the newest allowed version there is %s", newest)
	}
}

// providers looks where runs get their providers.
func (d *doctor) providers(ctx context.Context, cfg *config.Config) {
	from := cfg.Tools.ProviderMirror
	switch {
	case from == "":
		d.good("providers", "come from the registries that the code names")
	case !strings.Contains(from, "://"):
		if _, err := os.ReadDir(from); err != nil {
			d.bad("providers", fmt.Errorf("tools.provider_mirror: %w", err), "make the directory, laid out as host/namespace/type, or remove the key")
			return
		}
		d.good("providers", "that %s has come from there, others from their registries", from)
	default:
		if err := reachable(ctx, from); err != nil {
			d.bad("providers", fmt.Errorf("tools.provider_mirror: %w", err), "")
			return
		}
		d.good("providers", "come from %s, which answers", from)
	}
}

// reachable says whether something answers at a URL, whatever it says.
func reachable(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}
