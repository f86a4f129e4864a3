// Package command reads the commands that people write in comments.
//
// A command stands alone on its line: a prefix or our mention, a verb, arguments. What a reader of the comment sees as code or as a quote is
// no command, nor is what he does not see at all, such as HTML comments. Everything in a comment is hostile: reading is linear in its size
// and bounded, arguments become values of argv and never text of a shell, and whatever is not understood exactly is refused with words for
// the person who wrote it.
//
// The package decides what was said, not whether it is allowed. It is pure and safe for concurrent use.
package command

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Verb is what a command asks for.
type Verb string

// The verbs.
const (
	Plan    Verb = "plan"
	Apply   Verb = "apply"
	Approve Verb = "approve"
	Cancel  Verb = "cancel"
	Unlock  Verb = "unlock"
	Explain Verb = "explain"
	Help    Verb = "help"
	Import  Verb = "import" // answered with a block, never done
	State   Verb = "state"  // always "state rm": likewise
)

var (
	verbs = []string{
		string(Plan), string(Apply), string(Approve), string(Cancel), string(Unlock), string(Explain), string(Import), string(State), string(Help),
	}
	// mistaken are the verbs that people write after another tool's name when they mean us.
	mistaken = []string{string(Plan), string(Apply), string(Approve), string(Cancel), string(Unlock), string(Explain), string(Help)}
)

// Command is one line that commands. Fields that its verb does not take are empty.
type Command struct {
	Verb      Verb
	Projects  []string // names, as written
	Dirs      []string // cleaned, relative to the root of the repository, "." for the root
	Workspace string
	Destroy   bool
	At        string   // whole commit, in lower case
	Reason    string   // why an override is right
	Policy    string   // policy set
	State     string   // id of a backend's lock
	Address   string   // of a resource, as written: import, state rm
	ID        string   // of what is to be imported
	Flags     []string // tool flags as -name=value or -name, each on the allow-list; see [VarFilesInside]
	Line      int      // in the comment, from 1
	Refused   *Refusal // when not nil nothing else counts but Line and perhaps Verb: answer with it and do nothing
}

// Targeted says whether the command names what it is about.
func (c Command) Targeted() bool { return len(c.Projects)+len(c.Dirs) > 0 || c.Workspace != "" }

// Refusal says why a command is not carried out, in words for the person who gave it. What it repeats of the comment is quoted and cut, but
// still data: it must be escaped for wherever it is written.
type Refusal struct {
	Line    int
	Message string // `"planlatch aply" is not a command`
	Fix     string // `did you mean "planlatch apply"?`; may be empty
}

func (r *Refusal) Error() string {
	if r.Fix == "" {
		return r.Message
	}
	return r.Message + ": " + r.Fix
}

func refuse(fix, format string, a ...any) *Refusal {
	return &Refusal{Message: fmt.Sprintf(format, a...), Fix: fix}
}

// NearMiss is a line that is no command but was probably meant as one. One answer helps; anything more would be a quarrel of bots.
type NearMiss struct {
	Line   int
	Text   string // the line, cut
	Advice string // `did you mean "planlatch plan"?`
}

// Options say who we are.
type Options struct {
	Prefixes []string // in lower case; none: ["planlatch"]
	Bot      string   // our login on the host: "@login plan" commands as well; empty: no mention does
	Flags    []string // tool flags that the server allows besides those always allowed, as "-compact-warnings"
}

// Bounds of one comment. Reading Markdown takes time that grows with the square of hostile text: a third of a second at largest. Who
// writes more by hand than that writes the command into a comment of its own.
const (
	largest      = 16 << 10
	longestLine  = 4 << 10
	mostCommands = 10
	mostFlags    = 50
)

