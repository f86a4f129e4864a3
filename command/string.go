package command

import (
	"strconv"
	"strings"
)

// String writes a command down as it was understood, without its prefix.
func (c Command) String() string {
	words := []string{string(c.Verb)}
	add := func(flag, value string) {
		if value != "" {
			words = append(words, flag, quoted(value))
		}
	}
	if c.Verb == State {
		words = append(words, "rm")
	}
	for _, word := range []string{c.Address, c.ID} {
		if word != "" {
			words = append(words, quoted(word))
		}
	}
	for _, p := range c.Projects {
		add("-p", p)
	}
	for _, d := range c.Dirs {
		add("-d", d)
	}
	add("-w", c.Workspace)
	if c.Destroy {
		words = append(words, "--destroy")
	}
	add("--at", c.At)
	add("--policy", c.Policy)
	add("--reason", c.Reason)
	add("--state", c.State)
	if len(c.Flags) > 0 {
		words = append(words, "--")
		for _, f := range c.Flags {
			words = append(words, flag(f))
		}
	}
	return strings.Join(words, " ")
}

func quoted(value string) string {
	if strings.ContainsAny(value, " \t\"'") {
		return strconv.Quote(value)
	}
	return value
}

// flag leaves out the value of a variable, which may be a secret.
func flag(f string) string {
	if name, value, ok := strings.Cut(f, "="); ok && name == "-var" {
		variable, _, _ := strings.Cut(value, "=")
		return name + "=" + variable + "=…"
	}
	return quoted(f)
}
