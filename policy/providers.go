package policy

import "github.com/planlatch/planlatch/run"

// Providers are the allow-lists of providers of a project: those of the shipped sets on sources that can stop it and have one. A state names
// providers, too, and nobody judges where a state lies; so init is to be kept to what all of them allow.
func (e *Engine) Providers(in Input) (lists [][]string) {
	for _, p := range e.onSource(in) {
		if p.set.Source != builtinPrefix+builtinSources || p.set.Level == run.Advisory {
			continue
		}
		switch list := p.set.Settings["providers"].(type) {
		case []string:
			lists = append(lists, list)
		case []any:
			patterns := make([]string, len(list))
			for n, item := range list {
				patterns[n], _ = item.(string) // anything else stops the start, and until then every run
			}
			lists = append(lists, patterns)
		}
	}
	return lists
}
