package intake_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/fakehost"
)

// opened is an office with a pull request of alice that was looked at. It returns its number and head.
func opened(t *testing.T, files ...map[string]string) (*office, int, string) {
	t.Helper()
	o := open(t)
	all := map[string]string{}
	for _, set := range append(files, project("one")) {
		maps.Copy(all, set)
	}
	head, err := o.host.Push(repository, "alice", "change", fakehost.Commit{Files: all})
	check(t, err)
	number, err := o.host.OpenPull(repository, "alice", fakehost.NewPull{Title: "Change", Head: "change"})
	check(t, err)
	o.hand(vcs.Event{Kind: vcs.EventPull, Number: number})
	return o, number, head
}

func contains(t *testing.T, answer string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(answer, text) {
			t.Errorf("the answer is %q, want %q in it", answer, text)
		}
	}
}

// lists is a list of selectors.
func lists(t *testing.T, texts ...string) selector.List {
	t.Helper()
	var list selector.List
	for _, text := range texts {
		s, err := selector.Parse(text)
		check(t, err)
		list = append(list, s)
	}
	return list
}

func TestACommandThatCameTooLateIsAnsweredAndNotCarriedOut(t *testing.T) {
	t.Parallel()
	o, number, head := opened(t)
	long := time.Now().Add(-61 * time.Minute)
	for _, command := range []string{"plan", "apply", `approve --reason "x"`, "cancel", "unlock"} {
		verb, _, _ := strings.Cut(command, " ")
		contains(t, o.said("bob", number, "planlatch "+command, long), "I was away when you wrote `planlatch "+verb+"`", "Please repeat it")
	}
	if runs := o.runs(head); len(runs) != 1 || runs[0].State != run.Queued {
		t.Errorf("runs = %v, want the one there was", runs)
	}
	contains(t, o.said("bob", number, "planlatch explain", long), "network") // which starts and ends nothing
	o.said("bob", number, "planlatch plan", time.Now().Add(-59*time.Minute))
	if runs := o.runs(head); len(runs) != 2 {
		t.Errorf("%d runs, want another after a command of the last hour", len(runs))
	}
}

func TestAChangedBaseBranchVoidsPlansAndPlansAgain(t *testing.T) {
	t.Parallel()
	o, number, head := opened(t)
	o.intake.Config.Defaults.Branches = []string{"default", "release"}
	_, err := o.host.Push(repository, "alice", "release", fakehost.Commit{Files: map[string]string{"network/release.tf": "# of the release\n"}})
	check(t, err)
	check(t, o.host.SetBase(repository, number, "alice", "release"))
	o.hand(vcs.Event{Kind: vcs.EventPull, Number: number})
	runs := o.runs(head)
	if len(runs) != 2 || runs[1].State != run.Superseded || runs[0].State != run.Queued {
		t.Fatalf("runs = %v, want a new one that replaces the first", runs)
	}
	rev, err := o.store.Revision(t.Context(), runs[0].Revision)
	check(t, err)
	if rev.Branch != "release" {
		t.Errorf("the new plan is on %s, want release", rev.Branch)
	}
	_, err = o.host.Push(repository, "alice", "elsewhere", fakehost.Commit{Files: map[string]string{"README.md": "x\n"}})
	check(t, err)
	check(t, o.host.SetBase(repository, number, "alice", "elsewhere")) // which plans nothing
	o.hand(vcs.Event{Kind: vcs.EventPull, Number: number})
	if runs := o.runs(head); len(runs) != 2 || !runs[0].State.Final() {
		t.Errorf("runs = %v, want none that waits", runs)
	}
}

