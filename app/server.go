package app

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/planlatch/planlatch/blob"
	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/executor/local"
	"github.com/planlatch/planlatch/facts"
	"github.com/planlatch/planlatch/flock"
	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/intake"
	"github.com/planlatch/planlatch/notify"
	"github.com/planlatch/planlatch/operator"
	"github.com/planlatch/planlatch/redact"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/runner"
	"github.com/planlatch/planlatch/store"
	"github.com/planlatch/planlatch/views"
	"github.com/planlatch/planlatch/web"
	"github.com/planlatch/planlatch/webhook"
)

// ServerOptions are what a server is given besides its configuration. The zero value is a server that logs nothing.
type ServerOptions struct {
	Env       map[string]string      // the process's environment
	Log       *slog.Logger           // nil: discards
	Kill      func(point string)     // called before and after every commit, for tests that kill the process there
	Parts     func(*runner.Parts)    // changes what the runner works with, for tests that break a rule; nil: nothing
	Intake    func(*intake.Intake)   // likewise what pull requests and comments are read with
	Door      func(*webhook.Options) // likewise how deliveries are taken
	Shim      string                 // path of planlatch-shim; empty: beside our own program, else our own program
	Reconcile time.Duration          // between two looks at what webhooks lost; 0: 5 minutes
	Again     <-chan os.Signal       // brings further requests to stop, once the context of Run has ended; nil: there are none
}

// Server is a whole planlatch.
type Server struct {
	// NewAdminToken is the admin token if one was generated just now. It cannot be read again.
	NewAdminToken string

	cfg      *config.Config
	log      *slog.Logger
	secrets  []string    // what nothing may show
	hidden   *redact.Set // of them
	listener net.Listener
	store    *store.Store
	blobs    *blob.Store
	sealer   *blob.Sealer
	admin    adminHash
	runner   *runner.Runner
	notifier *notify.Notifier
	handler  http.Handler
	pages    *web.Handler
	node     run.Node

	caretaker *caretaker

	handsOver bool   // a stop leaves executions to the next start
	because   string // how that is known
	again     <-chan os.Signal
	stopped   atomic.Bool // a stop was asked for
}

// NewServer opens everything a server needs and listens, and does nothing yet. Close it by Run, or Close if Run is never called.
func NewServer(ctx context.Context, cfg *config.Config, o ServerOptions) (_ *Server, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	secrets := secretsOf(cfg, o.Env)
	hidden := redact.Compile(secrets)
	o.Log = slog.New(hidden.Handler(o.Log.Handler()))
	defer func() { err = hideIn(hidden, err) }()
	if o.Reconcile == 0 {
		o.Reconcile = 5 * time.Minute
	}
	s := &Server{cfg: cfg, log: o.Log, secrets: secrets, hidden: hidden, again: o.Again, caretaker: &caretaker{data: cfg.Data, bounds: cfg.Disk, log: o.Log}}
	s.handsOver, s.because = handsOver(cfg, findPlace(ctx))
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if cfg.Execution.Executor != "local" {
		return nil, usage(fmt.Errorf("execution.executor: %s is not part of this version; use local", cfg.Execution.Executor))
	}
	for _, text := range withoutEffect(cfg) {
		o.Log.Warn("a setting has no effect in this version", "setting", text)
	}
	if err := ownDirectory(cfg.Data); err != nil {
		return nil, err
	}
	if s.listener, err = net.Listen("tcp", cfg.Listen); err != nil { //nolint:noctx // bound at once or not at all
		return nil, usage(fmt.Errorf("listen: %w; stop what listens there or choose another listen: address", err))
	}
	key, err := wrappingOf(cfg)
	if err != nil {
		return nil, usage(err)
	}
	s.secrets = append(s.secrets, append(key.old, key.key)...) // one may be generated
	if s.blobs, err = key.blobs(ctx, cfg); err != nil {
		return nil, usage(fmt.Errorf("blobs: %w", err))
	}
	if s.sealer, err = key.sealer(ctx); err != nil {
		return nil, usage(err)
	}
	if s.store, err = openStore(ctx, cfg, o, s.sealer); err != nil {
		return nil, err
	}
	if s.node, err = ownNode(ctx, cfg, s.store); err != nil {
		return nil, err
	}
	keys, err := openKeys(ctx, s.store, s.sealer)
	if err != nil {
		return nil, err
	}
	if err := s.wire(ctx, o, keys); err != nil {
		return nil, err
	}
	return s, nil
}

func openStore(ctx context.Context, cfg *config.Config, o ServerOptions, sealer store.Sealer) (*store.Store, error) {
	options := store.Options{
		DSN: cfg.Database.Reveal(), Log: o.Log, Kill: o.Kill, Sealer: sealer, Hide: redact.String(secretsOf(cfg, o.Env)),
	}
	if options.DSN == "" {
		options.Dir = cfg.Data
	}
	s, err := store.Open(ctx, options)
	if errors.Is(err, store.ErrInUse) || errors.Is(err, store.ErrNewer) {
		return nil, usage(err)
	}
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	return s, nil
}

