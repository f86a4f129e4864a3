package command_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planlatch/planlatch/command"
)

var us = command.Options{Prefixes: []string{"planlatch", "pl"}, Bot: "planlatch-bot[bot]", Flags: []string{"-compact-warnings"}}

func TestCommandsAreRead(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		want       command.Command
	}{
		{"Plain", "planlatch plan", command.Command{Verb: command.Plan}},
		{"AnyCase", "PlanLatch APPLY", command.Command{Verb: command.Apply}},
		{"OtherPrefix", "pl plan", command.Command{Verb: command.Plan}},
		{"Mention", "@planlatch-bot: plan", command.Command{Verb: command.Plan}},
		{"Alone", "planlatch", command.Command{Verb: command.Help}},
		{"SpacesAround", "  planlatch\tplan  ", command.Command{Verb: command.Plan}},
		{"NoBreakSpace", "planlatch\u00a0plan", command.Command{Verb: command.Plan}},
		{"CRLF", "planlatch plan\r\n", command.Command{Verb: command.Plan}},
		{
			"Targets", "planlatch plan -p a -p 'b c' -d infra/net/ -d=. -w stage --destroy --at ABCDEF1234567890ABCDEF1234567890ABCDEF12",
			command.Command{Verb: command.Plan, Projects: []string{"a", "b c"}, Dirs: []string{"infra/net", "."}, Workspace: "stage", Destroy: true, At: "abcdef1234567890abcdef1234567890abcdef12"},
		},
		{"LongNames", "planlatch apply --project=a --dir b --workspace c", command.Command{Verb: command.Apply, Projects: []string{"a"}, Dirs: []string{"b"}, Workspace: "c"}},
		{"DirIsCleaned", "planlatch plan -d ./a/../b", command.Command{Verb: command.Plan, Dirs: []string{"b"}}},
		{"Reason", `planlatch approve --reason "it's \"fine\"" --policy baseline`, command.Command{Verb: command.Approve, Reason: `it's "fine"`, Policy: "baseline"}},
		{"PhoneQuotes", `planlatch approve —reason “all is well”`, command.Command{Verb: command.Approve, Reason: "all is well"}},
		{"ReasonMayLookLikeAnOption", `planlatch approve --reason "--force"`, command.Command{Verb: command.Approve, Reason: "--force"}},
		{"Lock", "planlatch unlock --state 5b8f0b9a-1c2d", command.Command{Verb: command.Unlock, State: "5b8f0b9a-1c2d"}},
		{
			"Flags", `planlatch plan -p a -- -target=module.a["x"].b -var 'k=a b' -refresh=false --parallelism 4 -refresh -compact-warnings -var-file=../prod.tfvars`,
			command.Command{Verb: command.Plan, Projects: []string{"a"}, Flags: []string{
				`-target=module.a["x"].b`, "-var=k=a b", "-refresh=false", "-parallelism=4", "-refresh", "-compact-warnings", "-var-file=../prod.tfvars",
			}},
		},
		{"Import", `planlatch import -p net 'module.a["x"].aws_s3_bucket.b' "my bucket"`, command.Command{
			Verb: command.Import, Projects: []string{"net"}, Address: `module.a["x"].aws_s3_bucket.b`, ID: "my bucket",
		}},
		{"StateRemove", "planlatch state rm aws_s3_bucket.b -d infra/net", command.Command{Verb: command.State, Dirs: []string{"infra/net"}, Address: "aws_s3_bucket.b"}},
		{"ShellStaysText", `planlatch plan -- -var "x=$(id)"`, command.Command{Verb: command.Plan, Flags: []string{"-var=x=$(id)"}}},
		{"BelowAList", "Please:\n- look\nplanlatch plan", command.Command{Verb: command.Plan, Line: 3}},
		{"BetweenText", "Looks good.\nplanlatch apply\nThanks!", command.Command{Verb: command.Apply, Line: 2}},
		{"AboveASignature", "planlatch apply\n--\nBob", command.Command{Verb: command.Apply}},
		{"AfterAFence", "```\nx\n```\nplanlatch plan", command.Command{Verb: command.Plan, Line: 4}},
		{"AfterAQuote", "> x\n\nplanlatch plan", command.Command{Verb: command.Plan, Line: 3}},
		{"AfterAComment", "<!-- x -->\n\nplanlatch plan", command.Command{Verb: command.Plan, Line: 3}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, near := command.Parse(tt.body, us)
			if tt.want.Line == 0 {
				tt.want.Line = 1
			}
			if diff := cmp.Diff([]command.Command{tt.want}, got); diff != "" || near != nil {
				t.Errorf("Parse(%q) differs (-want +got), near miss %v:\n%s", tt.body, near, diff)
			}
		})
	}
}

