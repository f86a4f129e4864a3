package run

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
)

// Effect is what a plan would do, in a form in which equal plans are equal: semantics 20.
type Effect struct {
	Digest  string            // of everything
	Items   map[string]string // digest per resource address (with deposed key) and output
	Empty   bool              // nothing would change
	Ignored []string          // effect_ignore patterns that matched something
}

// Minus says whether e is what is left of the reviewed effect once some of it was done: every item of e is in reviewed, unchanged.
func (e Effect) Minus(reviewed Effect) bool {
	for name, digest := range e.Items {
		if reviewed.Items[name] != digest {
			return false
		}
	}
	return true
}

type change struct {
	Actions         []string        `json:"actions"`
	Before          any             `json:"before"`
	After           any             `json:"after"`
	AfterUnknown    any             `json:"after_unknown"`
	BeforeSensitive any             `json:"before_sensitive"`
	AfterSensitive  any             `json:"after_sensitive"`
	ReplacePaths    json.RawMessage `json:"replace_paths"`
	Importing       json.RawMessage `json:"importing"`
}

type resourceChange struct {
	Address         string `json:"address"`
	PreviousAddress string `json:"previous_address"`
	Mode            string `json:"mode"`
	Type            string `json:"type"`
	Deposed         string `json:"deposed"`
	Change          change `json:"change"`
}

// EffectOf reads the effect from a plan's JSON. Sensitive values enter as HMACs under key, so that a digest tells nothing. ignore holds
// effect_ignore patterns: dot-separated globs over resource type and attribute path ("*.tags.deployed_at").
func EffectOf(planJSON io.Reader, key []byte, ignore []string) (Effect, error) {
	var plan struct {
		ResourceChanges []resourceChange  `json:"resource_changes"`
		OutputChanges   map[string]change `json:"output_changes"`
	}
	d := json.NewDecoder(planJSON)
	d.UseNumber()
	if err := d.Decode(&plan); err != nil {
		return Effect{}, fmt.Errorf("read plan JSON: %w", err)
	}
	c := canon{key: key, ignore: ignore, used: map[string]bool{}}
	e := Effect{Items: map[string]string{}, Empty: true}
	for _, rc := range plan.ResourceChanges {
		if rc.Mode == "data" || quiet(rc.Change.Actions) && rc.PreviousAddress == "" && !present(rc.Change.Importing) {
			continue
		}
		e.Empty = false
		item := c.change(rc.Type, rc.Change)
		item["address"], item["deposed"], item["previous_address"] = rc.Address, rc.Deposed, rc.PreviousAddress
		name := rc.Address
		if rc.Deposed != "" {
			name += "#" + rc.Deposed
		}
		e.Items[name] = sum(item)
	}
	for name, oc := range plan.OutputChanges {
		if quiet(oc.Actions) {
			continue
		}
		e.Empty = false
		e.Items["output."+name] = sum(c.change("output."+name, oc))
	}
	all := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(e.Items)) {
		fmt.Fprintf(all, "%q %s\n", name, e.Items[name])
	}
	e.Digest = hex.EncodeToString(all.Sum(nil))
	e.Ignored = slices.Sorted(maps.Keys(c.used))
	return e, nil
}

// quiet says whether actions change nothing: no-op, read.
func quiet(actions []string) bool {
	for _, a := range actions {
		if a != "no-op" && a != "read" {
			return false
		}
	}
	return true
}

func present(raw json.RawMessage) bool {
	return len(raw) > 0 && !bytes.Equal(raw, []byte("null"))
}

func sum(v any) string {
	b, err := json.Marshal(v) // sorts map keys
	if err != nil {
		panic(fmt.Sprintf("marshal of decoded JSON: %v", err)) // cannot be: v was decoded from JSON
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// canon turns changes into a form whose JSON is equal for equal effects.
type canon struct {
	key    []byte
	ignore []string
	used   map[string]bool
}

func (c canon) change(kind string, ch change) map[string]any {
	paths := map[string]any{}
	c.walk(paths, []string{kind}, ch.Before, ch.After, ch.AfterUnknown, ch.BeforeSensitive, ch.AfterSensitive)
	item := map[string]any{"actions": ch.Actions, "paths": paths}
	if present(ch.ReplacePaths) {
		item["replace"] = ch.ReplacePaths
	}
	if present(ch.Importing) {
		item["import"] = ch.Importing
	}
	return item
}

// walk descends before and after together and records the paths that differ. Objects are descended; everything else, lists too, is a leaf,
// because an inserted element moves the rest.
func (c canon) walk(out map[string]any, at []string, before, after, unknown, sensitiveBefore, sensitiveAfter any) {
	if c.ignored(at) {
		return
	}
	b, bObject := before.(map[string]any)
	a, aObject := after.(map[string]any)
	u, uObject := unknown.(map[string]any)
	if (bObject || before == nil) && (aObject || after == nil) && (bObject || aObject || uObject) {
		names := map[string]bool{}
		for _, m := range []map[string]any{b, a, u} {
			for name := range m {
				names[name] = true
			}
		}
		for name := range names {
			c.walk(out, append(slices.Clip(at), name), b[name], a[name], u[name], child(sensitiveBefore, name), child(sensitiveAfter, name))
		}
		return
	}
	unknownHere := marked(unknown)
	if !unknownHere && sum(before) == sum(after) {
		return
	}
	leaf := map[string]any{"before": c.value(before, sensitiveBefore), "after": c.value(after, sensitiveAfter)}
	if unknownHere {
		leaf["unknown"] = unknown
	}
	if marked(sensitiveBefore) || marked(sensitiveAfter) {
		leaf["sensitive"] = true
	}
	out[strings.Join(at[1:], "\x00")] = leaf
}

// marked says whether a marker tree (after_unknown, …_sensitive) marks anything.
func marked(v any) bool {
	switch v := v.(type) {
	case bool:
		return v
	case []any:
		return slices.ContainsFunc(v, marked)
	case map[string]any:
		for _, e := range v {
			if marked(e) {
				return true
			}
		}
	}
	return false
}

func child(marker any, name string) any {
	switch m := marker.(type) {
	case map[string]any:
		return m[name]
	case bool:
		return m
	}
	return nil
}

func (c canon) value(v, sensitive any) any {
	if v == nil || !marked(sensitive) {
		return v
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("marshal of decoded JSON: %v", err)) // cannot be: v was decoded from JSON
	}
	h := hmac.New(sha256.New, c.key)
	h.Write(b)
	return "hmac:" + hex.EncodeToString(h.Sum(nil))
}

func (c canon) ignored(at []string) bool {
	for _, pattern := range c.ignore {
		segments := strings.Split(pattern, ".")
		if len(segments) != len(at) {
			continue
		}
		matches := true
		for i, s := range segments {
			ok, err := path.Match(s, at[i])
			matches = matches && ok && err == nil
		}
		if matches {
			c.used[pattern] = true
			return true
		}
	}
	return false
}
