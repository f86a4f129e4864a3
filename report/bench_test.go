package report_test

import (
	"strings"
	"testing"

	"github.com/planlatch/planlatch/report"
)

func BenchmarkSummary500(b *testing.B) {
	v := many(b)
	b.ReportAllocs()
	for b.Loop() {
		report.Summary(v, githubLimit)
	}
}

func BenchmarkStatuses500(b *testing.B) {
	v := many(b)
	b.ReportAllocs()
	for b.Loop() {
		report.Statuses(v, 50)
	}
}

func BenchmarkReadPlan(b *testing.B) {
	one := string(file(b, "plans/network.json"))
	start, end := strings.Index(one, "[\n")+1, strings.LastIndex(one, "]")
	plan := []byte(one[:start] + strings.Repeat(one[start:end]+",", 499) + one[start:])
	b.SetBytes(int64(len(plan)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := report.ReadPlan(plan, report.ReadOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
