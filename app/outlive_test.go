package app

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/config"
)

func TestWhereExecutionsOutliveTheServer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		at   place
		yes  bool
		says string
	}{
		"PlainProcess":           {place{pid: 40, parent: 39, first: "systemd", systemd: true}, true, "sessions of their own"},
		"DaemonOnAMachine":       {place{pid: 40, parent: 1, first: "init"}, true, "sessions of their own"},
		"Process1":               {place{pid: 1, nested: true, first: "planlatch"}, false, "process 1"},
		"Process1OfTheMachine":   {place{pid: 1, first: "planlatch"}, false, "process 1"},
		"BelowTini":              {place{pid: 7, parent: 1, nested: true, first: "tini"}, false, "tini"},
		"SharedNamespaceOfAPod":  {place{pid: 30, parent: 0, nested: true, first: "pause"}, false, "pause"},
		"FromAShellInAContainer": {place{pid: 30, parent: 20, nested: true, first: "sh"}, true, "sessions of their own"},
		"SystemdInAContainer":    {place{pid: 30, parent: 1, nested: true, first: "systemd", systemd: true, unit: "p.service", killMode: "process"}, true, "KillMode=process"},
		"OurUnit":                {place{pid: 30, parent: 1, systemd: true, unit: "planlatch.service", killMode: "process"}, true, "KillMode=process"},
		"UnitOfSystemdsOwnKind":  {place{pid: 30, parent: 1, systemd: true, unit: "p.service", killMode: "control-group"}, false, "KillMode=control-group"},
		"UnitThatKillsTheRest":   {place{pid: 30, parent: 1, systemd: true, unit: "p.service", killMode: "mixed"}, false, "kills what planlatch leaves"},
		"UnitThatNobodyKnowsOf":  {place{pid: 30, parent: 1, systemd: true, unit: "p.service"}, false, "does not say"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if yes, why := c.at.outlived(); yes != c.yes || !strings.Contains(why, c.says) {
				t.Errorf("outlived() = %v, %q; want %v and %q", yes, why, c.yes, c.says)
			}
		})
	}
	t.Run("TheConfigurationDecides", func(t *testing.T) {
		t.Parallel()
		cfg := config.Default(t.TempDir())
		cfg.Execution.OnStop = "hand_over"
		if yes, _ := handsOver(cfg, place{pid: 1}); !yes {
			t.Error("hand_over does not")
		}
		cfg.Execution.OnStop = "wait"
		if yes, _ := handsOver(cfg, place{pid: 40, parent: 39}); yes {
			t.Error("wait does not")
		}
	})
	t.Run("ThisProcess", func(t *testing.T) {
		t.Parallel()
		if p := findPlace(t.Context()); p.pid != os.Getpid() || p.first == "" {
			t.Errorf("findPlace() = %+v", p)
		}
	})
}

func TestServiceOf(t *testing.T) {
	t.Parallel()
	for groups, want := range map[string]string{
		"0::/system.slice/planlatch.service\n":                                        "planlatch.service",
		"0::/system.slice/planlatch.service/server\n":                                 "planlatch.service",
		"12:pids:/x\n1:name=systemd:/system.slice/planlatch.service\n0::/\n":          "planlatch.service",
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/p.service\n":      "p.service of a user",
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/terminal.scope\n": "",
		"0::/user.slice/user-1000.slice/session-2.scope\n":                            "",
		"0::/\n":   "",
		"broken\n": "",
	} {
		unit, user := serviceOf(groups)
		if user {
			unit += " of a user"
		}
		if unit != want {
			t.Errorf("serviceOf(%q) = %q, want %q", groups, unit, want)
		}
	}
}

func TestDoctorSaysWhatAStopDoes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		onStop   string
		at       place
		killMode string
		want     []string
	}{
		"Container":            {"auto", place{pid: 9, nested: true}, "", []string{"ok ", "main process", "up to 2h", "2h11m", "stop_grace_period", "terminationGracePeriodSeconds"}},
		"PlainProcess":         {"auto", place{pid: 9}, "", []string{"ok ", "hands what runs over"}},
		"OurUnit":              {"auto", place{pid: 9, systemd: true}, "process", []string{"ok ", "KillMode=process", "hands what runs over"}},
		"AnotherUnit":          {"auto", place{pid: 9, systemd: true}, "control-group", []string{"warn ", "fix: set KillMode=process"}},
		"WaitIsSet":            {"wait", place{pid: 9}, "", []string{"ok ", "up to 2h", "TimeoutStopSec"}},
		"HandOverInAContainer": {"hand_over", place{pid: 9, nested: true}, "", []string{"warn ", "fix: use execution.on_stop: auto"}},
		"HandOverInAUnit":      {"hand_over", place{pid: 9, systemd: true}, "mixed", []string{"warn ", "fix: set KillMode=process"}},
		"HandOver":             {"hand_over", place{pid: 9}, "", []string{"ok ", "execution.on_stop"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config.Default(t.TempDir())
			cfg.Execution.OnStop = c.onStop
			var out bytes.Buffer
			d := &doctor{t: &terminal{out: &out}}
			d.stop(cfg, c.at, c.killMode)
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("doctor says\n%s\nwant %q in it", &out, want)
				}
			}
		})
	}
}

func TestShort(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		2 * time.Hour: "2h", 2*time.Hour + 11*time.Minute: "2h11m", 10 * time.Minute: "10m", 90 * time.Second: "1m30s", 30 * time.Second: "30s", 0: "0s",
	} {
		if got := short(d); got != want {
			t.Errorf("short(%s) = %q, want %q", d, got, want)
		}
	}
}
