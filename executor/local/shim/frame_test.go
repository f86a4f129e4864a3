package shim

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzFrame reads frames that a writer which died, or a disk that broke, left.
func FuzzFrame(f *testing.F) {
	var good bytes.Buffer
	if err := WriteFrame(&good, brief{}); err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes())
	f.Add(good.Bytes()[:good.Len()-1])
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0x80, 0, 0, '{'})
	f.Add([]byte{0, 0, 0, 2, '{', '}', 'x'})
	f.Add([]byte{0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		var got brief
		if err := readFrame(r, &got); err != nil {
			return
		}
		if r.Len() > len(b)-4 {
			t.Errorf("readFrame() takes a frame from %d bytes", len(b)-r.Len())
		}
		if _, err := json.Marshal(got); err != nil {
			t.Errorf("readFrame() gives what cannot be written: %v", err)
		}
	})
}
