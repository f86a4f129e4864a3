package examples_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/credential"
)

// Each script of examples/credentials with a stand-in for its vendor's program that checks its arguments and prints what the vendor documents.
func TestCredentialScripts(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("jq"); err != nil {
		t.Skip("SKIPPED: the scripts need jq, and it is not installed")
	}
	const sts = `"Credentials": {"AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "wJalrXUtn/FEMI", "SessionToken": "IQoJb3Jp\"Z2lu==", "Expiration": "2036-01-31T13:00:00+00:00"}`
	keys := map[string]string{"AWS_ACCESS_KEY_ID": "ASIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtn/FEMI", "AWS_SESSION_TOKEN": `IQoJb3Jp"Z2lu==`}
	expires := time.Date(2036, 1, 31, 13, 0, 0, 0, time.UTC)
	for script, tt := range map[string]struct {
		args          []string
		program, call string
		prints        string
		want          credential.Answer
		in            time.Duration // instead of want.Expires
	}{
		"aws-assume-role": {
			args: []string{"arn:aws:iam::1:role/plan"}, program: "aws",
			call:   "sts assume-role --role-arn arn:aws:iam::1:role/plan --role-session-name planlatch-plan-r1 --duration-seconds 3600 --output json",
			prints: `{` + sts + `, "AssumedRoleUser": {"AssumedRoleId": "AROA:planlatch-plan-r1", "Arn": "arn:aws:sts::1:assumed-role/plan/planlatch-plan-r1"}}`,
			want:   credential.Answer{Env: keys, Expires: expires},
		},
		"aws-irsa": {
			args: []string{"arn:aws:iam::1:role/plan"}, program: "aws",
			call: "sts assume-role-with-web-identity --role-arn arn:aws:iam::1:role/plan --role-session-name planlatch-plan-r1 " +
				"--web-identity-token file:///var/run/secrets/eks.amazonaws.com/serviceaccount/token --duration-seconds 3600 --no-sign-request --output json",
			prints: `{` + sts + `, "SubjectFromWebIdentityToken": "system:serviceaccount:planlatch:planlatch", "Provider": "arn:aws:iam::1:oidc-provider/x", "Audience": "sts.amazonaws.com"}`,
			want:   credential.Answer{Env: keys, Expires: expires},
		},
		"gcp-impersonate": {
			args: []string{"plan@acme.iam.gserviceaccount.com"}, program: "gcloud",
			call:   "auth print-access-token --impersonate-service-account=plan@acme.iam.gserviceaccount.com --quiet",
			prints: "ya29.c.b0Aaekm1K",
			want:   credential.Answer{Env: map[string]string{"GOOGLE_OAUTH_ACCESS_TOKEN": "ya29.c.b0Aaekm1K"}}, in: time.Hour,
		},
		"azure-federated": {
			args: []string{"the-client", "the-subscription"}, program: "az",
			call:   "account get-access-token --resource api://AzureADTokenExchange --output json",
			prints: `{"accessToken": "eyJ0eXAi.x.y", "expiresOn": "2036-01-31 14:00:00.000000", "expires_on": 2085397200, "subscription": "s", "tenant": "the-tenant", "tokenType": "Bearer"}`,
			want: credential.Answer{
				Env:     map[string]string{"ARM_OIDC_TOKEN": "eyJ0eXAi.x.y"},
				Values:  map[string]string{"ARM_USE_OIDC": "true", "ARM_CLIENT_ID": "the-client", "ARM_TENANT_ID": "the-tenant", "ARM_SUBSCRIPTION_ID": "the-subscription"},
				Expires: expires,
			},
		},
		"vault-aws": {
			args: []string{"aws/creds/plan"}, program: "vault", call: "read -format=json aws/creds/plan",
			prints: `{"request_id": "5a", "lease_id": "aws/creds/plan/x", "lease_duration": 7200, "renewable": true, "data": {"access_key": "AKIAEXAMPLE", "secret_key": "xjalr", "security_token": null}, "warnings": null}`,
			want:   credential.Answer{Env: map[string]string{"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "xjalr"}}, in: 2 * time.Hour,
		},
		"vault-kv": {
			args: []string{"secret", "planlatch/apply"}, program: "vault", call: "kv get -format=json -mount=secret planlatch/apply",
			prints: `{"request_id": "5b", "lease_duration": 0, "data": {"data": {"CLOUDFLARE_API_TOKEN": "v1.0-abc"}, "metadata": {"version": 3, "destroyed": false}}, "warnings": null}`,
			want:   credential.Answer{Env: map[string]string{"CLOUDFLARE_API_TOKEN": "v1.0-abc"}}, in: time.Hour,
		},
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			bin := t.TempDir()
			standIn := "#!/bin/sh\n[ \"$*\" = '" + tt.call + "' ] || { echo \"called with $*\" >&2; exit 2; }\ncat <<'END'\n" + tt.prints + "\nEND\n"
			path, err := filepath.Abs(filepath.Join("credentials", script))
			if err != nil {
				t.Fatal(err)
			}
			asker := credential.New(credential.Options{Environment: []string{"PATH=" + bin + ":/usr/local/bin:/usr/bin:/bin"}, Check: config.CheckVariable})
			ask := func(standIn string) (credential.Answer, error) {
				if err := os.WriteFile(filepath.Join(bin, tt.program), []byte(standIn), 0o700); err != nil { //nolint:gosec // it is to be run
					t.Fatal(err)
				}
				return asker.Ask(t.Context(), credential.Command{Config: script, Argv: append([]string{path}, tt.args...), TTL: time.Hour},
					credential.Question{Host: "github", Repo: "acme/infra", Dir: "prod", Workspace: "default", Phase: "plan", Run: "r1"}, credential.Need{})
			}
			began := time.Now()
			got, err := ask(standIn)
			if err != nil {
				no, _ := errors.AsType[*credential.Error](err)
				t.Fatalf("Ask() = %v: %+v", err, no)
			}
			if tt.in != 0 {
				if from, to := began.Add(tt.in-time.Second), time.Now().Add(tt.in); got.Expires.Before(from) || got.Expires.After(to) { // programs tell whole seconds
					t.Errorf("Expires = %v, want %v after the question: %v to %v", got.Expires, tt.in, from, to)
				}
				got.Expires = time.Time{}
			}
			got.Expires = got.Expires.UTC()
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Ask() (-want +got):\n%s", diff)
			}
			for name, broken := range map[string]string{
				"Fails":         "#!/bin/sh\necho '" + strings.ReplaceAll(tt.prints, "'", "") + "'; exit 1\n",
				"PrintsNothing": "#!/bin/sh\n",
			} {
				if _, err := ask(broken); err == nil {
					t.Errorf("%s: the script answered although %s gave nothing", name, tt.program)
				}
			}
		})
	}
}
