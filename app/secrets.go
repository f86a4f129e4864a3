package app

import (
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/redact"
)

// secretsOf lists the server's own secrets, which no log may show: those of the configuration, alone and as parts of addresses, and those of
// its environment.
func secretsOf(cfg *config.Config, env map[string]string) []string {
	var secrets []string
	whole := func(all ...config.Secret) {
		for _, s := range all {
			secrets = append(secrets, s.Reveal())
		}
	}
	whole(cfg.AdminToken, cfg.EncryptionKey, cfg.Database)
	whole(cfg.OldEncryptionKeys...)
	for _, h := range cfg.VCS {
		whole(h.Token, h.WebhookSecret, h.App.PrivateKey)
		secrets = append(secrets, inAddress(h.URL)...)
		secrets = append(secrets, inAddress(h.APIURL)...)
	}
	for _, n := range cfg.Notify {
		whole(n.Token, n.URL, n.Secret)
		if u, err := url.Parse(n.URL.Reveal()); err == nil {
			secrets = append(secrets, strings.Trim(u.EscapedPath(), "/"), u.RawQuery) // what makes the address a secret
		}
	}
	for _, m := range cfg.ModuleCredentials {
		whole(m.Token)
	}
	for _, p := range cfg.Policies {
		secrets = append(secrets, inAddress(strings.TrimPrefix(p.Source, "git::"))...)
	}
	for _, address := range []string{cfg.Database.Reveal(), cfg.Blobs, cfg.Tools.Mirror, cfg.Tools.ProviderMirror} {
		secrets = append(secrets, inAddress(address)...)
	}
	for _, key := range append([]config.Secret{cfg.EncryptionKey}, cfg.OldEncryptionKeys...) {
		if _, bare, ok := strings.Cut(key.Reveal(), "://"); ok {
			secrets = append(secrets, bare)
		}
	}
	secrets = append(secrets, inEnvironment(env)...)
	slices.Sort(secrets)
	return slices.DeleteFunc(slices.Compact(secrets), func(s string) bool { return s == "" })
}

// guessable is how short a secret may be that somebody finds who tries words, names and dates.
const guessable = 16

// unguessable picks the server's secrets that are withheld from what runs print. No run can read any of them; but who prints many words and sees
// which are withheld has found those that are one of them.
func unguessable(secrets []string) []string {
	return slices.DeleteFunc(slices.Clone(secrets), func(s string) bool {
		if u, err := url.Parse(s); err == nil && u.User != nil {
			if password, ok := u.User.Password(); ok { // the rest of the address is no secret
				return utf8.RuneCountInString(password) < guessable
			}
		}
		return utf8.RuneCountInString(s) < guessable
	})
}

// inAddress lists the secrets of a URL: its password, a token in the place of a user, and parameters that are called like a secret.
func inAddress(address string) []string {
	u, err := url.Parse(address)
	if err != nil {
		return nil
	}
	var found []string
	if password, ok := u.User.Password(); ok {
		found = append(found, password)
	} else if name := u.User.Username(); len(name) >= 20 { // nobody is called so
		found = append(found, name)
	}
	for name, values := range u.Query() {
		if named(strings.ToUpper(name), []string{"SIG", "SIGNATURE", "CODE"}) || secretWord(name) {
			found = append(found, values...)
		}
	}
	return found
}

// secretWord says whether something is called like a secret, and like nothing else.
func secretWord(name string) bool {
	name = strings.ToUpper(name)
	return slices.ContainsFunc([]string{"SECRET", "TOKEN", "PASSWORD", "PASSWD", "PRIVATE_KEY", "API_KEY", "APIKEY"}, func(word string) bool {
		return strings.Contains(name, word)
	}) && !slices.ContainsFunc(plainEnds, func(end string) bool { return strings.HasSuffix(name, end) })
}

// inEnvironment lists the secrets of the server's environment: what is called like one, and passwords of addresses, as of a proxy.
func inEnvironment(env map[string]string) []string {
	var found []string
	for name, value := range env {
		switch {
		case secretWord(name):
			found = append(found, value)
		case strings.Contains(value, "://"):
			found = append(found, inAddress(value)...)
		}
	}
	return found
}

// hideIn keeps secrets out of the text of an error, which stays what it is for programs.
func hideIn(set *redact.Set, err error) error {
	if err == nil {
		return nil
	}
	if clean := set.String(err.Error()); clean != err.Error() {
		return &hiddenError{clean, err}
	}
	return err
}

type hiddenError struct {
	text string
	err  error
}

func (e *hiddenError) Error() string { return e.text }
func (e *hiddenError) Unwrap() error { return e.err }

// withhold keeps the secrets of a configuration out of all that the terminal prints.
func (t *terminal) withhold(cfg *config.Config) {
	set := redact.Compile(secretsOf(cfg, t.env))
	t.out, t.err = set.Lines(t.out), set.Lines(t.err)
}
