package app_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planlatch/planlatch/notify/notifytest"
)

func TestDoctorTriesChannelsWithoutWritingToThem(t *testing.T) {
	t.Parallel()
	slack := notifytest.NewSlack(t, "#infra", "#other")
	slack.Leave("#other")
	hook := notifytest.Answering(t, func(w http.ResponseWriter) {
		t.Error("doctor wrote to the webhook")
		w.WriteHeader(http.StatusOK)
	})
	dir := t.TempDir()
	file := filepath.Join(dir, "server.yaml")
	text := strings.ReplaceAll(good, "DATA", dir) + `
notify:
  - {name: infra, kind: slack, token: ` + slack.Token + `, channel: "#infra", api_url: "` + slack.URL + `", events: [applied, drift]}
  - {name: other, kind: slack, token: ` + slack.Token + `, channel: "#other", api_url: "` + slack.URL + `"}
  - {name: cards, kind: teams, url: "https://prod-1.westeurope.logic.azure.com/workflows/x?sig=` + notifytest.Secret + `"}
  - {name: program, kind: webhook, url: "` + hook + `/` + notifytest.Secret + `"}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, out, errs := run(t, map[string]string{"PATH": os.Getenv("PATH")}, "doctor", "--config", file)
	for _, want := range []string{
		"ok    notify infra   speaks as planlatch in Acme, in #infra",
		"FAIL  notify other   speaks as planlatch in Acme, but is not in #other: /invite @planlatch there",
		"ok    notify cards   a workflow's address",
		"warn  notify program nothing is signed",
		"warn  configuration  notify infra: the event drift has no effect in this version",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("doctor does not say %q:\n%s%s", want, out, errs)
		}
	}
	if strings.Contains(out+errs, notifytest.Secret) {
		t.Errorf("doctor prints a secret:\n%s%s", out, errs)
	}
}
