package policy

import "github.com/planlatch/planlatch/run"

// Providers is the allow-list of providers of a project: that of the first shipped set on sources that can stop it and has one. A state names
// providers, too, and nobody judges where a state lies; so init is to be kept to the list. bounded is false where there is none.
func (e *Engine) Providers(in Input) (patterns []string, bounded bool) {
	for _, p := range e.onSource(in) {
		if p.set.Source != builtinPrefix+builtinSources || p.set.Level == run.Advisory {
			continue
		}
		switch list := p.set.Settings["providers"].(type) {
		case []string:
			return list, true
		case []any:
			for _, item := range list {
				text, _ := item.(string) // anything else stops the start, and until then every run
				patterns = append(patterns, text)
			}
			return patterns, true
		}
	}
	return nil, false
}
