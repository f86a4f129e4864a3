package runner //nolint:testpackage // where a state is, is known to the runner alone

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"io"
	"strings"
	"testing"
)

// message is a field of a message: its number and its bytes.
func message(number byte, body string) string {
	return string(binary.AppendUvarint([]byte{number<<3 | 2}, uint64(len(body)))) + body
}

// planned is the part of a plan file that says where the state is. config is the msgpack of an object.
func planned(kind, config, workspace string) string {
	return message(fieldBackend, message(fieldType, kind)+message(fieldConfig, message(fieldMsgpack, config))+message(fieldWorkspace, workspace))
}

func archived(t testing.TB, plans ...string) []byte {
	t.Helper()
	var file bytes.Buffer
	z := zip.NewWriter(&file)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	for _, plan := range plans {
		w, err := z.Create("tfplan")
		if err == nil {
			_, err = io.WriteString(w, plan)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

const (
	pathA = "\x82\xa4path\xa2/a\xadworkspace_dir\xc0"
	pathB = "\x82\xa4path\xa2/b\xadworkspace_dir\xc0"
)

func TestWhereAnApplyKeepsTheStateIsReadFromThePlanFile(t *testing.T) {
	t.Parallel()
	init := []byte(`{"backend":{"type":"local","config":{"path":"/forged"}}}`)
	for name, c := range map[string]struct {
		plan       []byte
		want, work string
		fails      string
	}{
		"AsPlanned":              {plan: archived(t, "\x08\x03"+message(3, "changes")+planned("local", pathA, "prod")+message(14, "1.5.7")), want: "/a", work: "prod"},
		"TheLastOfTwoCounts":     {plan: archived(t, planned("local", pathA, "x")+planned("local", pathB, "default")), want: "/b", work: "default"},
		"TheFirstPartCounts":     {plan: archived(t, planned("local", pathA, ""), planned("local", pathB, "")), want: "/a"},
		"AnotherTypeIsPassed":    {plan: archived(t, planned("local", pathA, "")+"\x68\x01"), want: "/a"},
		"OneTheProjectEncrypts":  {plan: []byte(`{"meta":{},"encrypted_data":"x","encryption_version":"v0"}`), want: "/forged"},
		"NoArchive":              {plan: []byte("text"), fails: "read the plan file"},
		"NoPlan":                 {plan: archived(t), fails: "it has no plan"},
		"CutInAField":            {plan: archived(t, planned("local", pathA, "")[:9]), fails: "unexpected EOF"},
		"AnUnknownWireType":      {plan: archived(t, "\x0b"), fails: "wire type 3"},
		"ASizeWithoutEnd":        {plan: archived(t, "\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), fails: "longer than a message may be"},
		"ABackendWithoutEnd":     {plan: archived(t, message(fieldBackend, strings.Repeat("x", mostBackend+1))), fails: "more than"},
		"SettingsWithoutBottom":  {plan: archived(t, planned("local", strings.Repeat("\x91", mostBackend-100), "")), fails: "EOF"},
		"NestedDeeply":           {plan: archived(t, planned("local", strings.Repeat("\x91", mostBackend-100)+"\x01", "")), fails: "json"},
		"SettingsThatAreNone":    {plan: archived(t, planned("local", "\xc1", "")), fails: "msgpack"},
		"SettingsThatAreNoGroup": {plan: archived(t, planned("local", "\x01", "")), fails: "json"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := stateOf(left{plan: c.plan, backend: init})
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("stateOf() = %+v, %v, want %q", b, err, c.fails)
				}
				return
			}
			if err != nil || b.Type != "local" || b.Config["path"] != c.want || b.Workspace != c.work {
				t.Errorf("stateOf() = %+v, %v, want %s in %q", b, err, c.want, c.work)
			}
		})
	}
}

// FuzzPlannedBackend reads whatever a plan may leave.
func FuzzPlannedBackend(f *testing.F) {
	f.Add([]byte(planned("local", pathA, "default")))
	f.Add([]byte("\x08\x03" + planned("s3", "\x81\xa6bucket\xd4\x00\x00", "")))
	f.Fuzz(func(_ *testing.T, plan []byte) {
		if b, err := readPlanned(bytes.NewReader(plan)); err == nil {
			b.identity("default")
		}
	})
}