func TestTheFirstPermissionThatMatchesDecidesAlone(t *testing.T) {
	t.Parallel()
	prod := map[string]string{"prod/main.tf": project("prod")["network/main.tf"]}
	o, number, head := opened(t, prod)
	for _, login := range []string{"carol", "dave"} {
		_, err := o.host.CreateUser(login, fakehost.Write)
		check(t, err)
	}
	check(t, o.host.CreateTeam("acme/prod", "carol", "mallory"))
	o.intake.Config.Permissions = []config.Permission{
		{Commands: []string{"plan", "cancel"}, Projects: lists(t, "//prod/**"), Teams: []string{"acme/prod"}},
		{Commands: []string{"plan"}, Projects: lists(t, "//**"), Users: []string{"dave", "carol"}},
		{Commands: []string{"plan"}, Projects: lists(t, "//prod/**"), Users: []string{"dave"}}, // never reached
	}
	count := len(o.runs(head))
	for _, c := range []struct {
		who, command string
		may          bool
		told         string
	}{
		{"dave", "plan -p network", true, ""},
		{"dave", "plan -p prod", false, "you may not `plan` `prod`. plan of prod is for acme/prod"},
		{"dave", "plan", false, "plan of prod is for acme/prod"},                          // not in part
		{"bob", "plan -p network", false, "plan of network is for dave or carol"},         // write permission is no help
		{"mallory", "plan -p prod", true, ""},                                             // nor is the lack of it a hindrance
		{"carol", "plan", true, ""},                                                       // by two rules
		{"bob", "cancel -p prod", false, "cancel of prod is for acme/prod"},               //
		{"mallory", "cancel -p network", false, "cancel needs write permission"},          // no rule: the default
		{"alice", "plan -d nowhere", false, "plan of . is for dave or carol"},             // before anything is fetched for her
		{"carol", "plan -d nowhere", false, `there is no project in directory "nowhere"`}, // who may ask
	} {
		answer := o.says(c.who, number, "planlatch "+c.command)
		before := count
		count = len(o.runs(head))
		if c.may != (count > before) || (answer == "") != c.may {
			t.Errorf("%s: %q made %d runs and was answered %q", c.who, c.command, count-before, answer)
		}
		contains(t, answer, c.told)
	}
	o.host.SetFault(func(r *http.Request) *fakehost.Fault {
		if strings.Contains(r.URL.Path, "/memberships/") {
			return &fakehost.Fault{Status: http.StatusUnprocessableEntity}
		}
		return nil
	})
	contains(t, o.says("carol", number, "planlatch plan -p prod"), "a team could not be looked up, which counts as no")
	if len(o.runs(head)) != count {
		t.Error("a team that could not be looked up planned")
	}
}

func TestAVariableInACommandTakesThePermissionToApply(t *testing.T) {
	t.Parallel()
	o, number, head := opened(t)
	o.intake.Config.Permissions = []config.Permission{{Commands: []string{"apply"}, Projects: lists(t, "//network"), Users: []string{"bob"}}}
	contains(t, o.says("alice", number, "planlatch plan -- -var region=eu"), "you may not `apply` `network`", "apply of network is for bob")
	if runs := o.runs(head); len(runs) != 1 {
		t.Errorf("%d runs, want the one there was", len(runs))
	}
	o.says("alice", number, "planlatch plan -- -target=terraform_data.x")
	o.says("bob", number, "planlatch plan -- -var region=eu")
	runs := o.runs(head)
	if len(runs) != 3 || runs[0].Settings.Flags[0] != "-var=region=eu" || runs[1].Settings.Flags[0] != "-target=terraform_data.x" {
		t.Errorf("runs = %+v, want those with flags", runs)
	}
}

func TestFlagsFitTheProjectsThatTheyAreFor(t *testing.T) {
	t.Parallel()
	classic := map[string]string{"classic/main.tf": project("classic")["network/main.tf"], "classic/.terraform-version": "1.5.7\n"}
	o, number, head := opened(t, classic)
	count := len(o.runs(head))
	for command, told := range map[string]string{
		"-p network -- -exclude=terraform_data.x": "", "-p classic -- -target=terraform_data.x": "", "-p network -- -var-file=../shared.tfvars": "",
		"-p classic -- -exclude=terraform_data.x":     "-exclude is a flag of OpenTofu, and classic is planned with Terraform",
		"-p network -- -var-file=../../shared.tfvars": "is outside the repository",
	} {
		answer := o.says("bob", number, "planlatch plan "+command)
		before := count
		if count = len(o.runs(head)); (told == "") != (count > before) {
			t.Errorf("%q made %d runs and was answered %q", command, count-before, answer)
		}
		contains(t, answer, told)
	}
}

