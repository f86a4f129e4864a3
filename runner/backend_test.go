package runner //nolint:testpackage // where a state is, is known to the runner alone

import "testing"

func TestAPlanMadeElsewhereIsTold(t *testing.T) {
	t.Parallel()
	for plan, want := range map[string]bool{
		`{"remote_plan_format":1,"run_id":"run-1","hostname":"app.terraform.io"}`: true,
		`{"meta":{},"encrypted_data":"x","encryption_version":"v0"}`:              false,
		"PK\x03\x04": false,
		"":           false,
	} {
		if got := remotePlan([]byte(plan)); got != want {
			t.Errorf("remotePlan(%q) = %v, want %v", plan, got, want)
		}
	}
}

// TestTwoDirectoriesOnOneStateAreKnownByIt compares what init may resolve for two projects.
func TestTwoDirectoriesOnOneStateAreKnownByIt(t *testing.T) {
	t.Parallel()
	id := func(config, workspace string) string {
		b, err := readBackend([]byte(`{"version":3,"backend":` + config + `}`))
		if err != nil {
			t.Fatal(err)
		}
		return b.identity(workspace)
	}
	s3 := `{"type":"s3","config":{"bucket":"b","key":"network","profile":"one","access_key":"AKIA","encrypt":null}}`
	for name, c := range map[string]struct {
		a, b       string
		workspaces [2]string
		same       bool
	}{
		"OtherCredentials":         {s3, `{"type":"s3","config":{"bucket":"b","key":"network","profile":"two","region":"eu"}}`, [2]string{"default", "default"}, true},
		"AnotherKey":               {s3, `{"type":"s3","config":{"bucket":"b","key":"app"}}`, [2]string{"default", "default"}, false},
		"AnotherWorkspace":         {s3, s3, [2]string{"default", "prod"}, false},
		"AnotherBackend":           {s3, `{"type":"gcs","config":{"bucket":"b","key":"network"}}`, [2]string{"default", "default"}, false},
		"AnotherPasswordOfOneData": {`{"type":"pg","config":{"conn_str":"postgres://a:x@db/tf"}}`, `{"type":"pg","config":{"conn_str":"postgres://b:y@db/tf"}}`, [2]string{"default", "default"}, true},
		"AnotherSpelling":          {`{"type":"local","config":{"path":"/s/a.tfstate"}}`, `{"type":"local","config":{"path":"/s/../s//a.tfstate","workspace_dir":""}}`, [2]string{"default", "default"}, true},
		"APrefixOfOtherWorkspaces": {s3, `{"type":"s3","config":{"bucket":"b","key":"network","workspace_key_prefix":"x"}}`, [2]string{"default", "default"}, true},
		"AnotherPrefix":            {s3, `{"type":"s3","config":{"bucket":"b","key":"network","workspace_key_prefix":"x"}}`, [2]string{"prod", "prod"}, false},
		"AnUnknownBackendByAll":    {`{"type":"new","config":{"x":1}}`, `{"type":"new","config":{"x":2}}`, [2]string{"default", "default"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := id(c.a, c.workspaces[0]) == id(c.b, c.workspaces[1]); got != c.same {
				t.Errorf("one state: %v, want %v", got, c.same)
			}
		})
	}
	t.Run("WhatCannotBeReadIsAnError", func(t *testing.T) {
		t.Parallel()
		if _, err := readBackend([]byte("{")); err == nil {
			t.Error("readBackend({) = nil")
		}
	})
}
