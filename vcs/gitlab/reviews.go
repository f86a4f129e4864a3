package gitlab

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/wire"
)

// What GitLab writes on a merge request when somebody says something about it; only GitLab itself writes system notes.
var (
	notedApproval = regexp.MustCompile(`^approved this merge request\b`)
	notedChanges  = regexp.MustCompile(`^requested changes\b`)
	notedCommits  = regexp.MustCompile(`^added \d+ (?:new )?commits?\b`)
)

// reviews puts together the last word of each person: who approves now, and what reviewers say. Whoever asked for changes stands against,
// also where GitLab still lists an approval of theirs. No review has a commit.
func reviews(given approvals, asked []reviewer, notes []note) []vcs.Review {
	last := map[string]vcs.Review{}
	for _, a := range given.By {
		who := a.User.user()
		if who.ID == "" {
			continue
		}
		at := a.At.UTC()
		if a.At.IsZero() {
			at = noted(notes, who, notedApproval)
		}
		last[who.ID] = vcs.Review{Author: who, State: vcs.ReviewApproved, At: at}
	}
	for _, r := range asked {
		who := r.User.user()
		_, approves := last[who.ID]
		switch {
		case who.ID == "":
		case r.State == "requested_changes":
			last[who.ID] = vcs.Review{Author: who, State: vcs.ReviewChanges, At: noted(notes, who, notedChanges)}
		case approves:
		case r.State == "reviewed":
			last[who.ID] = vcs.Review{Author: who, State: vcs.ReviewCommented}
		case r.State == "unapproved":
			last[who.ID] = vcs.Review{Author: who, State: vcs.ReviewDismissed}
		}
	}
	var out []vcs.Review
	for _, r := range last {
		out = append(out, r)
	}
	sort.Slice(out, func(i, j int) bool {
		if !out[i].At.Equal(out[j].At) {
			return out[i].At.Before(out[j].At)
		}
		return out[i].Author.ID < out[j].Author.ID
	})
	return out
}

// noted is when a person last did what GitLab noted so; zero if it did not.
func noted(notes []note, who vcs.User, what *regexp.Regexp) time.Time {
	var at time.Time
	for _, n := range notes {
		if n.System && n.Author.user().ID == who.ID && what.MatchString(n.Body) && n.Created.After(at) {
			at = n.Created.UTC()
		}
	}
	return at
}

// contributors are all who authored, committed or pushed commits. Commits name people by their addresses only; the names to these are
// looked up, and who pushed is noted on the merge request.
func (h *Host) contributors(ctx context.Context, author vcs.User, commits []commit, notes []note) ([]string, error) {
	seen := map[string]bool{}
	var out []string
	add := func(who string) {
		if who != "" && !seen[strings.ToLower(who)] {
			seen[strings.ToLower(who)] = true
			out = append(out, who)
		}
	}
	for _, c := range commits {
		for _, address := range []string{c.AuthorEmail, c.CommitterEmail} {
			address = strings.ToLower(strings.TrimSpace(address))
			if address == "" || seen[address] {
				continue
			}
			add(address)
			login, err := h.byEmail(ctx, address)
			if err != nil {
				return nil, err
			}
			add(login)
		}
	}
	for _, n := range notes {
		if n.System && notedCommits.MatchString(n.Body) {
			add(n.Author.user().Login)
		}
	}
	add(author.Login)
	slices.Sort(out)
	return out, nil
}

// known is what was found out about an address of commits.
type known struct {
	login string // empty: nobody that we may know of
	until time.Time
}

// How long we remember whose an address is, and how many.
const (
	rememberLogin  = time.Hour
	rememberNobody = 10 * time.Minute
	emailLimit     = 5000
)

// noreply is the address that GitLab gives to commits of people who hide theirs: 12-alice@users.noreply.gitlab.com.
var noreply = regexp.MustCompile(`^\d+-([a-z0-9_.-]+)@users\.noreply\.`)

// byEmail asks who has an address. GitLab tells everybody of public addresses, and administrators of all.
func (h *Host) byEmail(ctx context.Context, address string) (string, error) {
	if m := noreply.FindStringSubmatch(address); m != nil {
		return m[1], nil
	}
	h.mu.Lock()
	k, ok := h.emails[address]
	h.mu.Unlock()
	if ok && h.now().Before(k.until) {
		return k.login, nil
	}
	var found []*account
	_, err := h.call(ctx, http.MethodGet, []string{"users"}, filter{Search: address}, &found)
	if err != nil && wire.Status(err)/100 != 4 { // not to be known is no error, not to be reached is one
		return "", err
	}
	k = known{until: h.now().Add(rememberNobody)}
	for _, a := range found {
		if a != nil && slices.ContainsFunc([]string{a.Email, a.PublicEmail, a.CommitEmail}, func(s string) bool { return strings.EqualFold(s, address) }) {
			k = known{login: a.user().Login, until: h.now().Add(rememberLogin)}
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.emails) >= emailLimit {
		clear(h.emails)
	}
	h.emails[address] = k
	return k.login, nil
}
