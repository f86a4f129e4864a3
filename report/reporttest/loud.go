package reporttest

import (
	"strings"
	"testing"

	"github.com/planlatch/planlatch/report"
)

const loudPlan = `{"format_version":"1.2","terraform_version":"1.12.6",
"resource_changes":[
 {"address":"x.y","type":"x","change":{"actions":["delete","create"],"replace_paths":[["tags","CANARY-key one"]],
  "before":{"name":"CANARY-before","tags":{"CANARY-key one":"CANARY-tag"},"input":"a"},"after":{"name":"CANARY-attribute","tags":{"CANARY-key one":"b"},"input":"b"}}},
 {"address":"x.imported","type":"x","change":{"actions":["update"],"before":{"a":1,"policy":"{\"k\":{\"CANARY-json key\":1}}"},"after":{"a":2,"policy":"{\"k\":{\"CANARY-json key\":2}}"},"importing":{"id":"CANARY-import"}}}],
"resource_drift":[{"address":"x.drifted","type":"x","change":{"actions":["update"],"before":{"name":"CANARY-drift"},"after":{"name":"CANARY-drifted"}}}],
"output_changes":{"said":{"actions":["update"],"before":"CANARY-output","after":{"CANARY-output key":"CANARY-output"}}},
"checks":[{"address":{"to_display":"check.told"},"status":"fail","instances":[{"problems":[{"message":"CANARY-check"}]}]}]}`

// LoudPlan is a plan that says a canary wherever a plan has values: "canary" is in "canary-attribute", "canary-output" and so on.
func LoudPlan(t testing.TB, canary string) report.Plan {
	t.Helper()
	p, err := report.ReadPlan([]byte(strings.ReplaceAll(loudPlan, "CANARY", canary)), report.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// LoudLog is the log of a run that failed saying the canary.
func LoudLog(canary string) string {
	return "x.y: Modifying... [id=" + canary + "-log]\nError: no such user " + canary + "-error\n\n  with x.y,\n  on main.tf line 3, in resource \"x\" \"y\":\n   3: name = \"" + canary + "-log\"\n"
}
