package runner

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
	"github.com/planlatch/planlatch/tool"
)

func TestAPushIsWhatTheApplyDidAndNeverForced(t *testing.T) {
	t.Parallel()
	r := New(Parts{}, Options{LockTimeout: time.Minute, Binds: func(selector.Target, string) []executor.Bind { return nil }})
	g := ground{tool: tool.Tool{Name: "tofu", Path: "/opt/tofu"}}
	g.run.Settings.BackendConfig = []string{"prod.tfbackend"}
	var argv []string
	for _, s := range r.pushSpec(g, nil).Steps {
		argv = append(argv, strings.Join(s.Argv, " "))
	}
	want := []string{
		"/opt/tofu init -input=false -no-color -backend-config=prod.tfbackend", "/opt/tofu state push -no-color -lock-timeout=1m0s errored.tfstate",
	}
	if !slices.Equal(argv, want) {
		t.Errorf("steps = %q, want %q", argv, want)
	}
}

func TestNothingIsPushedThatWasSaved(t *testing.T) {
	t.Parallel()
	r := New(Parts{}, Options{})
	if failed, err := r.PushState(t.Context(), run.Run{ID: "01A", State: run.Failed}); failed == "" || err != nil {
		t.Errorf("PushState() = %q, %v; want a refusal", failed, err)
	}
}
