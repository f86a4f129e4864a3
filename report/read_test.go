package report_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/planlatch/planlatch/redact"
	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with testdata/golden/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test ./report -update makes it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); run with -update if that is meant:\n%s", path, diff)
	}
}

func file(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", path))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// readPlan reads a fixture the way the runner does: sensitive values are redacted wherever they appear.
func readPlan(t testing.TB, name string) report.Plan {
	t.Helper()
	raw := file(t, "plans/"+name+".json")
	secrets, err := redact.Sensitive(raw)
	if err != nil {
		t.Fatal(err)
	}
	p, err := report.ReadPlan(raw, report.ReadOptions{
		Redact: redact.String(secrets),
		Locate: func(address string) (string, int, bool) {
			rows := map[string]int{"aws_db_instance.main": 14, "aws_db_parameter_group.main": 40, "aws_subnet.private": 7, "terraform_data.replace": 12}
			return "main.tf", rows[address], rows[address] > 0
		},
	})
	if err != nil {
		t.Fatalf("ReadPlan(%s) error: %v", name, err)
	}
	return p
}

func TestReadPlan(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"all", "aws", "network", "half"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := readPlan(t, name)
			b, err := json.MarshalIndent(p, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "plan_"+name+".json", string(b)+"\n")
			var back report.Plan
			if err := json.Unmarshal(b, &back); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(p, back); diff != "" {
				t.Errorf("plan does not survive JSON (-before +after):\n%s", diff)
			}
		})
	}
}

