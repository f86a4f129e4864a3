package tool

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/hc-install/product"
	"golang.org/x/sync/singleflight"

	"github.com/planlatch/planlatch/flock"
)

// Download says where versions come from that neither the machine nor the cache has. The zero value takes them from where they are
// published, and trusts the keys they are signed with there.
type Download struct {
	Mirror  string            // base URL: <mirror>/terraform/… as releases.hashicorp.com, <mirror>/tofu/… as a tofudl mirror; empty: the publishers
	Keys    map[string]string // name → armored public key, instead of the publisher's; for tests
	Timeout time.Duration     // of one download; 0: 10 minutes
}

const (
	downloadTimeout = 10 * time.Minute
	indexTimeout    = 30 * time.Second
	indexFresh      = 10 * time.Minute // how long a list of versions counts
	indexRetry      = time.Minute      // how long a list that could not be had is not asked for again
	maxBody         = 1 << 30          // of one answer of a mirror
)

// publisher has the releases of one product, with signatures over their checksums.
type publisher interface {
	// versions lists all that are published.
	versions(ctx context.Context) ([]*version.Version, error)
	// fetch writes the binary of a version to a file in dir, after its signature and its checksum were found right.
	fetch(ctx context.Context, v *version.Version, dir string) (path string, err error)
}

// downloads brings versions into the cache.
type downloads struct {
	cache      cache
	timeout    time.Duration
	publishers map[string]publisher
	probes     *probes
	flight     singleflight.Group

	mu      sync.Mutex
	indices map[string]index
}

// index is what a publisher had when it was asked.
type index struct {
	versions []*version.Version
	err      error
	until    time.Time
}

func newDownloads(o Download, keep cache, p *probes) (*downloads, error) {
	base := strings.TrimRight(o.Mirror, "/")
	if base != "" {
		u, err := url.Parse(base)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("tools.mirror: %w: %.100q is not the URL of a mirror", ErrInvalid, o.Mirror)
		}
		base = u.String() // escapes what a template would take for its own
	}
	if o.Timeout == 0 {
		o.Timeout = downloadTimeout
	}
	client := &http.Client{Transport: bounded{&http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 30 * time.Second, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
	}}}
	tofu, err := newTofuReleases(base, o.Keys["tofu"], client)
	if err != nil {
		return nil, fmt.Errorf("tools.mirror: %w", err)
	}
	return &downloads{
		cache: keep, timeout: o.Timeout, probes: p, indices: map[string]index{},
		publishers: map[string]publisher{"tofu": tofu, "terraform": terraformReleases{base, o.Keys["terraform"], client}},
	}, nil
}

// newest finds the newest published version that fits; ok is false if there is none.
func (d *downloads) newest(ctx context.Context, name string, fits func(*version.Version) bool) (v *version.Version, ok bool, err error) {
	ch := d.flight.DoChan("versions of "+name, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), indexTimeout)
		defer cancel()
		return d.list(ctx, name)
	})
	select {
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	case r := <-ch:
		if r.Err != nil {
			return nil, false, r.Err
		}
		all, _ := r.Val.([]*version.Version)
		for _, c := range all {
			if c.Prerelease() == "" && fits(c) && (v == nil || c.GreaterThan(v)) {
				v = c
			}
		}
		return v, v != nil, nil
	}
}

func (d *downloads) list(ctx context.Context, name string) ([]*version.Version, error) {
	d.mu.Lock()
	known, ok := d.indices[name]
	d.mu.Unlock()
	if ok && time.Now().Before(known.until) {
		return known.versions, known.err
	}
	all, err := d.publishers[name].versions(ctx)
	fresh := index{versions: all, until: time.Now().Add(indexFresh)}
	if err != nil {
		fresh.err, fresh.until = fmt.Errorf("list the versions of %s: %w", name, err), time.Now().Add(indexRetry)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.indices[name] = fresh
	return fresh.versions, fresh.err
}

// install brings a version into the cache and returns its path there. Many may ask, also of several processes; one downloads.
func (d *downloads) install(ctx context.Context, p product.Product, v *version.Version) (string, error) {
	ch := d.flight.DoChan(p.Name+" "+v.String(), func() (any, error) {
		ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), d.timeout, fmt.Errorf("it took longer than %s", d.timeout))
		defer cancel()
		path, err := d.installAlone(ctx, p, v)
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return path, err
	})
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case r := <-ch:
		path, _ := r.Val.(string)
		return path, r.Err
	}
}