// ownDirectory makes the data directory and shows that it can be written.
func ownDirectory(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return usage(fmt.Errorf("data: %w; make the directory writable for the user that runs planlatch, or choose another data: directory", err))
	}
	f, err := os.CreateTemp(dir, ".writable-")
	if err != nil {
		return usage(fmt.Errorf("data: %w; make the directory writable for the user that runs planlatch, or choose another data: directory", err))
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// wire builds the parts and their jobs.
func (s *Server) wire(ctx context.Context, o ServerOptions, keys keys) error {
	cfg := s.cfg
	hosts, err := openHosts(cfg)
	if err != nil {
		return usage(err)
	}
	engine, err := loadPolicies(ctx, cfg)
	if err != nil {
		return usage(err)
	}
	tools, err := openTools(cfg, o.Env)
	if err != nil {
		return usage(err)
	}
	exec, err := local.New(local.Options{
		Dir: filepath.Join(cfg.Data, "executions"), Sandbox: local.Sandbox(cfg.Execution.Sandbox), Shim: o.Shim, Log: s.log,
	})
	if err != nil {
		return usage(fmt.Errorf("executor: %w", err))
	}
	if err := resealed(ctx, workDir(cfg), s.sealer, exec, s.log); err != nil {
		return err
	}
	s.tellWalls(ctx, exec)
	mirrors := git.New(git.Options{Dir: filepath.Join(cfg.Data, "mirrors"), Log: s.log, Env: passed(cfg, o.Env)})
	providers, err := openProviders(cfg, exec, passed(cfg, o.Env), s.log)
	if err != nil {
		return usage(err)
	}
	gatherer := &facts.Gatherer{Hosts: hosts, Store: s.store, Git: mirrors, Log: s.log}
	if s.admin, s.NewAdminToken, err = admin(ctx, cfg, s.store); err != nil {
		return err
	}
	if cfg.URL == "" {
		cfg.URL = s.URL() // a port that the system chose
	}
	login := func(host, repo string) bool { return cfg.Rules(host, repo).Links == "login" }
	viewer := &views.Viewer{
		Store: s.store, Facts: gatherer, Blobs: s.blobs, Look: look(cfg), Link: web.NewLinker(keys.web, cfg.URL, login).Run, URL: cfg.URL,
	}
	in := &intake.Intake{
		Store: s.store, Hosts: hosts, Config: cfg, Git: mirrors, Facts: gatherer, Views: viewer, Log: s.log, Now: s.store.Now,
	}
	if o.Intake != nil {
		o.Intake(in)
	}
	s.store.Handle(intake.JobDelivery, in.Delivery)
	s.store.Handle(intake.JobStale, in.Stale)
	s.store.Handle(intake.JobBase, in.Base)
	s.store.Handle(intake.JobPushed, in.Pushed)
	s.store.Handle(intake.JobReconcile, in.Reconcile)
	s.store.Handle(operator.JobPauses, func(ctx context.Context, match string) error { return operator.Refresh(ctx, s.store, match) })
	s.store.Handle("housekeeping", func(context.Context, string) error { return nil }) // asked for by a version before this one
	keep := &retention{store: s.store, blobs: s.blobs, rules: cfg.Retention, disk: cfg.Disk, log: s.log, now: time.Now}
	s.store.Handle(jobRetention, keep.run)
	s.store.Every(jobRetention, "all", 24*time.Hour, false)
	for name := range hosts {
		s.store.Every(intake.JobReconcile, name, o.Reconcile, true)
	}
	parts := runner.Parts{
		Store: s.store, Exec: exec, Git: mirrors, Facts: gatherer, Tools: tools, Providers: providers, Policy: engine, Blobs: s.blobs, Log: s.log,
		Sealer: seal{s.sealer},
	}
	if o.Parts != nil {
		o.Parts(&parts)
	}
	s.runner = runner.New(parts, s.runnerOptions(s.node, keys, hosts, o.Env))
	s.caretaker.store, s.caretaker.exec, s.caretaker.runner = s.store, exec, s.runner
	s.caretaker.git, s.caretaker.providers, s.caretaker.tools = mirrors, providers, tools
	s.store.Handle(operator.JobForceUnlock, s.runner.ForceUnlock)
	s.notifier = &notify.Notifier{Store: s.store, Views: viewer, Hosts: hosts, Log: s.log, Channels: openChannels(cfg)}
	return s.routes(o, hosts, viewer, keys)
}

// tellWalls says at the start what every run would meet: a sandbox that cannot be had, or walls that are missing.
func (s *Server) tellWalls(ctx context.Context, exec *local.Executor) {
	if err := exec.Refusal(ctx); err != nil {
		s.log.Error("no run can start on this machine; planlatch doctor names each fix", "error", err)
		return
	}
	s.log.Info("limits of runs", "held", exec.Limits())
	if s.cfg.Execution.Sandbox == "required" {
		return
	}
	for _, w := range exec.Walls(ctx) {
		if !w.Force {
			s.log.Warn("a wall around runs is missing", "sandbox", s.cfg.Execution.Sandbox, "wall", w.Name, "found", w.Detail, "fix", w.Fix)
		}
	}
}

// URL is where the server listens, for tests and the demo that let the system choose the port.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

// Run serves until ctx ends and then stops. Where executions outlive this process it lets go of them within seconds, and the next start finds
// them again. Elsewhere it brings them to their end first, see drain, and serves meanwhile: webhooks are stored, pages and cancel work.
func (s *Server) Run(ctx context.Context) (err error) {
	defer func() { err = hideIn(s.hidden, errors.Join(err, s.Close())) }()
	if err := local.Harden(); err != nil {
		return fmt.Errorf("close this process to other processes of its user: %w", err)
	}
	server := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	server.RegisterOnShutdown(s.pages.Close)
	s.caretaker.begin(ctx)
	work, end := context.WithCancel(context.WithoutCancel(ctx)) // it outlasts ctx for as long as a stop takes
	defer end()
	if err := s.store.Start(work); err != nil {
		return fmt.Errorf("start jobs: %w", err)
	}
	all, running := errgroup.WithContext(work)
	worked := make(chan struct{})
	all.Go(func() error {
		if err := server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve: %w", err)
		}
		return nil
	})
	all.Go(func() error {
		defer close(worked)
		return s.runner.Run(running, s.store.Kicks())
	})
	all.Go(func() error { return s.caretaker.run(running) })
	all.Go(func() error { return s.notifier.Run(running, s.store.Kicks()) })
	s.log.Info("planlatch serves", "address", s.URL(), "version", Version)
	s.tellStop()
	all.Go(func() error {
		select {
		case <-ctx.Done():
			s.stopped.Store(true)
			if !s.handsOver {
				s.drain(running, worked)
			}
		case <-running.Done(): // something broke
		}
		end()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopping)
		defer cancel()
		if server.Shutdown(stop) != nil {
			s.log.Warn("open requests are cut off", "after", stopping)
			_ = server.Close() // what is left of them; the listener is closed
		}
		return s.store.Stop(stop)
	})
	return all.Wait()
}