// Parse reads the commands of a comment, in their order, and without any the first near miss.
func Parse(body string, o Options) (cmds []Command, near *NearMiss) {
	if len(o.Prefixes) == 0 {
		o.Prefixes = []string{"planlatch"}
	}
	head := cutBytes(body, largest)
	if l, ok := o.beyond(body, len(head)); ok {
		near = &NearMiss{Line: l.number, Text: cut(l.text), Advice: "this comment is very long; write the command into a comment of its own"}
	}
	for _, l := range readable(head, o.interesting) {
		c, ok := o.line(l)
		if !ok {
			if near == nil {
				near = o.nearMiss(l)
			}
			continue
		}
		c.Line = l.number
		if c.Refused != nil {
			c.Refused.Line = l.number
		}
		if len(cmds) == mostCommands {
			r := refuse("write them in several comments", "a comment may hold %d commands; this one and those after it were not carried out", mostCommands)
			r.Line = l.number
			return append(cmds, Command{Line: l.number, Refused: r}), nil
		}
		cmds = append(cmds, c)
	}
	if len(cmds) > 0 {
		near = nil
	}
	return cmds, near
}

// beyond finds the first line after what is read that looks like a command.
func (o Options) beyond(body string, at int) (line, bool) {
	number := strings.Count(body[:at], "\n")
	for l := range strings.Lines(body[at:]) {
		number++
		t := strings.TrimSpace(l)
		first, rest := firstWord(t)
		verb, _ := firstWord(strings.TrimSpace(rest))
		if _, known := closest(strings.ToLower(verb), verbs); known && o.isUs(first) {
			return line{number: number, text: t}, true
		}
	}
	return line{}, false
}

// line reads one line. ok is false if it does not speak to us.
func (o Options) line(l line) (c Command, ok bool) {
	first, rest := firstWord(l.text)
	if !o.isUs(first) || l.quoted {
		return Command{}, false
	}
	if len(l.text) > longestLine {
		return Command{Refused: refuse("make it shorter", "a command may have %d characters, this one has more", longestLine)}, true
	}
	if r := invisible(l.text); r != nil {
		return Command{Refused: r}, true
	}
	args, err := split(rest)
	if err != nil {
		return Command{Refused: err}, true
	}
	if len(args) == 0 {
		return Command{Verb: Help}, true
	}
	verb := strings.ToLower(args[0].text)
	if !slices.Contains(verbs, verb) {
		return o.unknown(verb, args)
	}
	c, args = Command{Verb: Verb(verb)}, args[1:]
	if c.Verb == State {
		if len(args) == 0 || args[0].text != "rm" {
			return Command{Verb: State, Refused: refuse("write state rm and the address of a resource", "of state there is only rm")}, true
		}
		args = args[1:]
	}
	if r := c.arguments(args, o); r != nil {
		return Command{Verb: c.Verb, Refused: r}, true
	}
	return c, true
}

// unknown answers a verb that does not exist, unless the line reads like a sentence about us.
func (o Options) unknown(verb string, args []arg) (Command, bool) {
	meant, near := closest(verb, verbs)
	if !near && len(args) > 2 {
		return Command{}, false
	}
	fix := "commands are " + strings.Join(verbs, ", ")
	if near {
		fix = fmt.Sprintf("did you mean %q?", o.Prefixes[0]+" "+meant)
	}
	return Command{Refused: refuse(fix, "%s is not a command", quote(verb))}, true
}

// arguments reads what follows the verb.
func (c *Command) arguments(args []arg, o Options) *Refusal {
	seen := map[string]bool{}
	for i := 0; i < len(args); i++ {
		a := args[i]
		if a.text == "--" && !a.quoted {
			return c.flags(args[i+1:], o)
		}
		if a.isWord() {
			if r := c.word(a); r != nil {
				return r
			}
			continue
		}
		name, value, has := strings.Cut(a.text, "=")
		if long, ok := aliases[name]; ok {
			name = long
		}
		if !slices.Contains(takes[c.Verb], name) {
			return c.notTaken(name)
		}
		if seen[name] && name != "-p" && name != "-d" {
			return refuse("keep one of them", "%s is given twice", name)
		}
		seen[name] = true
		if name == "--destroy" {
			if has {
				return refuse("write --destroy alone", "--destroy takes no value")
			}
			c.Destroy = true
			continue
		}
		if !has {
			if i++; i >= len(args) || !args[i].isWord() {
				return refuse(examples[name], "%s needs a value", name)
			}
			value = args[i].text
		}
		if r := c.set(name, value); r != nil {
			return r
		}
	}
	return c.whole()
}