func TestReadPlanKeepsNoSensitiveValue(t *testing.T) {
	t.Parallel()
	for name, secrets := range map[string][]string{"all": {"secret-token"}, "aws": {"hunter2"}} {
		b, err := json.Marshal(readPlan(t, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range secrets {
			if strings.Contains(string(b), s) {
				t.Errorf("ReadPlan(%s) keeps %q", name, s)
			}
		}
	}
}

// attrs reads one update of one resource and returns its attributes.
func attrs(t *testing.T, change string, redacted ...string) []report.Attr {
	t.Helper()
	p, err := report.ReadPlan([]byte(`{"format_version":"1.2","resource_changes":[{"address":"a.b","type":"a","change":`+change+`}]}`),
		report.ReadOptions{Redact: redact.String(redacted)})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Changes) != 1 {
		t.Fatalf("changes = %d, want 1", len(p.Changes))
	}
	return p.Changes[0].Attrs
}

func TestValuesAreDiffedForPeople(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 500)
	tests := []struct {
		name    string
		change  string
		secrets []string
		want    []report.Attr
	}{
		{"NumbersKeepTheirDigits", `{"actions":["update"],"before":{"n":12345678901234567890},"after":{"n":12345678901234567891}}`, nil,
			[]report.Attr{{Path: "n", Before: "12345678901234567890", After: "12345678901234567891"}}},
		{"UnsetAndSet", `{"actions":["update"],"before":{"a":null,"b":"x"},"after":{"a":"","b":null}}`, nil,
			[]report.Attr{{Path: "a", After: `""`}, {Path: "b", Before: `"x"`}}},
		{"KeysThatAreNoNames", `{"actions":["update"],"before":{"t":{"a b":"1"}},"after":{"t":{"a b":"2"}}}`, nil,
			[]report.Attr{{Path: `t["a b"]`, Before: `"1"`, After: `"2"`}}},
		{"ShortListsWhole", `{"actions":["update"],"before":{"z":["a","b"]},"after":{"z":["b","c"]}}`, nil,
			[]report.Attr{{Path: "z", Before: `["a", "b"]`, After: `["b", "c"]`}}},
		{"BlocksShiftedInASet", `{"actions":["update"],"before":{"r":[{"p":1},{"p":2},{"p":3}]},"after":{"r":[{"p":2},{"p":3},{"p":4}]}}`, nil,
			[]report.Attr{{Path: "r[0].p", Before: "1"}, {Path: "r[2].p", After: "4"}}},
		{"Documents", `{"actions":["update"],"before":{"p":"{\"A\":[1]}"},"after":{"p":"{\"A\":[1,2]}"}}`, nil,
			[]report.Attr{{Path: "jsondecode(p).A", Before: "[1]", After: "[1, 2]"}}},
		{"DocumentsWrittenDifferently", `{"actions":["update"],"before":{"p":"{\"A\":1}"},"after":{"p":"{ \"A\": 1}"}}`, nil,
			[]report.Attr{{Path: "p", Before: "JSON", After: "the same JSON, written differently"}}},
		{"ADocumentThatIsASecretIsNotTakenApart", `{"actions":["update"],"before":{"p":"{}"},"after":{"p":"{\"key\":\"abcdefgh\",\"id\":\"ijklmnop\"}"}}`,
			[]string{`{"key":"abcdefgh","id":"ijklmnop"}`}, []report.Attr{{Path: "p", Before: `"{}"`, After: `"(redacted)"`}}},
		{"Lines", `{"actions":["update"],"before":{"s":"a\nb\nc\nd\ne\n"},"after":{"s":"a\nB\nc\nd\nE\n"}}`, nil,
			[]report.Attr{{Path: "s", Lines: []string{"  …", "- b", "+ B", "  …", "- e", "+ E"}}}},
		{"SensitiveIsNamedOnly", `{"actions":["update"],"before":{"s":"one","t":"x"},"after":{"s":"two","t":"x"},"before_sensitive":{"s":true,"t":true},"after_sensitive":{"s":true,"t":true}}`, nil,
			[]report.Attr{{Path: "s", Sensitive: true}}},
		{"SensitivePartsOfLists", `{"actions":["update"],"before":{"s":["one","two"]},"after":{"s":["one","three"]},"after_sensitive":{"s":[false,true]},"before_sensitive":{"s":[false,true]}}`, nil,
			[]report.Attr{{Path: "s", Sensitive: true}}},
		{"SecretsInOrdinaryAttributes", `{"actions":["update"],"before":{"env":"k=old-password"},"after":{"env":"k=new-password"}}`, []string{"old-password", "new-password"},
			[]report.Attr{{Path: "env", Sensitive: true}}},
		{"SecretsInKeys", `{"actions":["update"],"before":{"m":{}},"after":{"m":{"new-password":"x"}}}`, []string{"new-password"},
			[]report.Attr{{Path: "m.(redacted)", After: `"x"`}}},
		{"UnknownLast", `{"actions":["update"],"before":{"a":"1","b":"1"},"after":{"b":"2"},"after_unknown":{"a":true,"c":true}}`, nil,
			[]report.Attr{{Path: "b", Before: `"1"`, After: `"2"`}, {Path: "a", Before: `"1"`, Unknown: true}, {Path: "c", Unknown: true}}},
		{"UnknownInsideLists", `{"actions":["update"],"before":{"l":[{"id":"1"}]},"after":{"l":[{}]},"after_unknown":{"l":[{"id":true}]}}`, nil,
			[]report.Attr{{Path: "l[0].id", Before: `"1"`, Unknown: true}}},
		{"ForcingFirst", `{"actions":["delete","create"],"before":{"a":"1","z":["1"]},"after":{"a":"2","z":["2"]},"replace_paths":[["z",0]]}`, nil,
			[]report.Attr{{Path: "z", Before: `["1"]`, After: `["2"]`, Forces: true}, {Path: "a", Before: `"1"`, After: `"2"`}}},
		{"LongValuesAroundTheDifference", `{"actions":["update"],"before":{"s":"` + long + `A` + long + `"},"after":{"s":"` + long + `B` + long + `"}}`, nil,
			[]report.Attr{{Path: "s", Before: `"…` + long[:20] + "A" + long[:20] + `…"`, After: `"…` + long[:20] + "B" + long[:20] + `…"`}}},
		{"TypesThatChange", `{"actions":["update"],"before":{"a":[1]},"after":{"a":{"b":1}}}`, nil,
			[]report.Attr{{Path: "a", Before: "[1]", After: "{b = 1}"}}},
		{"EmptyCollections", `{"actions":["update"],"before":{"a":null},"after":{"a":{}}}`, nil, []report.Attr{{Path: "a", After: "{}"}}},
		{"NewObjectsWithoutEmptyValues", `{"actions":["create"],"before":null,"after":{"a":"","b":[],"c":"x","d":null},"after_unknown":{"id":true}}`, nil,
			[]report.Attr{{Path: "c", After: `"x"`}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, attrs(t, tt.change, tt.secrets...)); diff != "" {
				t.Errorf("attributes differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadPlanRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"", "{}", `{"format_version":"2.0"}`, `{"format_version":"x"}`, "[]", `{"format_version":"1.0","resource_changes":{}}`} {
		if p, err := report.ReadPlan([]byte(in), report.ReadOptions{}); err == nil {
			t.Errorf("ReadPlan(%q) = %v, want an error", in, p)
		}
	}
}

func TestUnknownActionsAreShown(t *testing.T) {
	t.Parallel()
	p, err := report.ReadPlan([]byte(`{"format_version":"1.9","resource_changes":[null,{"address":"a.b"},{"address":"a.c","change":{"actions":["reshape"]}},
		{"address":"a.d","change":{"actions":["forget","create"]}}]}`), report.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if want := (run.Counts{Change: 1, Replace: 1}); p.Counts != want {
		t.Errorf("Counts = %+v, want %+v", p.Counts, want)
	}
}

func FuzzReadPlan(f *testing.F) {
	for _, name := range []string{"all", "aws", "network"} {
		f.Add(file(f, "plans/"+name+".json"))
	}
	f.Add([]byte(`{"format_version":"1.0","resource_changes":[{"address":"a[\"","change":{"actions":["update"],"before":{"a":[1]},"after":null,"after_unknown":{"a":[true,true]},"replace_paths":[[],null,[1]]}}]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := report.ReadPlan(in, report.ReadOptions{})
		if err != nil {
			return
		}
		v := report.View{Projects: []report.Project{{Run: run.Run{State: run.Planned, Label: "p", Counts: p.Counts}, Plan: p}}}
		checkPage(t, report.Summary(v, 20000), 20000, report.SummaryMarker)
	})
}