// stopping is how long open requests and running jobs get at the end.
const stopping = 15 * time.Second

// Close releases what NewServer opened.
func (s *Server) Close() error {
	var faults []error
	if s.listener != nil {
		if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			faults = append(faults, err)
		}
	}
	if s.store != nil {
		faults = append(faults, s.store.Close())
	}
	if s.sealer != nil {
		faults = append(faults, s.sealer.Close())
	}
	if s.blobs != nil {
		faults = append(faults, s.blobs.Close())
	}
	return errors.Join(faults...)
}

// nodeFile is in every data directory that a server has used.
func nodeFile(data string) string { return filepath.Join(data, "node") }

// ownNode says which node this is, and sees to it that no other process is the same one.
func ownNode(ctx context.Context, cfg *config.Config, s *store.Store) (run.Node, error) {
	node, err := nodeID(ctx, cfg.Data)
	if err != nil {
		return node, err
	}
	err = s.Own(ctx, node.ID)
	if errors.Is(err, store.ErrInUse) {
		return node, usage(fmt.Errorf("data: %w: it works with this data directory or with one that this is a copy of. Each server needs its own; "+
			"if this is a copy, remove %s and executions beside it", err, nodeFile(cfg.Data)))
	}
	if err != nil {
		return node, fmt.Errorf("database: %w", err)
	}
	return node, nil
}

// nodeID returns the id of this node, kept in its data directory: it is the same node after a restart. Of two that begin at the same moment both
// are what the first one wrote, and one of them is refused.
func nodeID(ctx context.Context, data string) (_ run.Node, err error) {
	node := run.Node{}
	if node.Name, err = os.Hostname(); err != nil {
		node.Name = "unknown"
	}
	f, err := flock.Open(ctx, nodeFile(data))
	if err != nil {
		return node, fmt.Errorf("keep the id of this node: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	kept, err := io.ReadAll(f)
	if err != nil {
		return node, fmt.Errorf("read the id of this node: %w", err)
	}
	if node.ID = strings.TrimSpace(string(kept)); node.ID != "" {
		return node, nil
	}
	node.ID = "node-" + strings.ToLower(randomText(10))
	if _, err := f.WriteAt([]byte(node.ID+"\n"), 0); err != nil {
		return node, fmt.Errorf("keep the id of this node: %w", errors.Join(err, f.Truncate(0)))
	}
	return node, nil
}

// derived returns a key for one purpose from the server's root key.
func derived(root []byte, purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, root, nil, "planlatch "+purpose, 32)
}

func workers(cfg *config.Config) int {
	if cfg.Execution.Workers > 0 {
		return cfg.Execution.Workers
	}
	return runtime.NumCPU()
}
