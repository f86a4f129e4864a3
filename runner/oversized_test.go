package runner

import (
	"errors"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/executor/executortest"
)

// What is withheld is looked for in many forms, which take memory: a plan that marks megabytes would take all of the server's, and again at each start.
func TestAPlanThatMarksMoreThanCanBeWithheldIsRefused(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"geheimes": "", strings.Repeat("x", 4<<20): "the plan marks 1 values of 4194304 bytes as sensitive, more than can be withheld",
	} {
		err := withholdable([]byte(`{"planned_values":{"outputs":{"o":{"sensitive":true,"value":"` + value + `"}}}}`))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("withholdable() = %v, want %q", err, want)
		}
	}
}

// TestAHugeFileThatAPlanLeftIsNeverRead: a file of nothing but a hole costs hostile code nothing, and the server its memory.
func TestAHugeFileThatAPlanLeftIsNeverRead(t *testing.T) {
	t.Parallel()
	n := underApply(t, "here")
	s := executortest.Spec(t, executor.Name("hole-plan-1"), "true", "truncate -s 300M tfplan; truncate -s 2M .terraform.lock.hcl; echo {} > plan.json")
	s.Outputs = []string{filePlan, fileLock, filePlanJSON}
	executortest.Start(t, n.Exec, s)
	var log strings.Builder
	result, err := n.Exec.Attach(t.Context(), s.Name, &log, 0)
	ok(t, err)
	var no *refusal
	l, err := n.leftovers(t.Context(), s.Name, result)
	if !errors.As(err, &no) || !strings.Contains(no.text, "the plan left a ") || l.plan != nil || l.lock != nil {
		t.Errorf("leftovers() = %d and %d bytes, %v, want a refusal\n%s", len(l.plan), len(l.lock), err, log.String())
	}
	for name, size := range map[string]int64{filePlan: maxPlan, filePlanJSON: maxPlanJSON, fileLock: maxLockFile, fileBackend: maxLockFile} {
		at := func(size int64) error {
			return oversized(executor.Result{Outputs: []executor.Artifact{{Name: name, Size: size}}})
		}
		if at(size) != nil || at(size+1) == nil {
			t.Errorf("oversized(%s) = %v at its bound and %v above, want nil and a refusal", name, at(size), at(size+1))
		}
	}
}