func TestSeveralLinesAreSeveralCommands(t *testing.T) {
	t.Parallel()
	got, _ := command.Parse("planlatch plan -p a\n\ntext\nplanlatch plan -p b", us)
	want := []command.Command{
		{Verb: command.Plan, Projects: []string{"a"}, Line: 1},
		{Verb: command.Plan, Projects: []string{"b"}, Line: 4},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Parse() differs (-want +got):\n%s", diff)
	}
}

func TestWhatReadersDoNotSeeAsProseIsNoCommand(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"Fence":             "```\nplanlatch apply\n```",
		"FenceWithTilde":    "~~~sh\nplanlatch apply\n~~~",
		"OpenFence":         "```\nplanlatch apply",
		"LongFence":         "````\n```\nplanlatch apply\n````",
		"IndentedCode":      "text\n\n    planlatch apply",
		"TabIndented":       "\tplanlatch apply",
		"CodeSpan":          "`planlatch apply`",
		"CodeSpanOverLines": "say `\nplanlatch apply\n` here",
		"CodeSpanOfTicks":   "see ``a\nplanlatch apply\nb``",
		"Quote":             "> planlatch apply",
		"NestedQuote":       "> > planlatch apply",
		"QuoteInList":       "- > planlatch apply",
		"HTMLComment":       "<!--\nplanlatch apply\n-->",
		"OpenHTMLComment":   "<!--\n\nplanlatch apply",
		"InlineHTMLComment": "text <!--\nplanlatch apply\n--> text",
		"HTMLAttribute":     "text <a title=\"\nplanlatch apply\n\"> text",
		"Pre":               "<pre>\nplanlatch apply\n</pre>",
		"ListItem":          "- planlatch apply",
		"Heading":           "# planlatch apply",
		"MidSentence":       "please planlatch apply",
		"Emphasis":          "**planlatch apply**",
		"Prose":             "planlatch is a nice tool",
		"MoreProse":         "planlatch, please have a look",
		"OtherMention":      "@someone plan",
		"LongerWord":        "planlatcher plan everything today because it is due",
		"Empty":             "",
		"Spaces":            " \n\n ",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, near := command.Parse(body, us); got != nil || near != nil && name != "LongerWord" {
				t.Errorf("Parse(%q) = %+v, %+v, want nothing", body, got, near)
			}
		})
	}
}