func (d *downloads) installAlone(ctx context.Context, p product.Product, v *version.Version) (path string, err error) {
	home := filepath.Join(string(d.cache), p.Name)
	if err := os.MkdirAll(home, 0o755); err != nil { //nolint:gosec // programs that runs execute
		return "", err
	}
	turn, err := flock.Open(ctx, filepath.Join(home, "."+v.String()+".lock"))
	if err != nil {
		return "", err
	}
	defer func() { _ = turn.Close() }() // nothing was written to it
	final := filepath.Join(home, v.String(), p.Name)
	if _, err := os.Lstat(final); err == nil {
		return final, nil // another process was quicker
	}
	fresh, err := os.MkdirTemp(home, leftover)
	if err != nil {
		return "", err
	}
	defer func() {
		if gone := os.RemoveAll(fresh); gone != nil {
			err = errors.Join(err, gone)
		}
	}()
	if err := d.fill(ctx, p, v, fresh); err != nil {
		return "", err
	}
	if err := os.Rename(filepath.Join(fresh, "ready"), filepath.Dir(final)); err != nil {
		return "", err
	}
	return final, nil
}

// fill makes fresh/ready, which has the binary and its digest and nothing else.
func (d *downloads) fill(ctx context.Context, p product.Product, v *version.Version, fresh string) error {
	unpacked, ready := filepath.Join(fresh, "unpacked"), filepath.Join(fresh, "ready")
	if err := errors.Join(os.Mkdir(unpacked, 0o700), os.Mkdir(ready, 0o755)); err != nil { //nolint:gosec // as above
		return err
	}
	got, err := d.publishers[p.Name].fetch(ctx, v, unpacked)
	if err != nil {
		return err
	}
	if err := keep(got); err != nil {
		return err
	}
	// A signature says who made it. That it is what was asked for, and not an older one under a new name, only it can say.
	says, err := d.probes.version(ctx, p, got)
	if err != nil {
		return fmt.Errorf("what was downloaded %w", err)
	}
	if !says.Equal(v) {
		return fmt.Errorf("what was downloaded says that it is %s", says)
	}
	path := filepath.Join(ready, p.Name)
	if err := os.Rename(got, path); err != nil {
		return err
	}
	sum, err := digest(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path+digestSuffix, []byte(sum+"\n"), 0o644) //nolint:gosec // no secret
}

// keep makes a file a program that nobody writes to, and waits until it is on disk.
func keep(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(0o555), f.Sync(), f.Close())
}

// digestSuffix names the file beside a downloaded binary that has its digest.
const digestSuffix = ".sha256"

func digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // read only
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// errAltered says that a downloaded binary is not what was downloaded.
var errAltered = errors.New("was altered since it was downloaded")

// unaltered checks a binary against the digest of its download. One that somebody put there has none.
func unaltered(path string) error {
	want, err := os.ReadFile(path + digestSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	got, err := digest(path)
	if err == nil && got != strings.TrimSpace(string(want)) {
		err = fmt.Errorf("%w: remove %s", errAltered, filepath.Dir(path))
	}
	return err
}

// bounded ends answers that have no end.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		res.Body = &boundedBody{ReadCloser: res.Body, left: maxBody}
	}
	return res, err
}

type boundedBody struct {
	io.ReadCloser

	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the answer is larger than %d bytes", maxBody)
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// exact returns the version that a constraint pins, if it pins one.
func exact(text string) (*version.Version, bool) {
	text = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text), "="))
	v, err := version.NewVersion(text)
	return v, err == nil && slices.Equal(strings.Split(text, "."), strings.Split(v.String(), "."))
}
