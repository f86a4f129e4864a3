package run

import (
	"fmt"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Steps are commands of a project besides the tool's own, or in their place: lists of argv. Nothing of them is ever text of a shell. They
// come from the server or the base branch, never from the head they are run for.
type Steps struct {
	// BeforeInit runs in plan and apply, since both need what init reads; the others in their phase.
	BeforeInit, BeforePlan, AfterPlan, BeforeApply, AfterApply [][]string `json:",omitempty"`
	// Init, Plan, Show and Apply stand in the place of the tool's own command.
	Init, Plan, Show, Apply [][]string `json:",omitempty"`
}

// StepKeys are the keys of steps in configuration files, in the order in which they run.
var StepKeys = []string{"before_init", "init", "before_plan", "plan", "after_plan", "show", "before_apply", "apply", "after_apply"}

// list returns the commands of a key, nil for an unknown one.
func (s *Steps) list(key string) *[][]string {
	switch key {
	case "before_init":
		return &s.BeforeInit
	case "init":
		return &s.Init
	case "before_plan":
		return &s.BeforePlan
	case "plan":
		return &s.Plan
	case "after_plan":
		return &s.AfterPlan
	case "show":
		return &s.Show
	case "before_apply":
		return &s.BeforeApply
	case "apply":
		return &s.Apply
	case "after_apply":
		return &s.AfterApply
	}
	return nil
}

// Of returns the commands of a key of StepKeys.
func (s Steps) Of(key string) [][]string {
	if l := s.list(key); l != nil {
		return *l
	}
	return nil
}

// Set gives a key of StepKeys its commands.
func (s *Steps) Set(key string, commands [][]string) {
	if l := s.list(key); l != nil {
		*l = commands
	}
}

// Empty says whether there are no steps, so that the tool alone runs.
func (s Steps) Empty() bool {
	return !slices.ContainsFunc(StepKeys, func(key string) bool { return len(s.Of(key)) > 0 })
}

// Equal says whether two projects are run alike.
func (s Steps) Equal(o Steps) bool {
	return !slices.ContainsFunc(StepKeys, func(key string) bool {
		a, b := s.Of(key), o.Of(key)
		return len(a)+len(b) > 0 && !reflect.DeepEqual(a, b)
	})
}

// Over lays steps over others, key by key.
func (s Steps) Over(under Steps) Steps {
	for _, key := range StepKeys {
		if len(s.Of(key)) == 0 {
			s.Set(key, under.Of(key))
		}
	}
	return s
}

// Bounds of the steps of one key.
const (
	mostCommands  = 20
	mostArguments = 100
)

// StepArgs is the placeholder, always a whole argument of a command in the place of the tool's own, for all that planlatch would give to
// the tool there.
const StepArgs = "$ARGS"

// stepFacts are the placeholders that stand for one fact, wherever they are in an argument.
var stepFacts = []string{"PROJECT", "WORKSPACE", "PHASE", "TOOL", "HEAD", "PLANFILE"}

var placeholder = regexp.MustCompile(`\$\$|\$[A-Z][A-Z0-9_]*`)

// StepFault says what is wrong with the commands of a key, and how to mend it; both are empty when nothing is. A mistake is refused here,
// because at the run it would be an argument like any other.
func StepFault(key string, commands [][]string) (message, fix string) {
	replaces := slices.Contains([]string{"init", "plan", "show", "apply"}, key)
	named := false
	if len(commands) == 0 {
		return "is an empty list", "list at least one command, or remove the key"
	}
	if len(commands) > mostCommands {
		return fmt.Sprintf("has %d commands, more than %d", len(commands), mostCommands), "call a program that runs them"
	}
	for _, argv := range commands {
		switch {
		case len(argv) == 0 || argv[0] == "":
			return "has a command without a program", `write each command as a list, as in [["./gen.sh", "$WORKSPACE"]]`
		case len(argv) > mostArguments:
			return fmt.Sprintf("has a command with %d arguments, more than %d", len(argv), mostArguments), "call a program that gives them"
		case strings.HasPrefix(argv[0], "-"):
			return fmt.Sprintf("has a command that begins with %q, which is no program", argv[0]), "name the program first"
		case strings.ContainsAny(argv[0], " \t") && len(argv) == 1:
			return fmt.Sprintf("has the command %q in one piece, and no shell takes it apart", argv[0]), `write each word by itself, as in ["./gen.sh", "prod"]`
		}
		for i, arg := range argv {
			if strings.ContainsRune(arg, 0) {
				return "has an argument with a zero byte", "remove it"
			}
			for _, p := range placeholder.FindAllString(arg, -1) {
				switch {
				case p == "$$" || slices.Contains(stepFacts, p[1:]):
				case p != StepArgs:
					return fmt.Sprintf("has the placeholder %s, which does not exist", p), "there are $" + strings.Join(stepFacts, ", $") + " and $ARGS; write $$ for a plain dollar"
				case !replaces:
					return "has $ARGS, which only init, plan, show and apply have", "write the arguments out"
				case arg != StepArgs || i == 0:
					return "has $ARGS within an argument", `$ARGS stands for several arguments: write it alone, as in ["terragrunt", "plan", "$ARGS"]`
				}
				named = named || p == StepArgs || p == "$PLANFILE"
			}
		}
	}
	if replaces && key != "init" && !named {
		return "names neither $PLANFILE nor $ARGS, so that it could be about another plan than the one that is reviewed",
			fmt.Sprintf(`hand the plan file over, as in ["terragrunt", %q, "$ARGS"]`, key)
	}
	return "", ""
}

// StepFacts are what placeholders stand for.
type StepFacts struct {
	Dir      string // where the steps run, absolute, as they see it: the project's directory
	Project  string // its directory from the root of the repository
	Work     string // workspace
	Phase    string // plan | apply
	Tool     string // path of the binary
	Head     string // commit
	Planfile string // absolute, as the steps see it
	Args     []string
}

func (f StepFacts) value(name string) string {
	switch name {
	case "PROJECT":
		return f.Project
	case "WORKSPACE":
		return f.Work
	case "PHASE":
		return f.Phase
	case "TOOL":
		return f.Tool
	case "HEAD":
		return f.Head
	case "PLANFILE":
		return f.Planfile
	}
	return ""
}

// Env are the same facts as variables of the steps' environment.
func (f StepFacts) Env() []string {
	env := make([]string, len(stepFacts))
	for i, name := range stepFacts {
		env[i] = "PLANLATCH_" + name + "=" + f.value(name)
	}
	return env
}

// Command fills the placeholders of one command in. A program with a slash in its name is relative to the project's directory; one without
// is left for the place where it runs to find.
func (f StepFacts) Command(argv []string) []string {
	var out []string
	for _, arg := range argv {
		if arg == StepArgs {
			out = append(out, f.Args...)
			continue
		}
		out = append(out, placeholder.ReplaceAllStringFunc(arg, func(p string) string {
			if p == "$$" {
				return "$"
			}
			return f.value(p[1:])
		}))
	}
	if strings.Contains(out[0], "/") && !path.IsAbs(out[0]) {
		out[0] = path.Join(f.Dir, out[0])
	}
	return out
}
