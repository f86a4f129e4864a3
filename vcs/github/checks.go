package github

import (
	"sort"
	"strings"

	"github.com/planlatch/planlatch/vcs"
)

// report is the last result under one name: a commit status, or a check run of an app.
type report struct {
	context  string
	state    vcs.StatusState
	app      int64 // of a check run; 0 for a status, whose maker GitHub does not tell here
	required bool  // GitHub says so, whatever rule it comes from
}

func statusState(s string) vcs.StatusState {
	switch s {
	case "SUCCESS":
		return vcs.StatusSuccess
	case "PENDING", "EXPECTED": // expected: a required one that never reported
		return vcs.StatusPending
	case "FAILURE":
		return vcs.StatusFailure
	default:
		return vcs.StatusError
	}
}

// checkState maps the words of a check run as GitHub's own merge box does: neutral and skipped are good enough.
func checkState(status, conclusion string) vcs.StatusState {
	if status != "COMPLETED" {
		return vcs.StatusPending
	}
	switch conclusion {
	case "SUCCESS", "NEUTRAL", "SKIPPED":
		return vcs.StatusSuccess
	case "FAILURE", "TIMED_OUT", "ACTION_REQUIRED", "STARTUP_FAILURE", "CANCELLED":
		return vcs.StatusFailure
	default: // stale, and whatever comes
		return vcs.StatusError
	}
}

// judge makes one check of each context, the worst report winning, and adds the required ones that nobody reported. allowed says that
// GitHub would merge; it decides what is required where the rules cannot be read (see the package documentation).
func (r rules) judge(seen []report, allowed bool) []vcs.Check {
	checks := map[string]vcs.Check{}
	put := func(context string, state vcs.StatusState, required bool) {
		c, ok := checks[context]
		if !ok || rank(state) > rank(c.State) {
			c.State = state
		}
		checks[context] = vcs.Check{Context: context, State: c.State, Required: c.Required || required}
	}
	for _, s := range seen {
		put(s.context, s.state, s.required || !r.known() && !allowed)
	}
	for _, q := range r.required {
		put(q.context, q.state(seen), true)
	}
	out := make([]vcs.Check, 0, len(checks))
	for _, c := range checks {
		out = append(out, c)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Context < out[j].Context })
	return out
}

func rank(s vcs.StatusState) int {
	switch s {
	case vcs.StatusSuccess:
		return 0
	case vcs.StatusPending:
		return 1
	case vcs.StatusFailure:
		return 2
	default:
		return 3
	}
}

// ours says whether a context is one that planlatch sets itself.
func ours(context string) bool {
	return strings.HasPrefix(context, "planlatch/") || strings.HasPrefix(context, "planlatch-trial/")
}
