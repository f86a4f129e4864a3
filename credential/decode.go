package credential

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// errForm is what every answer that is none is told.
var errForm = errors.New(`it must print one JSON object, as in {"env": {"NAME": "value"}, "expires": "2026-01-31T12:00:00Z"}`)

// decode reads an answer. Errors name keys and never values. It reads token by token, because encoding/json takes keys in any case and the
// last of two that are the same, and what is read otherwise than it was meant must not become an identity.
func decode(text []byte, check func(name string) error) (Answer, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return Answer{}, errors.New("it printed nothing")
	}
	var a Answer
	dec := json.NewDecoder(bytes.NewReader(text))
	names := map[string]string{}
	err := object(dec, "", func(key string) (err error) {
		switch key {
		case "env":
			a.Env, err = variables(dec, key, names, check)
		case "values":
			a.Values, err = variables(dec, key, names, check)
		case "files":
			a.Files, err = variables(dec, key, names, check)
		case "expires":
			a.Expires, err = when(dec)
		default:
			err = fmt.Errorf("%q is no key of it; there are env, values, files and expires", cut(key))
		}
		return err
	})
	if err != nil {
		return Answer{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Answer{}, errForm
	}
	return a, nil
}

// object reads an object and has f read the value of each key.
func object(dec *json.Decoder, where string, f func(key string) error) error {
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		if where != "" {
			return fmt.Errorf("%s must be an object", where)
		}
		return errForm
	}
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		key, ok := token.(string)
		if err != nil || !ok {
			return errForm
		}
		if seen[key] {
			return fmt.Errorf("%q is there twice", cut(key))
		}
		seen[key] = true
		if err := f(key); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return errForm
	}
	return nil
}

// variables reads an object of texts. names holds what other objects set.
func variables(dec *json.Decoder, kind string, names map[string]string, check func(name string) error) (map[string]string, error) {
	out := map[string]string{}
	err := object(dec, kind, func(name string) error {
		where := kind + "." + cut(name)
		if err := check(name); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		if other, ok := names[name]; ok {
			return fmt.Errorf("%s is in %s, too", where, other)
		}
		names[name] = kind
		token, err := dec.Token()
		value, ok := token.(string)
		switch {
		case err != nil:
			return errForm
		case !ok:
			return fmt.Errorf("%s is no text", where)
		case strings.ContainsRune(value, 0) && kind != "files":
			return fmt.Errorf("%s cannot be the value of a variable", where)
		case value == "" && kind != "values": // as a script prints what it did not get
			return fmt.Errorf("%s is empty", where)
		}
		out[name] = value
		return nil
	})
	return out, err
}

func when(dec *json.Decoder) (time.Time, error) {
	token, err := dec.Token()
	text, ok := token.(string)
	if err != nil || !ok {
		return time.Time{}, errors.New("expires is no text")
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, errors.New("expires is no time as in 2026-01-31T12:00:00Z")
	}
	return at, nil
}

// cut keeps a name short enough for a message.
func cut(name string) string {
	if len(name) > 80 {
		return strings.ToValidUTF8(name[:80], "") + "…"
	}
	return name
}
