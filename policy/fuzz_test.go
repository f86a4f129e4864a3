package policy_test

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/planlatch/planlatch/policy"
	"github.com/planlatch/planlatch/run"
)

// A plan is written by hostile code. Whatever it is, judging it answers, in bounds, and the same twice.
func FuzzJudge(f *testing.F) {
	for _, seed := range []string{
		`{"format_version":"1.2"}`, `{}`, `null`, `[]`, `"x"`, `{`, ``, "\x00", `{"format_version":"1.2","resource_changes":{"a":1}}`,
		`{"format_version":"1.2","resource_changes":[null,1,"x",[],{}]}`,
		`{"format_version":"1.2","resource_changes":[{"address":1,"mode":"managed","type":"aws_security_group","change":{"actions":"create","after":{"ingress":[{"cidr_blocks":["0.0.0.0/x","0/0",null,7]}]},"after_unknown":true}}]}`,
		`{"format_version":"1.2","resource_changes":[{"address":"a.b","mode":"managed","type":"aws_security_group","change":{"actions":["create"],"after":{"ingress":[{"cidr_blocks":["0.0.0.0/0"],"from_port":1e400,"to_port":-1}]},"after_unknown":{}}}]}`,
		`{"format_version":"1.2","resource_changes":[{"address":"a.b","mode":"managed","type":"aws_iam_policy","change":{"actions":["create"],"after":{"policy":"{\"Statement\":{\"Effect\":\"Allow\",\"Action\":{},\"Resource\":null}}"},"after_unknown":{}}}]}`,
		`{"format_version":"1.2","resource_changes":[{"address":"a.b","mode":"managed","type":"aws_db_instance","change":{"actions":["delete","create"],"replace_paths":[[{}],7,[["x"]]],"after":null}}]}`,
		`{"format_version":"1.2","configuration":{"root_module":{"module_calls":{"":{"source":7,"module":{"resources":[{"address":null,"provisioners":{}}]}}}}}}`,
		`{"format_version":"1.2","format_version":1,"plan":{},"planlatch":{"pull_request":null}}`,
		`{"format_version":"1.2","resource_changes":[{"address":"\ud800","mode":"managed","type":"aws_s3_bucket","change":{"actions":["delete"]}}]}`,
	} {
		f.Add([]byte(seed))
	}
	engine, err := policy.Load(f.Context(), []policy.Set{
		{Name: "baseline", Source: "builtin:baseline", Level: run.Hard, Settings: map[string]any{"required_tags": []string{"team"}, "blast_radius": 0}},
		{Name: "own", Source: write(f, map[string]string{"own.rego": "package own\nfinding contains {\"rule\": \"r\", \"message\": \"m\", \"resource\": c.address, \"value\": c} if some c in input.resource_changes"}), Level: run.Hard},
	}, policy.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		in := policy.Input{Target: infra, Plan: text}
		got := engine.Judge(t.Context(), in)
		again := engine.Judge(t.Context(), in)
		if string(marshal(t, got)) != string(marshal(t, again)) {
			t.Errorf("Judge() = %+v, then %+v; want the same twice", got, again)
		}
		if len(got.Sets) != 2 || got.Digest == "" {
			t.Errorf("Judge() = sets %v, digest %q; want both sets and a digest", got.Sets, got.Digest)
		}
		if !json.Valid(text) && len(got.Findings) != 2 {
			t.Errorf("Judge() of what is no JSON = %+v, want a finding for each set", got.Findings)
		}
		for _, finding := range got.Findings {
			if finding.Level != run.Hard && finding.Level != run.Advisory || finding.Message == "" || finding.Rule == "" {
				t.Errorf("finding %+v has no level, rule or message", finding)
			}
			if len(finding.Message) > 4100 || len(finding.Resource) > 4100 || len(finding.Value) > 1100 || !utf8.ValidString(finding.Message) {
				t.Errorf("finding of %d, %d and %d bytes, want it bounded and valid UTF-8", len(finding.Message), len(finding.Resource), len(finding.Value))
			}
		}
	})
}
