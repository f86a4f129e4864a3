package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDoctorTriesToBreakOut(t *testing.T) {
	t.Parallel()
	for sandbox, wants := range map[string][]string{
		"required": {
			"ok    break-out      files: 17 attempts to read or change what lies outside of the run failed", "ok    break-out      processes: 8 attempts",
			"ok    break-out      kernel: ", "ok    break-out      privileges: ", "ok    break-out      channels: ", "ok    break-out      descriptors: ",
		},
		"off": {"warn  break-out      processes: ", "attempts to see or touch a process outside of the run got through: to see a process", "to read the environment of any process (/proc/", "fix: set execution.sandbox to required"},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "server.yaml")
		text := strings.ReplaceAll(good, "DATA", dir) + "\nexecution: {sandbox: " + sandbox + "}\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, out, errs := run(t, map[string]string{"PATH": os.Getenv("PATH")}, "doctor", "--config", file)
		for _, want := range wants {
			if !strings.Contains(out, want) {
				t.Errorf("sandbox %s: doctor does not say %q:\n%s%s", sandbox, want, out, errs)
			}
		}
		if strings.Contains(out, "planlatch-canary") {
			t.Errorf("doctor prints what it planted:\n%s", out)
		}
	}
}