// isWord says whether an argument is no option.
func (a arg) isWord() bool { return a.quoted || !strings.HasPrefix(a.text, "-") }

// word reads what is no option: only import and state rm take such.
func (c *Command) word(a arg) *Refusal {
	switch {
	case (c.Verb == Import || c.Verb == State) && c.Address == "":
		c.Address = a.text
	case c.Verb == Import && c.ID == "":
		c.ID = a.text
	default:
		return stray(*c, a)
	}
	return nil
}

// aliases are the long names of short options.
var aliases = map[string]string{"--project": "-p", "--dir": "-d", "--workspace": "-w"}

// takes lists the options of each verb.
var takes = map[Verb][]string{
	Plan:    {"-p", "-d", "-w", "--at", "--destroy"},
	Apply:   {"-p", "-d", "-w", "--at"},
	Approve: {"-p", "-d", "-w", "--at", "--reason", "--policy"},
	Cancel:  {"-p", "-d", "-w"},
	Unlock:  {"-p", "-d", "-w", "--state"},
	Explain: {"-p", "-d", "-w"},
	Import:  {"-p", "-d", "-w"},
	State:   {"-p", "-d", "-w"},
}

// examples show how to give each option its value.
var examples = map[string]string{
	"-p": "write -p network-prod", "-d": "write -d infra/network", "-w": "write -w staging", "--at": "write --at and the whole commit, as in --at a1b2c3d4e5f60718293a4b5c6d7e8f9012345678",
	"--reason": `write --reason "why it is right"`, "--policy": "write --policy and the name of the set", "--state": "write --state and the id of the lock",
}

func (c *Command) notTaken(name string) *Refusal {
	single := "-" + strings.TrimLeft(name, "-")
	if slices.Contains(toolFlags, single) {
		return refuse("plan takes such flags after --, as in: plan -- "+single+"=…", "%s is a flag of the tool", quote(name))
	}
	if len(takes[c.Verb]) == 0 {
		return refuse("", "%s takes no options", c.Verb)
	}
	return refuse(fmt.Sprintf("%s takes %s", c.Verb, strings.Join(takes[c.Verb], ", ")), "%s is not an option of %s", quote(name), c.Verb)
}

// stray answers a word that belongs to nothing.
func stray(c Command, a arg) *Refusal {
	if c.Reason != "" {
		return refuse(`put the whole reason in quotes: --reason "…"`, "%s belongs to no option", quote(a.text))
	}
	return refuse(fmt.Sprintf("a command stands alone on its line; name projects with -p, as in: %s -p network-prod", c.Verb), "%s belongs to no option", quote(a.text))
}

var (
	commit    = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`) // whole: two commits that begin alike are quickly made
	workspace = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,89}$`)
	lockID    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,255}$`)
	setName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
)

// set gives one option its value.
func (c *Command) set(name, value string) *Refusal {
	if value == "" {
		return refuse(examples[name], "%s needs a value", name)
	}
	ok := true
	switch name {
	case "-p":
		ok = len(value) <= 255 && !strings.HasPrefix(value, "-")
		c.Projects = append(c.Projects, value)
	case "-d":
		dir := path.Clean(strings.TrimSuffix(value, "/"))
		if path.IsAbs(value) || dir == ".." || strings.HasPrefix(dir, "../") || strings.Contains(value, `\`) {
			return refuse("write it from the root of the repository, as in -d infra/network", "%s is outside the repository", quote(value))
		}
		c.Dirs = append(c.Dirs, dir)
	case "-w":
		c.Workspace, ok = value, workspace.MatchString(value)
	case "--at":
		c.At = strings.ToLower(value)
		ok = commit.MatchString(c.At)
	case "--reason":
		c.Reason = strings.TrimSpace(value)
		ok = c.Reason != "" && len(value) <= 1000
	case "--policy":
		c.Policy, ok = value, setName.MatchString(value)
	case "--state":
		c.State, ok = value, lockID.MatchString(value)
	}
	if !ok {
		return refuse(examples[name], "%s cannot be a value of %s", quote(value), name)
	}
	return nil
}

// whole says what a command still lacks.
func (c *Command) whole() *Refusal {
	switch {
	case c.Verb == Approve && c.Reason == "":
		return refuse(examples["--reason"], "approve needs a reason, because it is kept with the override")
	case c.Verb == Import && c.ID == "":
		return refuse("write import aws_s3_bucket.logs my-bucket", "import needs an address and an id")
	case c.Verb == State && c.Address == "":
		return refuse("write state rm aws_s3_bucket.logs", "state rm needs an address")
	}
	return nil
}

// toolFlags are the flags of the tool that comments may give. The others would move a plan off its own code, state or outputs.
var toolFlags = []string{"-target", "-exclude", "-replace", "-refresh", "-var", "-var-file", "-parallelism"}

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*=`)

