package policy_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/planlatch/planlatch/policy"
	"github.com/planlatch/planlatch/run"
)

// bigPlan has the shape and the weight of a real one: resources of many kinds in modules, with both halves of each change and the
// configuration they come from.
func bigPlan(t testing.TB, resources int) json.RawMessage {
	t.Helper()
	kinds := []string{"aws_security_group", "aws_s3_bucket", "aws_db_instance", "aws_iam_policy", "google_compute_firewall", "azurerm_storage_account", "aws_instance"}
	var changes, configured []any
	for i := range resources {
		kind := kinds[i%len(kinds)]
		after := map[string]any{
			"name": fmt.Sprintf("resource-%d", i), "arn": nil, "description": "something that people wrote about it",
			"tags": map[string]any{"team": "platform", "env": "prod"}, "tags_all": map[string]any{"team": "platform", "env": "prod"},
			"ingress":           []any{map[string]any{"cidr_blocks": []any{"10.0.0.0/8", "192.168.0.0/16"}, "from_port": 443, "to_port": 443, "protocol": "tcp"}},
			"policy":            `{"Statement":[{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::x/*"}]}`,
			"storage_encrypted": true, "settings": []any{map[string]any{"a": []any{1, 2, 3}, "b": map[string]any{"c": "d"}}},
		}
		changes = append(changes, map[string]any{
			"address": fmt.Sprintf("module.app.%s.x[%d]", kind, i), "mode": "managed", "type": kind, "name": "x",
			"change": map[string]any{"actions": []any{"update"}, "before": after, "after": after, "after_unknown": map[string]any{"arn": true}, "before_sensitive": false},
		})
		configured = append(configured, map[string]any{
			"address": fmt.Sprintf("%s.x%d", kind, i), "mode": "managed", "type": kind, "name": "x",
			"expressions": map[string]any{"name": map[string]any{"references": []any{"var.name"}}, "tags": map[string]any{"constant_value": map[string]any{"team": "platform"}}},
		})
	}
	return marshal(t, map[string]any{
		"format_version": "1.2", "resource_changes": changes,
		"configuration": map[string]any{"root_module": map[string]any{"module_calls": map[string]any{
			"app": map[string]any{"source": "./app", "module": map[string]any{"resources": configured}},
		}}},
	})
}

func BenchmarkJudge(b *testing.B) {
	engine, err := policy.Load(b.Context(), []policy.Set{{Name: "baseline", Source: "builtin:baseline", Level: run.Hard}}, policy.Options{})
	if err != nil {
		b.Fatal(err)
	}
	in := policy.Input{Target: infra, Plan: bigPlan(b, 500)}
	if got := engine.Judge(b.Context(), in); len(got.Findings) != 0 {
		b.Fatalf("Judge() = %+v, want a plan without findings", got.Findings[0])
	}
	b.SetBytes(int64(len(in.Plan)))
	b.ReportAllocs()
	for b.Loop() {
		engine.Judge(b.Context(), in)
	}
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, err := policy.Load(b.Context(), []policy.Set{{Name: "baseline", Source: "builtin:baseline", Level: run.Hard}}, policy.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