func TestStateCommandsAreAnsweredWithTheBlockToPaste(t *testing.T) {
	t.Parallel()
	o, number, head := opened(t)
	contains(t, o.says("bob", number, "planlatch import terraform_data.x an-id"), "only by a reviewed plan", "`network/import.tf`", "```hcl\nimport {\n  to = terraform_data.x\n  id = \"an-id\"\n}\n```")
	contains(t, o.says("bob", number, "planlatch state rm terraform_data.x -p network"), "`network/removed.tf`", "removed {\n  from = terraform_data.x\n", "Terraform 1.7")
	contains(t, o.says("bob", number, "planlatch import 'x[0' y"), "is no address")
	contains(t, o.says("bob", number, "planlatch import a.b y -p nothing"), `there is no project "nothing"`)
	if runs := o.runs(head); len(runs) != 1 {
		t.Errorf("%d runs, want the one there was", len(runs))
	}
}

func TestHelpSaysWhatTheCommenterMayDo(t *testing.T) {
	t.Parallel()
	o, number, _ := opened(t, map[string]string{"prod/main.tf": project("prod")["network/main.tf"]})
	o.intake.Config.Permissions = []config.Permission{{Commands: []string{"apply"}, Projects: lists(t, "//prod/**"), Users: []string{"bob"}}}
	contains(t, o.says("alice", number, "planlatch help"), "apply the plans shown above, if every gate holds | for `network` |", "plan again", "| yes |")
	contains(t, o.says("bob", number, "planlatch help"), "apply the plans shown above, if every gate holds | yes |")
	contains(t, o.says("mallory", number, "planlatch help"), "| no: apply needs write permission on the repository |", "| no: plan needs write permission on the repository |", "which projects were selected, and why | yes |")
}

func TestACommandMayNameTheCommitItIsAbout(t *testing.T) {
	t.Parallel()
	o := open(t)
	fork, err := o.host.Fork(repository, "mallory")
	check(t, err)
	check(t, o.host.SetPermission(fork, "mallory", fakehost.Admin))
	head, err := o.host.Push(fork, "mallory", "evil", fakehost.Commit{Files: project("one")})
	check(t, err)
	number, err := o.host.OpenPull(repository, "mallory", fakehost.NewPull{Title: "Hello", Head: "mallory:evil"})
	check(t, err)
	o.hand(vcs.Event{Kind: vcs.EventPull, Number: number})
	before := time.Now().Add(-time.Minute) // nobody could have seen this head
	contains(t, o.said("bob", number, "planlatch plan", before), "a newer plan than the one you could see")
	contains(t, o.said("bob", number, "planlatch plan --at 0123456789012345678901234567890123456789", before), head[:7])
	if runs := o.runs(head); len(runs) > 0 {
		t.Fatalf("runs = %v, want none", runs)
	}
	if answer := o.said("bob", number, "planlatch plan --at "+head, before); answer != "" || len(o.runs(head)) != 1 {
		t.Errorf("%d runs, answered %q, want the one that was named", len(o.runs(head)), answer)
	}
}

func TestAMovedProjectIsCommandedByWhoMayAtBothPlaces(t *testing.T) {
	t.Parallel()
	o := open(t)
	guarded := map[string]string{"prod/main.tf": "terraform {\n  backend \"http\" {\n    address = \"https://state.example.com/prod\"\n  }\n}\n"}
	_, err := o.host.Push(repository, "alice", "main", fakehost.Commit{Files: guarded})
	check(t, err)
	o.intake.Config.Permissions = []config.Permission{{Commands: []string{"plan"}, Projects: lists(t, "//prod/**"), Users: []string{"bob"}}}
	_, err = o.host.Push(repository, "alice", "move", fakehost.Commit{
		Files: map[string]string{"free/main.tf": guarded["prod/main.tf"]}, Delete: []string{"prod"},
	})
	check(t, err)
	number, err := o.host.OpenPull(repository, "alice", fakehost.NewPull{Title: "Move", Head: "move"})
	check(t, err)
	o.hand(vcs.Event{Kind: vcs.EventPull, Number: number})
	contains(t, o.says("alice", number, "planlatch plan -p free"), "you may not `plan` `free`. plan of prod is for bob")
	if answer := o.says("bob", number, "planlatch plan -p free"); answer != "" {
		t.Errorf("bob, who may at both places, is told %q", answer)
	}
}
