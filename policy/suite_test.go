package policy_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/policy"
)

func TestRegoTestsRunWithTheSameEngine(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{
		"rules.rego": "package shop\nfinding contains {\"rule\": \"r\", \"message\": \"m\"} if input.limit > data.settings.limit",
		"data.yaml":  "settings: {limit: 3}",
		"rules_test.rego": `package shop_test

test_over if count(data.shop.finding) == 1 with input as {"limit": 4}
test_under if {
	print("under", 3)
	count(data.shop.finding) == 1 with input as {"limit": 3}
}
todo_test_later if false
`,
	})
	results, err := policy.Test(t.Context(), policy.Set{Name: "shop", Source: dir}, policy.TestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	type outcome struct {
		Name, Output    string
		Line            int
		Passed, Skipped bool
	}
	var got []outcome
	for _, r := range results {
		got = append(got, outcome{r.Name, r.Output, r.Line, r.Passed, r.Skipped})
	}
	want := []outcome{{"test_over", "", 3, true, false}, {"test_under", "under 3\n", 4, false, false}, {"todo_test_later", "", 8, false, true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Test() (-want +got):\n%s", diff)
	}
	if !strings.Contains(results[1].FailedAt, "rules_test.rego:6") {
		t.Errorf("Test() failed at %q, want the place of the false expression", results[1].FailedAt)
	}
	only, err := policy.Test(t.Context(), policy.Set{Name: "shop", Source: dir}, policy.TestOptions{Filter: "over$"})
	if err != nil || len(only) != 1 {
		t.Errorf("Test(Filter over$) = %d results, %v; want one", len(only), err)
	}
}

func TestRegoTestsHaveTheSameLimits(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{
		"rules.rego":      "package shop\ndeny contains \"x\" if input.n == data.n",
		"rules_test.rego": "package shop_test\ntest_net if http.send({\"method\": \"get\", \"url\": \"http://localhost\"})",
	})
	_, err := policy.Test(t.Context(), policy.Set{Name: "shop", Source: dir}, policy.TestOptions{})
	var fault *policy.LoadError
	if !errors.As(err, &fault) || !strings.Contains(err.Error(), "rules_test.rego:2:13: http.send is not available") {
		t.Errorf("Test() = %v, want the place where http.send is used", err)
	}
	slow := write(t, map[string]string{"a_test.rego": "package a_test\ntest_slow if count(numbers.range(1, 1000000000)) == 0"})
	results, err := policy.Test(t.Context(), policy.Set{Name: "slow", Source: slow}, policy.TestOptions{Timeout: 50 * time.Millisecond})
	if err != nil || len(results) != 1 || results[0].Passed || results[0].Error == "" {
		t.Errorf("Test() of a slow test = %+v, %v; want one result with an error", results, err)
	}
}

func TestASetWithoutTestsGivesNone(t *testing.T) {
	t.Parallel()
	results, err := policy.Test(t.Context(), policy.Set{Name: "a", Source: write(t, map[string]string{"a.rego": "package a\ndeny contains \"x\""})}, policy.TestOptions{})
	if len(results) != 0 || err != nil {
		t.Errorf("Test() = %v, %v; want nothing", results, err)
	}
}
