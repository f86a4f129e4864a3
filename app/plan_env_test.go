package app

import (
	"slices"
	"testing"
)

// What a plan gets of its owner's environment is a list; what is not on it does not pass, and what may be a secret is taken for one.
func TestHandOver(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"AWS_REGION": "eu-west-1", "AWS_PROFILE": "work", "AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "x", "AWS_NEW_THING": "x",
		"GOOGLE_APPLICATION_CREDENTIALS": "/k.json", "ARM_CLIENT_SECRET": "x", "KUBECONFIG": "/k", "KUBE_TOKEN": "x", "VAULT_ADDR": "https://v", "VAULT_TOKEN": "x",
		"TF_VAR_stage": "prod", "TF_VAR_db_password": "x", "TF_VAR_api_key": "x", "TF_TOKEN_app_example_com": "x", "HTTPS_PROXY": "http://u:p@proxy", "no_proxy": "local",
		"TF_CLI_ARGS_plan": "-destroy", "TF_PLUGIN_CACHE_DIR": "/c", "TF_REATTACH_PROVIDERS": "{}", "TF_LOG": "trace", "LD_PRELOAD": "/x.so", "GITHUB_TOKEN": "x",
		"SSH_AUTH_SOCK": "/s", "HOME": "/home/ann", "PATH": "/bin", "MY_SECRET": "x",
	}
	got, err := handOver(env, []string{"MY_SECRET"})
	if err != nil {
		t.Fatal(err)
	}
	wantValues := []string{"AWS_PROFILE=work", "AWS_REGION=eu-west-1", "KUBECONFIG=/k", "TF_VAR_stage=prod", "VAULT_ADDR=https://v", "no_proxy=local"}
	wantSecrets := []string{
		"ARM_CLIENT_SECRET=x", "AWS_ACCESS_KEY_ID=AKIA", "AWS_NEW_THING=x", "AWS_SECRET_ACCESS_KEY=x", "GOOGLE_APPLICATION_CREDENTIALS=/k.json",
		"HTTPS_PROXY=http://u:p@proxy", "KUBE_TOKEN=x", "MY_SECRET=x", "TF_TOKEN_app_example_com=x", "TF_VAR_api_key=x", "TF_VAR_db_password=x", "VAULT_TOKEN=x",
	}
	if !slices.Equal(got.values, wantValues) || !slices.Equal(got.secrets, wantSecrets) {
		t.Errorf("handOver() = %q, %q, want %q, %q", got.values, got.secrets, wantValues, wantSecrets)
	}
	for _, name := range []string{"TF_CLI_ARGS_plan", "HOME", "TF_REATTACH_PROVIDERS", "NOT_THERE"} {
		if _, err := handOver(env, []string{name}); err == nil {
			t.Errorf("handOver(--env %s) is allowed", name)
		}
	}
}
