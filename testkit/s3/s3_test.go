package s3_test

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	aws3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/testkit/s3"
)

func put(t *testing.T, b *s3.Bucket, as s3.Identity, key, text string, onlyNew bool) error {
	t.Helper()
	in := &aws3.PutObjectInput{Bucket: &b.Name, Key: &key, Body: strings.NewReader(text)}
	if onlyNew {
		in.IfNoneMatch = aws.String("*")
	}
	_, err := b.Client(as).PutObject(t.Context(), in)
	return err
}

func TestEachCallGetsItsOwnEmptyBucket(t *testing.T) {
	t.Parallel()
	a, b := s3.New(t), s3.New(t)
	if err := put(t, a, a.Owner, "states/x", "one", false); err != nil {
		t.Fatal(err)
	}
	if got, ok := a.Object(t, "states/x"); got != "one" || !ok {
		t.Errorf("Object() = %q, %t, want what was put", got, ok)
	}
	if got, ok := b.Object(t, "states/x"); ok {
		t.Errorf("Object() of the other bucket = %q", got)
	}
}

func TestASecondConditionalPutIsRefused(t *testing.T) {
	t.Parallel()
	b := s3.New(t)
	if err := put(t, b, b.Owner, "x.tflock", "first", true); err != nil {
		t.Fatal(err)
	}
	if err := put(t, b, b.Owner, "x.tflock", "second", true); err == nil || !strings.Contains(err.Error(), "PreconditionFailed") {
		t.Errorf("PutObject() = %v, want PreconditionFailed", err)
	}
}

func TestUsersMayDoOnlyWhatIsGranted(t *testing.T) {
	t.Parallel()
	b, other := s3.New(t), s3.New(t)
	for _, bucket := range []*s3.Bucket{b, other} {
		if err := put(t, bucket, b.Owner, "states/x", "content", false); err != nil {
			t.Fatal(err)
		}
	}
	reader := b.User(t, append(s3.Reading(), s3.Writing("*.tflock"))...)
	writer := b.User(t, append(s3.Reading(), s3.Writing("*"))...)
	get := func(bucket *s3.Bucket, as s3.Identity) error {
		_, err := bucket.Client(as).GetObject(t.Context(), &aws3.GetObjectInput{Bucket: &bucket.Name, Key: aws.String("states/x")})
		return err
	}
	guesser := s3.Identity{AccessKey: reader.AccessKey, SecretKey: "a guess"}
	for _, tt := range []struct {
		name string
		err  error
		ok   bool
	}{
		{"reader reads", get(b, reader), true},
		{"reader locks", put(t, b, reader, "states/x.tflock", "lock", true), true},
		{"reader writes", put(t, b, reader, "states/x", "changed", false), false},
		{"reader looks elsewhere", get(other, reader), false},
		{"writer writes", put(t, b, writer, "states/x", "changed", false), true},
		{"somebody without the secret reads", get(b, guesser), false},
	} {
		if (tt.err == nil) != tt.ok {
			t.Errorf("%s: %v, want success %t", tt.name, tt.err, tt.ok)
		}
	}
	want := []s3.Request{
		{By: reader.AccessKey, Action: "GetObject", Key: "states/x", Status: 200},
		{By: reader.AccessKey, Action: "PutObject", Key: "states/x.tflock", Status: 200},
		{By: reader.AccessKey, Action: "PutObject", Key: "states/x", Status: 403},
		{By: reader.AccessKey, Action: "GetObject", Key: "states/x", Status: 403}, // by the guesser
	}
	got := slices.DeleteFunc(b.Requests(t), func(r s3.Request) bool { return r.By != reader.AccessKey })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Requests() of the reader differ (-want +got):\n%s", diff)
	}
}

// The child is this test binary: it starts a gateway, says where, and is killed.
func TestNothingIsLeftWhenTheTestBinaryIsKilled(t *testing.T) {
	t.Parallel()
	if os.Getenv("S3_TEST_CHILD") != "" {
		os.Stdout.WriteString("address " + s3.New(t).Address + "\n")
		select {}
	}
	tmp := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNothingIsLeftWhenTheTestBinaryIsKilled$")
	cmd.Env = append(os.Environ(), "S3_TEST_CHILD=1", "TMPDIR="+tmp)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var address string
	for lines := bufio.NewScanner(out); address == "" && lines.Scan(); {
		address, _ = strings.CutPrefix(lines.Text(), "address ")
	}
	dial := func() error {
		conn, err := (&net.Dialer{Timeout: time.Minute}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	if err := dial(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	for deadline := time.Now().Add(2 * time.Minute); ; {
		left, err := filepath.Glob(filepath.Join(tmp, "planlatch-s3-*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("left behind: %v", left)
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // another process's end, at a deadline
	}
	if dial() == nil {
		t.Error("the gateway still answers")
	}
}
