package app

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/planlatch/planlatch/config"
)

// place is what a process can see of where it runs, as far as it tells whether what it starts outlives it.
type place struct {
	pid, parent int
	nested      bool   // in a PID namespace that is not the machine's: a container
	systemd     bool   // systemd is process 1
	first       string // name of process 1
	unit        string // the systemd service whose main process this is
	killMode    string // of that service; empty when systemd does not tell
}

// initialPIDs is the name of the machine's own PID namespace: the kernel gives it this number at every start.
const initialPIDs = "pid:[4026531836]"

// findPlace finds out where this process runs. What cannot be read counts as an ordinary machine's.
func findPlace(ctx context.Context) place {
	p := place{pid: os.Getpid(), parent: os.Getppid()}
	if ns, err := os.Readlink("/proc/self/ns/pid"); err == nil {
		p.nested = ns != initialPIDs
	}
	if name, err := os.ReadFile("/proc/1/comm"); err == nil {
		p.first = strings.TrimSpace(string(name))
	}
	if _, err := os.Lstat("/run/systemd/system"); err != nil { // what sd_booted(3) looks at
		return p
	}
	p.systemd = true
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return p
	}
	unit, user := serviceOf(string(groups))
	if unit == "" {
		return p
	}
	switch main, mode, err := askSystemd(ctx, unit, user); {
	case err != nil:
		p.unit = unit
	case main == p.pid:
		p.unit, p.killMode = unit, mode
	}
	return p
}

// serviceOf finds in /proc/self/cgroup the systemd service that a process belongs to, and whether it is one of a user's own manager.
func serviceOf(groups string) (unit string, user bool) {
	for line := range strings.Lines(groups) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 || parts[0] != "0" && parts[1] != "name=systemd" {
			continue
		}
		for at := parts[2]; len(at) > 1; at = path.Dir(at) {
			switch name := path.Base(at); {
			case strings.HasSuffix(name, ".service"):
				return name, strings.Contains(path.Dir(at), "/user@")
			case strings.HasSuffix(name, ".scope"), strings.HasSuffix(name, ".slice"): // a session, not a service
				return "", false
			}
		}
	}
	return "", false
}

// askSystemd reads the main process and the KillMode of a unit. Error: there is no such unit, or nobody to ask.
func askSystemd(ctx context.Context, unit string, user bool) (main int, killMode string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	args := []string{"show", "--property=LoadState,MainPID,KillMode", "--", unit}
	if user {
		args = append([]string{"--user"}, args...)
	}
	out, err := exec.CommandContext(ctx, "systemctl", args...).Output()
	if err != nil {
		return 0, "", fmt.Errorf("systemctl show %s: %w", unit, err)
	}
	said := map[string]string{}
	for line := range bytes.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(string(line)), "=")
		said[key] = value
	}
	if said["LoadState"] != "loaded" {
		return 0, "", fmt.Errorf("systemctl show %s: it is %s", unit, said["LoadState"])
	}
	main, err = strconv.Atoi(said["MainPID"])
	return main, said["KillMode"], err
}

// outlived says whether executions outlive a process there, and how that is known. Where it is not known they do not: then a stop waits
// longer than it had to, and nothing is lost.
func (p place) outlived() (yes bool, why string) {
	switch {
	case p.pid == 1:
		return false, "planlatch is process 1 here, and all processes end with it"
	case p.unit != "" && p.killMode == "":
		return false, fmt.Sprintf("systemd does not say what it does with what %s leaves", p.unit)
	case p.unit != "":
		return outlivedUnit(p.unit, p.killMode)
	case p.nested && !p.systemd && p.parent <= 1:
		return false, fmt.Sprintf("planlatch is the main process of a container, whose process 1 (%s) ends with it, and all others with that", p.first)
	}
	return true, "they are in sessions of their own, which the end of this process does not touch"
}

func outlivedUnit(unit, killMode string) (yes bool, why string) {
	why = fmt.Sprintf("%s has KillMode=%s", unit, killMode)
	switch killMode {
	case "process", "none":
		return true, why
	case "control-group":
		return false, why + ": systemd interrupts applies itself, at once"
	}
	return false, why + ": systemd kills what planlatch leaves"
}

// handsOver decides whether a stop leaves executions to the next life of the server, and says why.
func handsOver(cfg *config.Config, p place) (yes bool, why string) {
	if cfg.Execution.OnStop == "auto" {
		return p.outlived()
	}
	return cfg.Execution.OnStop == "hand_over", "execution.on_stop is " + cfg.Execution.OnStop
}
