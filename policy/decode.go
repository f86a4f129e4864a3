package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/planlatch/planlatch/run"
)

// Bounds of what a set may say about one plan. A plan is hostile: it may have any number of resources with names of any length.
const (
	mostFindings = 1000
	longestText  = 4000 // bytes of one message or fix
	longestValue = 1000 // bytes of one value; a longer one is replaced by its digest, because overrides bind to it
)

// decode turns what the decisions gave into findings. The first thing that has another form is an error for the whole set.
func (p *prepared) decode(values []any) ([]run.Finding, error) {
	var all []run.Finding
	for i, d := range p.decisions {
		documents, ok := values[i].([]any) // empty when the rule is undefined
		if !ok {
			return nil, fmt.Errorf("rule %s: the answer has another form than the question", d.name)
		}
		for _, document := range documents {
			found, err := p.decodeDocument(d, document)
			if err != nil {
				return nil, fmt.Errorf("rule %s: %w", d.name, err)
			}
			all = append(all, found...)
		}
	}
	return p.bound(order(all)), nil
}

// decodeDocument reads the value of one rule: a set or list of entries, or in conftest's styles also one message, or true.
func (p *prepared) decodeDocument(d decision, document any) ([]run.Finding, error) {
	entries, isList := document.([]any)
	if !isList {
		if d.style == styleFinding {
			return nil, fmt.Errorf("gives %s instead of findings; write `finding contains {…} if`", kind(document))
		}
		switch v := document.(type) {
		case bool:
			if !v {
				return nil, nil
			}
			entries = []any{"denied by rule " + d.name}
		case string:
			entries = []any{v}
		default:
			return nil, fmt.Errorf("gives %s instead of messages; write `%s contains message if`", kind(document), d.style)
		}
	}
	found := make([]run.Finding, 0, len(entries))
	for _, entry := range entries {
		read := p.decodeMessage
		if d.style == styleFinding {
			read = p.decodeFinding
		}
		f, err := read(d, entry)
		if err != nil {
			return nil, err
		}
		found = append(found, f)
	}
	return found, nil
}

// decodeFinding reads an entry of our own convention. Unknown keys are refused: a mistyped one would silently lose what it says.
func (p *prepared) decodeFinding(_ decision, entry any) (run.Finding, error) {
	fields, ok := entry.(map[string]any)
	if !ok {
		return run.Finding{}, fmt.Errorf("gives %s instead of an object with rule and message", kind(entry))
	}
	f := run.Finding{Set: p.set.Name, Level: p.set.Level, Owners: p.set.Owners}
	texts := map[string]*string{"rule": &f.Rule, "resource": &f.Resource, "message": &f.Message, "fix": &f.Fix, "file": &f.File}
	for key, value := range fields {
		switch to := texts[key]; {
		case to != nil:
			if *to, ok = value.(string); !ok {
				return run.Finding{}, fmt.Errorf("%s is %s instead of a string", key, kind(value))
			}
		case key == "value":
			f.Value = valueText(value)
		case key == "line":
			line, err := lineOf(value)
			if err != nil {
				return run.Finding{}, err
			}
			f.Line = line
		case key == "level":
			level, err := p.soften(value)
			if err != nil {
				return run.Finding{}, err
			}
			f.Level = level
		default:
			return run.Finding{}, fmt.Errorf("has an unknown key %q; there are rule, resource, message, fix, value, level, file and line", cut(key))
		}
	}
	if f.Rule == "" || f.Message == "" {
		return run.Finding{}, fmt.Errorf("gives a finding without rule or message: %s", cut(valueText(entry)))
	}
	return f, nil
}

// lineOf reads the line of a finding; 0 is the whole file.
func lineOf(value any) (int, error) {
	number, _ := value.(json.Number)
	line, err := strconv.Atoi(number.String())
	if err != nil || line < 0 {
		return 0, fmt.Errorf("line is %s instead of a number from 0", cut(valueText(value)))
	}
	return line, nil
}

// soften reads the level of one finding. It may be softer than the set's, never harder: how hard a set may be is the server's word.
func (p *prepared) soften(value any) (run.Level, error) {
	text, _ := value.(string)
	level := run.Level(text)
	if !slices.Contains([]run.Level{run.Advisory, run.Soft, run.Hard}, level) {
		return "", fmt.Errorf("level is %s; say advisory, soft or hard", cut(valueText(value)))
	}
	if hardness(level) < hardness(p.set.Level) {
		if level == run.Soft && len(p.set.Owners.Users)+len(p.set.Owners.Teams) == 0 {
			return p.set.Level, nil // nobody could override it
		}
		return level, nil
	}
	return p.set.Level, nil
}

// decodeMessage reads an entry in conftest's convention: a text, or an object with msg.
func (p *prepared) decodeMessage(d decision, entry any) (run.Finding, error) {
	f := run.Finding{Set: p.set.Name, Rule: d.name, Level: p.set.Level, Owners: p.set.Owners}
	if d.style == styleWarn {
		f.Level = run.Advisory
	}
	switch v := entry.(type) {
	case string:
		f.Message = v
	case map[string]any:
		f.Message, _ = v["msg"].(string)
		f.Resource, _ = v["resource"].(string)
		f.Fix, _ = v["fix"].(string)
	}
	if f.Message == "" {
		return run.Finding{}, fmt.Errorf("gives %s instead of a text or an object with msg", cut(valueText(entry)))
	}
	f.Value = valueText(entry) // all that is known about the offence: an override must not outlive a change of it
	return f, nil
}

// bound keeps texts and their number in limits that a database row and a comment can bear. What is left out still counts: as one finding
// of the hardest level among them, whose value names exactly them.
func (p *prepared) bound(findings []run.Finding) []run.Finding {
	for i := range findings {
		f := &findings[i]
		f.Rule, f.Resource, f.Message, f.Fix, f.File = cut(f.Rule), cut(f.Resource), cut(f.Message), cut(f.Fix), cut(f.File)
		if len(f.Value) > longestValue {
			f.Value = "sha256:" + digestOf(f.Value)
		}
	}
	if len(findings) <= mostFindings {
		return findings
	}
	rest := findings[mostFindings:]
	return append(findings[:mostFindings:mostFindings], run.Finding{
		Set:     p.set.Name,
		Rule:    "more-findings",
		Level:   rest[0].Level, // they are sorted, the hardest first
		Message: fmt.Sprintf("policy set %s has %d more findings than the %d that are listed", p.set.Name, len(rest), mostFindings),
		Fix:     "Fix what is listed and plan again, or split the change.",
		Value:   "sha256:" + digestOf(rest),
		Owners:  p.set.Owners,
	})
}

// digestOf is the SHA-256 of a value's JSON, in hexadecimal.
func digestOf(value any) string {
	text, err := json.Marshal(value)
	if err != nil { // only strings, numbers, lists and maps of them get here
		panic(fmt.Sprintf("policy: marshal %T: %v", value, err))
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// valueText writes a value for people: a string as it is, anything else as JSON with sorted keys.
func valueText(value any) string {
	if text, ok := value.(string); ok {
		return text
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return fmt.Sprintf("%v", value)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// cut shortens a text at a blank: secrets are taken out of it later, and half of one would not be known.
func cut(text string) string {
	if len(text) <= longestText {
		return text
	}
	return text[:strings.LastIndexAny(text[:longestText+1], " \t\r\n")+1] + "…"
}

func kind(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case json.Number:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "a list"
	}
	return "an object"
}
