package app

import (
	"context"
	"fmt"
	"time"

	"github.com/planlatch/planlatch/config"
)

// ourUnit is the service that deploy/planlatch.service installs.
const ourUnit = "planlatch.service"

// stopping says what a stop of the server will do with what runs. This process is not the server: what cannot be seen from here, the server
// says when it starts.
func (d *doctor) stopping(ctx context.Context, cfg *config.Config) {
	seen := findPlace(ctx)
	var unit string
	if seen.systemd {
		if _, mode, err := askSystemd(ctx, ourUnit, false); err == nil {
			unit = mode
		}
	}
	d.stop(cfg, seen, unit)
}

// stop tells it for a place. killMode is that of our systemd unit; empty if there is none.
func (d *doctor) stop(cfg *config.Config, seen place, killMode string) {
	const what = "stopping"
	x := cfg.Execution
	bound := (x.ShutdownWait + x.CancelGrace.Apply + time.Minute).Round(time.Minute)
	container := seen.nested && !seen.systemd
	waits := fmt.Sprintf("a stop interrupts plans and waits for applies up to %s", short(x.ShutdownWait))
	longer := fmt.Sprintf("let whoever stops it wait %s: stop_grace_period (compose), terminationGracePeriodSeconds (Kubernetes), TimeoutStopSec (systemd)", short(bound))
	switch outlived, why := outlivedUnit(ourUnit, killMode); {
	case x.OnStop == "wait":
		d.good(what, "%s (execution.on_stop); %s", waits, longer)
	case x.OnStop == "hand_over" && container:
		d.warn(what, "a stop hands applies over (execution.on_stop), but in a container they end with its main process", "use execution.on_stop: auto")
	case x.OnStop == "hand_over" && killMode != "" && !outlived:
		d.warn(what, "a stop hands applies over (execution.on_stop), but "+why, "set KillMode=process in the unit, as deploy/planlatch.service does")
	case x.OnStop == "hand_over":
		d.good(what, "a stop hands what runs over to the next start (execution.on_stop)")
	case container:
		d.good(what, "in a container, as its main process: %s; %s", waits, longer)
	case killMode == "":
		d.good(what, "a plain process: a stop hands what runs over to the next start, within seconds")
	case outlived:
		d.good(what, "%s: a stop hands what runs over to the next start, within seconds", why)
	default:
		d.warn(what, fmt.Sprintf("%s; %s", why, waits),
			fmt.Sprintf("set KillMode=process in the unit, as deploy/planlatch.service does; else KillMode=mixed and TimeoutStopSec=%s", short(bound)))
	}
}

// short writes a duration without the parts that are zero: 2h10m.
func short(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if n := len(text) - len(zero); n > 0 && text[n:] == zero {
			text = text[:n+1]
		}
	}
	return text
}
