package app

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/planlatch/planlatch/config"
)

type serveCmd struct {
	Config   string `required:"" type:"path" help:"Path of server.yaml." placeholder:"server.yaml"`
	LogLevel string `default:"info" enum:"debug,info,warn,error" help:"Least level that is logged: debug, info, warn or error."`
	LogJSON  bool   `help:"Log JSON instead of text."`
}

// Run serves until the context ends.
func (c *serveCmd) Run(ctx context.Context, t *terminal) error {
	cfg, err := config.Load(c.Config, t.lookup)
	if err != nil {
		return usage(err)
	}
	t.withhold(cfg)
	log, err := t.logger(c.LogLevel, c.LogJSON)
	if err != nil {
		return usage(err)
	}
	again := make(chan os.Signal, 2)
	defer signal.Stop(again)
	defer context.AfterFunc(ctx, func() { signal.Notify(again, os.Interrupt, syscall.SIGTERM) })() // those that come after the one that ended ctx
	s, err := NewServer(ctx, cfg, ServerOptions{Env: t.env, Log: log, Again: again})
	if err != nil {
		return err
	}
	if s.NewAdminToken != "" {
		fmt.Fprintf(t.err, "The first login needs this admin token. It is shown once and kept only as a hash:\n\n    %s\n\n", s.NewAdminToken)
	}
	return s.Run(ctx)
}

func (t *terminal) lookup(name string) (string, bool) {
	v, ok := t.env[name]
	return v, ok
}

func (t *terminal) logger(level string, asJSON bool) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level: %w", err)
	}
	o := &slog.HandlerOptions{Level: l}
	if asJSON {
		return slog.New(slog.NewJSONHandler(t.err, o)), nil
	}
	return slog.New(slog.NewTextHandler(t.err, o)), nil
}

type versionCmd struct{}

// Version is set by the release build.
var Version = "dev" //nolint:gochecknoglobals // the linker sets it

func (versionCmd) Run(t *terminal) error {
	_, err := fmt.Fprintln(t.out, "planlatch", Version)
	return err
}
