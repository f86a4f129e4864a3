// Package child lets a test binary be a planlatch server of its own, for suites that kill it or go without a part of it. Only tests import it.
package child

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/config"
)

// Serve is what a test binary does as a child: it runs the server of a configuration file until it is asked to stop, and returns its exit code.
// Variables of the file come from the environment in o.
func Serve(file string, o app.ServerOptions) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	again := make(chan os.Signal, 2)
	defer context.AfterFunc(ctx, func() { signal.Notify(again, syscall.SIGTERM, os.Interrupt) })()
	o.Again = again
	fail := func(code int, err error) int {
		fmt.Fprintln(os.Stderr, err)
		return code
	}
	cfg, err := config.Load(file, func(name string) (string, bool) { v, ok := o.Env[name]; return v, ok })
	if err != nil {
		return fail(2, err)
	}
	s, err := app.NewServer(ctx, cfg, o)
	if err != nil {
		return fail(3, err)
	}
	if err := s.Run(ctx); err != nil {
		return fail(3, err)
	}
	return 0
}