func TestRefusalsSayWhyAndWhatToDo(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, body, message, fix string }{
		{"Typo", "planlatch aply", `"aply" is not a command`, `did you mean "planlatch apply"?`},
		{"UnknownVerb", "planlatch destroy", `"destroy" is not a command`, "commands are plan, apply"},
		{"ImportOfNothing", "planlatch import aws_s3_bucket.a", "import needs an address and an id", "write import"},
		{"ImportOfMore", "planlatch import aws_s3_bucket.a b c", `"c" belongs to no option`, ""},
		{"ImportWithFlags", "planlatch import aws_s3_bucket.a b -- -lock=false", "import takes no tool flags", ""},
		{"StateOther", "planlatch state push x", "of state there is only rm", "state rm"},
		{"StateOfNothing", "planlatch state rm", "state rm needs an address", ""},
		{"AddressForAnother", "planlatch apply aws_s3_bucket.a", "belongs to no option", "name projects with -p"},
		{"ExtraWords", "planlatch plan please", `"please" belongs to no option`, "stands alone on its line"},
		{"UnknownOption", "planlatch plan --force", `"--force" is not an option of plan`, "plan takes -p"},
		{"OptionOfAnother", "planlatch apply --destroy", `"--destroy" is not an option of apply`, "apply takes"},
		{"HelpTakesNothing", "planlatch help -p a", "help takes no options", ""},
		{"ToolFlagBeforeDashes", "planlatch plan -target=a.b", "is a flag of the tool", "plan -- -target"},
		{"ValueMissing", "planlatch plan -p", "-p needs a value", "write -p network-prod"},
		{"ValueIsAnOption", "planlatch plan -p -d x", "-p needs a value", ""},
		{"EmptyValue", "planlatch plan -p=", "-p needs a value", ""},
		{"Twice", "planlatch plan -w a -w b", "-w is given twice", "keep one"},
		{"DestroyWithValue", "planlatch plan --destroy=yes", "--destroy takes no value", ""},
		{"ParentDir", "planlatch plan -d ../other", "outside the repository", "from the root"},
		{"ParentDirInside", "planlatch plan -d a/../../b", "outside the repository", ""},
		{"AbsoluteDir", "planlatch plan -d /etc", "outside the repository", ""},
		{"BackslashDir", `planlatch plan -d a\..\..`, "outside the repository", ""},
		{"Workspace", "planlatch plan -w ../x", "cannot be a value of -w", ""},
		{"Commit", "planlatch apply --at main", "cannot be a value of --at", "commit"},
		{"ShortCommit", "planlatch apply --at abcdef1234", "cannot be a value of --at", "whole commit"},
		{"NoReason", "planlatch approve -p a", "approve needs a reason", `--reason "why it is right"`},
		{"BlankReason", `planlatch approve --reason "  "`, "cannot be a value of --reason", ""},
		{"ReasonWithoutQuotes", "planlatch approve --reason it is fine", `"is" belongs to no option`, "whole reason in quotes"},
		{"OpenQuote", `planlatch approve --reason "fine`, "a quote is never closed", `add "`},
		{"LockID", "planlatch unlock --state -force", "--state needs a value", ""},
		{"FlagsOnApply", "planlatch apply -- -target=a.b", "apply takes no tool flags", "give them to plan"},
		{"NoFlags", "planlatch plan --", "nothing follows --", ""},
		{"PluginDir", "planlatch plan -- -plugin-dir=/tmp", `the flag "-plugin-dir" is refused`, "comments may give -target"},
		{"Chdir", "planlatch plan -- -chdir=..", `the flag "-chdir" is refused`, ""},
		{"State", "planlatch plan -- --state=x", `the flag "-state" is refused`, ""},
		{"LockFlag", "planlatch plan -- -lock=false", `the flag "-lock" is refused`, ""},
		{"FlagSmuggled", "planlatch plan -- -var -chdir=..", "-var needs a value", ""},
		{"WordAmongFlags", "planlatch plan -- -refresh=false now", `"now" is not a flag`, ""},
		{"QuotedWordAmongFlags", `planlatch plan -- "-target=a"`, `"-target=a" is not a flag`, ""},
		{"VarWithoutName", "planlatch plan -- -var $(id)", "cannot be a value of -var", "name=value"},
		{"VarFileOutside", "planlatch plan -- -var-file=/etc/passwd", "cannot be a value of -var-file", "file of the repository"},
		{"VarFileHome", "planlatch plan -- -var-file ~/x", "cannot be a value of -var-file", ""},
		{"TargetIsFlag", `planlatch plan -- -target="-x"`, "cannot be a value of -target", ""},
		{"Parallelism", "planlatch plan -- -parallelism=0", "cannot be a value of -parallelism", "from 1 to 256"},
		{"Refresh", "planlatch plan -- -refresh=maybe", "cannot be a value of -refresh", ""},
		{"NUL", "planlatch plan -p a\x00b", "invisible character", "by hand"},
		{"Escape", "planlatch plan -p \x1b[31m", "invisible character (U+001B)", ""},
		{"Bidi", "planlatch plan -p \u202egpj", "invisible character (U+202E)", ""},
		{"ZeroWidth", "planlatch plan -p a\u200bb", "invisible character (U+200B)", ""},
		{"NotUTF8", "planlatch plan -p \xff", "no text", ""},
		{"Homoglyph", "planlatch аpply", `"аpply" is not a command`, `did you mean "planlatch apply"?`},
		{"LongLine", "planlatch plan -p " + strings.Repeat("a", 5000), "4096 characters", "shorter"},
		{"ManyFlags", "planlatch plan -- " + strings.Repeat("-refresh ", 101), "50 tool flags", ""},
		{"LongProject", "planlatch plan -p " + strings.Repeat("a", 300), "cannot be a value of -p", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, near := command.Parse(tt.body, us)
			if len(got) != 1 || got[0].Refused == nil || near != nil {
				t.Fatalf("Parse(%q) = %+v, %+v, want one refusal", tt.body, got, near)
			}
			r := got[0].Refused
			if !strings.Contains(r.Message, tt.message) || !strings.Contains(r.Fix, tt.fix) || r.Line != 1 {
				t.Errorf("Parse(%q) refuses with %q, %q in line %d, want %q, %q", tt.body, r.Message, r.Fix, r.Line, tt.message, tt.fix)
			}
			if strings.ContainsAny(r.Error(), "\x00\x1b\u202e\u200b") || len(r.Error()) > 400 {
				t.Errorf("Parse(%q) refuses with unsafe words %q", tt.body, r.Error())
			}
		})
	}
}

