// Command planlatch is the server and its command line.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/planlatch/planlatch/app"
	"github.com/planlatch/planlatch/executor/local"
)

func main() {
	if code, ok := local.ShimMain(os.Args); ok {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := app.Run(ctx, os.Args[1:], app.Environment(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
