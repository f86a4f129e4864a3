package s3

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Identity is an account of the gateway.
type Identity struct {
	AccessKey, SecretKey string
}

// Bucket is one bucket of one test. It lives until the test binary ends.
type Bucket struct {
	Name     string
	Region   string
	Address  string   // host:port, for rules about networks
	Endpoint string   // the URL of the gateway, for path-style requests
	Owner    Identity // may do everything

	gateway *gateway
	mu      sync.Mutex
	policy  []statement
}

// Grant lets a user do something with the objects whose keys match a pattern ("*" stands for any characters), or, with an empty pattern,
// with the bucket itself. Actions are S3's own: "s3:GetObject".
type Grant struct {
	Keys    string
	Actions []string
}

// Reading is looking at the bucket and at every object.
func Reading() []Grant {
	return []Grant{{Actions: []string{"s3:ListBucket"}}, {Keys: "*", Actions: []string{"s3:GetObject"}}}
}

// Writing is making and removing the objects whose keys match.
func Writing(keys string) Grant {
	return Grant{Keys: keys, Actions: []string{"s3:PutObject", "s3:DeleteObject"}}
}

// statement is one of a bucket policy.
type statement struct {
	Effect    string
	Principal map[string]string
	Action    []string
	Resource  string
}

// New returns a fresh, empty bucket.
func New(t testing.TB) *Bucket {
	t.Helper()
	g, err := shared()
	if err != nil {
		t.Fatalf("start S3 for tests: %v", err)
	}
	b := &Bucket{
		Name: fmt.Sprintf("bucket-%d", g.next.Add(1)), Region: region, Address: g.address, Endpoint: "http://" + g.address, Owner: g.owner, gateway: g,
	}
	ctx, cancel := context.WithTimeout(t.Context(), callWithin)
	defer cancel()
	if _, err := b.Client(b.Owner).CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &b.Name}); err != nil {
		t.Fatalf("create bucket: %v", err)
	}
	return b
}

// Client speaks to the gateway as somebody.
func (b *Bucket) Client(as Identity) *s3.Client {
	return s3.New(s3.Options{
		Region: b.Region, BaseEndpoint: &b.Endpoint, UsePathStyle: true, HTTPClient: b.gateway.http,
		Credentials: credentials.NewStaticCredentialsProvider(as.AccessKey, as.SecretKey, ""),
		Retryer:     aws.NopRetryer{}, // what is refused once is refused: a test wants to know at once
	})
}

// User makes an account that may do what is granted in this bucket, and nothing else anywhere.
func (b *Bucket) User(t testing.TB, grants ...Grant) Identity {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callWithin)
	defer cancel()
	who := Identity{AccessKey: fmt.Sprintf("user-%d", b.gateway.next.Add(1)), SecretKey: rand.Text()}
	if err := b.gateway.account(ctx, who); err != nil {
		t.Fatalf("create S3 user: %v", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, g := range grants {
		resource := "arn:aws:s3:::" + b.Name
		if g.Keys != "" {
			resource += "/" + g.Keys
		}
		b.policy = append(b.policy, statement{"Allow", map[string]string{"AWS": who.AccessKey}, g.Actions, resource})
	}
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": b.policy})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Client(b.Owner).PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: &b.Name, Policy: aws.String(string(text))}); err != nil {
		t.Fatalf("grant %+v: %v", grants, err)
	}
	return who
}

// account makes an account the only way there is: through the program itself.
func (g *gateway) account(ctx context.Context, who Identity) error {
	g.people.Lock()
	defer g.people.Unlock()
	cmd := exec.CommandContext(ctx, g.binary, "admin", "--endpoint-url", "http://"+g.address, "create-user",
		"--access", who.AccessKey, "--secret", who.SecretKey, "--role", "user")
	cmd.Dir = g.dir
	cmd.Env = []string{"ADMIN_ACCESS_KEY=" + g.owner.AccessKey, "ADMIN_SECRET_KEY=" + g.owner.SecretKey, "ADMIN_REGION=" + region}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Object returns the content of an object; false if there is none.
func (b *Bucket) Object(t testing.TB, key string) (string, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callWithin)
	defer cancel()
	out, err := b.Client(b.Owner).GetObject(ctx, &s3.GetObjectInput{Bucket: &b.Name, Key: &key})
	if missing := (*types.NoSuchKey)(nil); errors.As(err, &missing) {
		return "", false
	}
	if err != nil {
		t.Fatalf("read object %s: %v", key, err)
	}
	defer out.Body.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatalf("read object %s: %v", key, err)
	}
	return string(text), true
}

// Request is one that the gateway answered.
type Request struct {
	By     string // access key
	Action string // S3's own name: GetObject
	Key    string // of the object
	Status int
}

// requestLine is the format of S3's server access logs, up to the status.
var requestLine = regexp.MustCompile(`(?m)^\S+ (\S+) \[[^\]]*\] \S+ (\S+) \S+ s3_(\w+) (.*) /\S* (\d{3}) `)

// Requests lists the requests about objects of this bucket, in order. Requests with a wrong secret are not told apart from those with the right
// one but by their status.
func (b *Bucket) Requests(t testing.TB) []Request {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(b.gateway.dir, requestLog))
	if err != nil {
		t.Fatalf("read the gateway's log: %v", err)
	}
	var all []Request
	for _, m := range requestLine.FindAllStringSubmatch(string(log), -1) {
		if m[1] != b.Name || m[4] == "-" {
			continue
		}
		status, err := strconv.Atoi(m[5])
		if err != nil {
			t.Fatalf("read the gateway's log: %v", err)
		}
		all = append(all, Request{By: m[2], Action: m[3], Key: m[4], Status: status})
	}
	return all
}
