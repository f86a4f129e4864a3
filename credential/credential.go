// Package credential asks programs of the operator for the credentials of one phase of one project.
//
// It promises that an answer is used only if it was printed whole, is written as documented, and lasts; that whatever else happens is one
// error which may be shown to anybody, while what the program complained goes to the log alone, without secrets; that answers are kept in
// memory only, and none is handed to a question that differs in anything but the run; and that a program and what it started are gone when
// Ask returns. It leaves to callers which projects may ask, and what answers are withheld from. An Asker is safe for concurrent use.
package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Command is a program that prints credentials.
type Command struct {
	Config      string // the provider configuration it belongs to, for messages
	Argv        []string
	Environment []string      // NAME=value, besides Options.Environment
	TTL         time.Duration // how long an answer lasts that does not say so
}

// Question is what the program is told, as PLANLATCH_HOST, _REPO, _DIR, _PROJECT, _WORKSPACE, _PHASE and _RUN_ID.
type Question struct {
	Host      string
	Repo      string
	Dir       string // also as PLANLATCH_PROJECT, its name in custom steps
	Workspace string
	Phase     string
	Run       string // not part of what tells two questions apart
}

// Need is how long an answer must last, from now on.
type Need struct {
	Least time.Duration // a new answer that ends sooner is refused
	Reuse time.Duration // an earlier answer is used only while it lasts so long; 0: never
}

// Answer is what the program printed.
type Answer struct {
	Env     map[string]string // secret variables
	Values  map[string]string // plain ones
	Files   map[string]string // contents of files whose path the variable holds
	Expires time.Time
}

// Error says that a command gave no credentials. Its text may be shown to anybody.
type Error struct {
	Config string
	What   string
	Detail string // for the operator, as the log has it: what was wrong, and what the program complained, without secrets
}

func (e *Error) Error() string {
	return fmt.Sprintf("the credential command of %s %s", e.Config, e.What)
}

// Options of an Asker.
type Options struct {
	Environment []string                // NAME=value, all that a program gets besides the question
	Timeout     time.Duration           // of one program; 0: 1 minute
	Check       func(name string) error // refuses variables that runs must not be given; nil: none are
	Redact      func(string) string     // of what goes to the log; nil: nothing is withheld but the command's own answer and environment
	Now         func() time.Time        // nil: time.Now
	Log         *slog.Logger            // nil: nothing is logged
}

// Asker runs commands and remembers their answers.
type Asker struct {
	o Options

	mu    sync.Mutex
	slots map[string]*slot
}

// slot is what is known of one question. turn is held by who may ask: one at a time.
type slot struct {
	turn   chan struct{}
	users  int
	answer Answer
}

// New returns an Asker that knows no answers.
func New(o Options) *Asker {
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	if o.Check == nil {
		o.Check = func(string) error { return nil }
	}
	if o.Redact == nil {
		o.Redact = func(text string) string { return text }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Asker{o: o, slots: map[string]*slot{}}
}

// Ask returns credentials that last as long as n says. Errors: *Error, or ctx's.
func (a *Asker) Ask(ctx context.Context, c Command, q Question, n Need) (Answer, error) {
	key, err := keyOf(c, q)
	if err != nil {
		return Answer{}, err
	}
	s := a.enter(key)
	defer a.leave(s)
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
	if n.Reuse > 0 && s.answer.Expires.Sub(a.o.Now()) >= n.Reuse {
		return s.answer, nil
	}
	began := a.o.Now()
	answer, err := a.run(ctx, c, q)
	if err != nil {
		return Answer{}, err
	}
	if answer.Expires.IsZero() {
		answer.Expires = began.Add(c.TTL)
	}
	switch lasts := answer.Expires.Sub(a.o.Now()).Round(time.Second); {
	case lasts <= 0:
		return Answer{}, &Error{Config: c.Config, What: "printed credentials that have expired"}
	case lasts < n.Least:
		return Answer{}, &Error{Config: c.Config, What: fmt.Sprintf("printed credentials that end in %s; %s needs at least %s", lasts, phrase(q.Phase), n.Least)}
	}
	s.answer = answer
	return answer, nil
}

func phrase(phase string) string {
	if phase == "apply" {
		return "an apply"
	}
	return "a " + phase
}

// keyOf tells questions apart by all that the program is given, but the run.
func keyOf(c Command, q Question) (string, error) {
	q.Run = ""
	key, err := json.Marshal(struct {
		Command
		Question
	}{c, q})
	return string(key), err
}

func (a *Asker) enter(key string) *slot {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, ok := a.slots[key]
	if !ok {
		s = &slot{turn: make(chan struct{}, 1)}
		a.slots[key] = s
	}
	s.users++
	return s
}

// leave forgets what nobody asks for and cannot be handed out any more. Nobody has a turn on a slot without users.
func (a *Asker) leave(s *slot) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.users--
	for key, old := range a.slots {
		if old.users == 0 && !old.answer.Expires.After(a.o.Now()) {
			delete(a.slots, key)
		}
	}
}

// failed tells the log what the world is not told.
func (a *Asker) failed(c Command, q Question, what string, cause error, stderr string) error {
	var detail []string
	if exit := (*exec.ExitError)(nil); cause != nil && !errors.As(cause, &exit) { // what says no more than an exit code does
		detail = append(detail, cause.Error())
	}
	if stderr != "" {
		detail = append(detail, stderr)
	}
	err := &Error{Config: c.Config, What: what, Detail: strings.Join(detail, "; ")}
	a.o.Log.Error("a credential command gave no credentials", "provider_config", c.Config, "phase", q.Phase, "run", q.Run, "dir", q.Dir,
		"reason", what, "detail", err.Detail)
	return err
}
