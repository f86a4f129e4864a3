package blob_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/blob"
	"github.com/planlatch/planlatch/testkit/s3"
)

// TestS3 runs against a real S3 server. It sets the environment, from where the AWS library takes credentials, so it is not parallel.
func TestS3(t *testing.T) {
	bucket := s3.New(t)
	t.Setenv("AWS_ACCESS_KEY_ID", bucket.Owner.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", bucket.Owner.SecretKey)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	s := open(t, blob.Options{URL: "s3://" + bucket.Name + "?region=" + bucket.Region + "&use_path_style=true&endpoint=" + bucket.Endpoint})
	data := []byte(strings.Repeat("planlatch", 100_000))
	if err := s.Put(t.Context(), "runs/x/plan", data); err != nil {
		t.Fatalf("Put() = %v", err)
	}
	if err := s.Put(t.Context(), "runs/x/plan", data); err != nil {
		t.Errorf("Put() of the same again = %v, want nil", err)
	}
	if err := s.Put(t.Context(), "runs/x/plan", []byte("other")); !errors.Is(err, blob.ErrExists) {
		t.Errorf("Put() of other content = %v, want ErrExists", err)
	}
	if got, err := s.Get(t.Context(), "runs/x/plan"); err != nil || string(got) != string(data) {
		t.Errorf("Get() = %d bytes, %v, want %d", len(got), err, len(data))
	}
	if err := s.Delete(t.Context(), "runs/x/plan"); err != nil {
		t.Errorf("Delete() = %v", err)
	}
	if _, err := s.Get(t.Context(), "runs/x/plan"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Get() of a deleted object = %v, want ErrNotFound", err)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("Check() = %v", err)
	}
}
