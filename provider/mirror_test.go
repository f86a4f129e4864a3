package provider_test

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/executortest"
	"github.com/planlatch/planlatch/executor/local"
	"github.com/planlatch/planlatch/provider"
)

// networkMirror serves the archives of kit by the protocol of network mirrors, and counts how often one is asked for.
func networkMirror(t *testing.T) (server *httptest.Server, archives *atomic.Int64) {
	t.Helper()
	archives = &atomic.Int64{}
	archive := "terraform-provider-time_" + version + "_" + kit.platform + ".zip"
	server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		dir, file := path.Split(strings.TrimPrefix(r.URL.Path, "/mirror/"))
		switch {
		case !strings.HasSuffix(dir, "/hashicorp/time/"):
			http.NotFound(w, r)
		case file == "index.json":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"versions": {%q: {}}}`, version)
		case file == version+".json":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"archives": {%q: {"url": %q, "hashes": [%q]}}}`, kit.platform, archive, kit.zip)
		case file == archive:
			archives.Add(1)
			http.ServeFile(w, r, filepath.Join(kit.zips, filepath.FromSlash(dir), file))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server, archives
}

func TestANetworkMirrorIsAskedOncePerProvider(t *testing.T) {
	t.Parallel()
	if err := built(); err != nil {
		t.Fatal(err)
	}
	eachTool(t, func(t *testing.T, tool string) {
		server, archives := networkMirror(t)
		ca := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
			t.Fatal(err)
		}
		network := executor.Network{Mode: executor.NetworkNone, Allow: []string{server.Listener.Addr().String()}}
		b := setup(t, local.Options{}, func(o *provider.Options) {
			o.Mirror, o.Network = server.URL+"/mirror", network
			o.Environment, o.Binds = []string{"SSL_CERT_FILE=" + ca}, []executor.Bind{{Path: ca}}
		})
		lock := locked(tool, kit.zip)
		for range 3 { // in a network that reaches nothing: what is stored needs no mirror
			v := b.view(t, tool, lock)
			if r, log := executortest.Finish(t, b.exec, b.spec(t, tool, nil, lock, v)); !r.OK(1) {
				t.Fatalf("%+v; log:\n%s\nserver: %s", r, log, b.log.text.String())
			}
		}
		if n := archives.Load(); n != 1 {
			t.Errorf("the mirror gave the archive %d times, want once", n)
		}
		// Without a lock file the run asks by itself.
		s := b.spec(t, tool, nil, nil, b.view(t, tool, nil))
		s.Network, s.Env, s.Binds = network, append(s.Env, "SSL_CERT_FILE="+ca), append(s.Binds, executor.Bind{Path: ca})
		if r, log := executortest.Finish(t, b.exec, s); !r.OK(1) || archives.Load() != 2 {
			t.Errorf("%+v, %d archives, want one more; log:\n%s", r, archives.Load(), log)
		}
	})
}

func TestSweepRemovesWhatKilledFetchesLeft(t *testing.T) {
	t.Parallel()
	b := setup(t, local.Options{}, nil)
	stray := executortest.Spec(t, "providers-stray", "sleep 600")
	executortest.Start(t, b.exec, stray)
	other := executortest.Spec(t, "r9-plan-1", "true")
	if r, log := executortest.Finish(t, b.exec, other); !r.OK(1) {
		t.Fatalf("%+v; log:\n%s", r, log)
	}
	if err := b.Sweep(t.Context()); err != nil {
		t.Fatalf("Sweep() = %v", err)
	}
	if names, err := b.exec.List(t.Context()); err != nil || len(names) != 1 || names[0] != other.Name {
		t.Errorf("executions after Sweep() = %v, %v, want that of the run alone", names, err)
	}
}
