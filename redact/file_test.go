package redact_test

import (
	"strings"
	"testing"

	"github.com/planlatch/planlatch/redact"
)

func TestFilesWithholdTheirSecretValuesAndLeaveTheRest(t *testing.T) {
	t.Parallel()
	const key = "-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\\nqwertzuiopasdfghjklyxcvbnm123456\\n-----END PRIVATE KEY-----\\n"
	for name, tt := range map[string]struct {
		file           string
		secret, public []string
	}{
		"ServiceAccount": {
			file: `{"type": "service_account", "project_id": "acme-production", "private_key_id": "3f1c0a77", "private_key": "` + key + `",
				"client_email": "reader@acme-production.iam.gserviceaccount.com", "token_uri": "https://oauth2.googleapis.com/token"}`,
			secret: []string{"3f1c0a77", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", "qwertzuiopasdfghjklyxcvbnm123456", strings.ReplaceAll(key, `\n`, "\n")},
			public: []string{"acme-production", "reader@acme-production.iam.gserviceaccount.com", "https://oauth2.googleapis.com/token", "service_account"},
		},
		"Kubeconfig": {
			file: "apiVersion: v1\nclusters:\n- cluster:\n    server: https://k8s.example.com:6443\n  name: production-cluster\nusers:\n- name: planlatch-reader\n" +
				"  user:\n    token: eyJhbGciOi.x\n    client-key-data: LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQpzYW1wbGVzYW1wbGVzYW1wbGU=\n",
			secret: []string{"eyJhbGciOi.x", "samplesamplesample", "LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQpzYW1wbGVzYW1wbGVzYW1wbGU="},
			public: []string{"production-cluster", "https://k8s.example.com:6443", "planlatch-reader"},
		},
		"SharedCredentials": {
			file:   "[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key=wJalrXUtnFEMI/K7MDENG\nregion = eu-central-1\n",
			secret: []string{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG"},
			public: []string{"eu-central-1"},
		},
		"BareToken":    {file: "s.f00ba7f00ba7\n", secret: []string{"s.f00ba7f00ba7"}},
		"AnyNamedSame": {file: `{"anything": "9f86d081884c7d659a2feaa0c55ad015"}`, secret: []string{"9f86d081884c7d659a2feaa0c55ad015"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clean := redact.String(redact.InFile(tt.file))
			for _, secret := range append(tt.secret, tt.file) {
				if got := clean("before " + secret + " after"); strings.Contains(got, secret) || !strings.Contains(got, redact.Mark) {
					t.Errorf("redacted %q = %q", secret, got)
				}
			}
			for _, public := range tt.public {
				if got := clean("before " + public + " after"); !strings.Contains(got, public) {
					t.Errorf("redacted %q = %q, want it readable", public, got)
				}
			}
		})
	}
}
