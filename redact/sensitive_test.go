package redact_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/planlatch/planlatch/redact"
)

func TestSensitiveFindsEveryMarkedValue(t *testing.T) {
	t.Parallel()
	got, err := redact.Sensitive([]byte(`{
		"format_version": "1.2",
		"variables": {"token": {"value": "variable-secret"}, "region": {"value": "eu-west-1-public"}},
		"configuration": {"root_module": {"variables": {"token": {"sensitive": true}, "region": {}}}},
		"resource_changes": [{"address": "a.b", "change": {
			"actions": ["update"],
			"before": {"password": "before-secret", "name": "public-name", "list": [{"k": "public-in-list"}, {"k": "secret-in-list"}], "map": {"x": "whole-map-secret"}},
			"after": {"password": "after-secret", "name": "public-name", "pin": 1234567890123456789, "short": "short"},
			"before_sensitive": {"password": true, "list": [{}, {"k": true}], "map": true},
			"after_sensitive": {"password": true, "pin": true, "short": true}}}],
		"resource_drift": [{"change": {"before": {"p": "drifted-secret"}, "after": null, "before_sensitive": {"p": true}, "after_sensitive": false}}],
		"output_changes": {"o": {"before": null, "after": "output-secret", "before_sensitive": true, "after_sensitive": true},
			"p": {"before": "public-output", "after": "public-output2", "before_sensitive": false, "after_sensitive": false}},
		"planned_values": {"outputs": {"q": {"sensitive": true, "value": ["planned-output-secret"]}},
			"root_module": {"child_modules": [{"resources": [{"values": {"k": "module-secret"}, "sensitive_values": {"k": true}}]}]}},
		"prior_state": {"values": {"outputs": {"r": {"sensitive": true, "value": {"deep": "state-output-secret"}}}}}
	}`))
	if err != nil {
		t.Fatalf("Sensitive() error: %v", err)
	}
	want := []string{"1234567890123456789", "after-secret", "before-secret", "drifted-secret", "module-secret", "output-secret",
		"planned-output-secret", "secret-in-list", "state-output-secret", "variable-secret", "whole-map-secret"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Sensitive() differs (-want +got):\n%s", diff)
	}
}

func TestSensitiveFailsOnAnUnreadablePlan(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"", "{", "[]", `{"resource_changes": 3}`, `{"variables": []}`} {
		if got, err := redact.Sensitive([]byte(in)); err == nil {
			t.Errorf("Sensitive(%q) = %v, want an error", in, got)
		}
	}
}

func FuzzSensitive(f *testing.F) {
	f.Add([]byte(`{"resource_changes": [{"change": {"before": [1], "before_sensitive": [true], "after": {"a": null}, "after_sensitive": {"a": {"b": true}}}}]}`))
	f.Add([]byte(strings.Repeat("[", 100)))
	f.Fuzz(func(_ *testing.T, in []byte) {
		_, _ = redact.Sensitive(in) // must not panic
	})
}