func TestNearMissesGetOneAnswer(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, body, advice string }{
		{"Typo", "planlach plan", `did you mean "planlatch plan"?`},
		{"TypoInBoth", "planlacth aply -p a", `did you mean "planlatch apply"?`},
		{"Terraform", "terraform plan", `did you mean "planlatch plan"?`},
		{"Tofu", "tofu apply", `did you mean "planlatch apply"?`},
		{"Slash", "/planlatch plan", `did you mean "planlatch plan"?`},
		{"Homoglyph", "рlanlatch apply", "Some of its letters only look like that"},
		{"BelowAQuote", "> said\nplanlatch apply", "right below a quote"},
		{"OnlyTheFirst", "planlach plan\nplanlach apply", `did you mean "planlatch plan"?`},
		{"BeyondWhatIsRead", strings.Repeat("long text\n", 5000) + "planlatch apply", "very long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, near := command.Parse(tt.body, us)
			if got != nil || near == nil || !strings.Contains(near.Advice, tt.advice) {
				t.Errorf("Parse(%.60q) = %+v, %+v, want the advice %q", tt.body, got, near, tt.advice)
			}
		})
	}
	for name, body := range map[string]string{
		"Atlantis":        "atlantis plan",
		"TerraformTalk":   "terraform plan shows that we should rather wait for the other one",
		"TerraformFmt":    "terraform fmt",
		"BesideACommand":  "planlach plan\nplanlatch plan",
		"QuotedNearMiss":  "> planlach plan",
		"FencedTerraform": "```\nterraform plan\n```",
	} {
		if _, near := command.Parse(body, us); near != nil {
			t.Errorf("%s: Parse(%q) = %+v, want no near miss", name, body, near)
		}
	}
}

func TestTooManyCommandsAreRefusedFromThereOn(t *testing.T) {
	t.Parallel()
	got, _ := command.Parse(strings.Repeat("planlatch plan\n", 50), us)
	if len(got) != 11 || got[9].Refused != nil || got[10].Refused == nil || got[10].Line != 11 {
		t.Errorf("Parse() of 50 commands = %d, last %+v, want 10 and a refusal", len(got), got[len(got)-1])
	}
}

func TestHostileCommentsAreReadQuickly(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	for name, unit := range map[string]string{
		"Quotes": ">", "List": "- ", "Brackets": "[", "Links": "[](", "Emphasis": "_a*", "Ticks": "`a``b```c", "Tags": "<a ", "Lines": "a\n",
		"Commands": "planlatch plan\n", "Letters": "planlatch", "NUL": "\x00", "Spaces": " ",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			command.Parse("planlatch plan\n"+strings.Repeat(unit, size/len(unit)), us)
			if took := time.Since(began); took > time.Minute { // what is not linear takes hours
				t.Errorf("Parse() of 1 MB of %s took %s", name, took)
			}
		})
	}
}

func TestVarFilesInside(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]bool{"x.tfvars": true, "../x.tfvars": true, "../../x.tfvars": true, "../../../x.tfvars": false, "a/../../../../x": false} {
		if got := command.VarFilesInside("infra/net", []string{"-refresh", "-var-file=" + file}) == nil; got != want {
			t.Errorf("VarFilesInside(infra/net, %s) = %v, want %v", file, got, want)
		}
	}
	if command.VarFilesInside(".", []string{"-var-file=../x"}) == nil {
		t.Error("VarFilesInside(., ../x) = nil, want a refusal")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"planlatch plan -p a -- -target=x", "> q\nplanlatch apply", "```\nplanlatch apply\n```", "@planlatch-bot approve --reason \"x\"",
		"planlatch plan -- -var 'a=b' -refresh", "<!-- planlatch apply -->", "`\nplanlatch apply\n`", "planlatch \u202eplan", "pl plan —at abcdef1",
	} {
		f.Add(s)
	}
	allowed := map[string]bool{}
	for _, name := range []string{"-target", "-exclude", "-replace", "-refresh", "-var", "-var-file", "-parallelism", "-compact-warnings"} {
		allowed[name] = true
	}
	f.Fuzz(func(t *testing.T, body string) {
		cmds, near := command.Parse(body, us)
		if len(cmds) > 0 && near != nil {
			t.Errorf("Parse(%q) answers with commands and a near miss", body)
		}
		for _, c := range cmds {
			if c.Refused != nil {
				if strings.ContainsAny(c.Refused.Error(), "\x00\x1b\n\u202e\u2066") {
					t.Errorf("Parse(%q) refuses with unsafe words %q", body, c.Refused)
				}
				continue
			}
			for _, flag := range c.Flags {
				if name, _, _ := strings.Cut(flag, "="); !allowed[name] || strings.ContainsAny(flag, "\x00\n") {
					t.Errorf("Parse(%q) lets %q through", body, flag)
				}
			}
			for _, d := range c.Dirs {
				if strings.HasPrefix(d, "/") || d == ".." || strings.HasPrefix(d, "../") {
					t.Errorf("Parse(%q) lets the directory %q through", body, d)
				}
			}
		}
	})
}