// flags reads what follows "--".
func (c *Command) flags(args []arg, o Options) *Refusal {
	if c.Verb != Plan {
		return refuse("give them to plan; apply then applies that plan", "%s takes no tool flags", c.Verb)
	}
	if len(args) > 2*mostFlags {
		return refuse("give fewer", "a command may give %d tool flags, this one gives more", mostFlags)
	}
	for i := 0; i < len(args); i++ {
		a := args[i]
		if a.isWord() {
			return refuse("after -- there are only flags, as in -target=aws_instance.web", "%s is not a flag", quote(a.text))
		}
		name, value, has := strings.Cut(a.text, "=")
		if strings.HasPrefix(name, "--") {
			name = name[1:]
		}
		server := slices.Contains(o.Flags, name)
		if !server && !slices.Contains(toolFlags, name) {
			return refuse("comments may give "+strings.Join(append(slices.Clone(toolFlags), o.Flags...), ", "), "the flag %s is refused", quote(name))
		}
		if server && !has || name == "-refresh" && !has {
			c.Flags = append(c.Flags, name)
			continue
		}
		if !has {
			if i++; i >= len(args) || (!args[i].quoted && strings.HasPrefix(args[i].text, "-")) {
				return refuse("write "+name+"=…", "%s needs a value", name)
			}
			value = args[i].text
		}
		if r := flagValue(name, value); r != nil {
			return r
		}
		c.Flags = append(c.Flags, name+"="+value)
	}
	if len(c.Flags) == 0 {
		return refuse("remove it or give flags, as in: plan -- -target=aws_instance.web", "nothing follows --")
	}
	return c.whole()
}

func flagValue(name, value string) *Refusal {
	ok, fix := value != "", "write "+name+"=…"
	switch name {
	case "-refresh":
		ok, fix = value == "true" || value == "false", "write -refresh=false"
	case "-parallelism":
		n, err := strconv.Atoi(value)
		ok, fix = err == nil && n >= 1 && n <= 256, "write a number from 1 to 256"
	case "-var":
		ok, fix = variable.MatchString(value), "write -var name=value"
	case "-var-file":
		ok = ok && !path.IsAbs(value) && !strings.HasPrefix(value, "~") && !strings.Contains(value, `\`)
		fix = "name a file of the repository, relative to the project's directory"
	case "-target", "-exclude", "-replace":
		ok, fix = ok && !strings.HasPrefix(value, "-"), "write "+name+"=aws_instance.web"
	}
	if !ok {
		return refuse(fix, "%s cannot be a value of %s", quote(value), name)
	}
	return nil
}

// VarFilesInside says whether every -var-file of flags, relative to a project's directory, names a path inside the repository. Symbolic
// links are for the caller to look at.
func VarFilesInside(dir string, flags []string) *Refusal {
	for _, f := range flags {
		file, ok := strings.CutPrefix(f, "-var-file=")
		if !ok {
			continue
		}
		if at := path.Join(dir, file); at == ".." || strings.HasPrefix(at, "../") || path.IsAbs(file) {
			return refuse("name a file of the repository, relative to the project's directory", "%s is outside the repository", quote(file))
		}
	}
	return nil
}
