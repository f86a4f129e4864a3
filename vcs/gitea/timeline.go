package gitea

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"

	sdk "code.gitea.io/sdk/gitea"
)

// event is one entry of a pull request's timeline.
type event struct {
	ID             int64     `json:"id"`
	Type           string    `json:"type"` // comment, review, pull_push, …
	User           *account  `json:"user"`
	OriginalAuthor string    `json:"original_author"`
	Body           string    `json:"body"`
	Created        time.Time `json:"created_at"`
	Updated        time.Time `json:"updated_at"`
	ReviewID       int64     `json:"review_id"`
}

// timeline reads everything that happened to a pull request, oldest first. Gitea leaves comments on lines out of it after it made the
// pages, and counts only what is left, so nothing says where it ends: a page can be empty and the next one not. hidden is how many such
// comments there are, and so how many empty pages can come before the end.
func (h *Host) timeline(ctx context.Context, owner, repo string, number, hidden int) ([]event, error) {
	var all []event
	empty := 0
	for page := 1; page <= pageLimit; page++ {
		var part []event
		resp, err := h.get(ctx, fmt.Sprintf("/repos/%s/%s/issues/%d/timeline", owner, repo, number), paged(page), &part)
		if err = explain(ctx, resp, err); err != nil {
			return nil, err
		}
		all = append(all, part...)
		if len(part) > 0 {
			continue
		}
		if empty++; empty > hidden/pageSize {
			return all, nil
		}
	}
	return nil, fmt.Errorf("the list is longer than %d pages", pageLimit)
}

func paged(page int) url.Values {
	return url.Values{"page": {strconv.Itoa(page)}, "limit": {strconv.Itoa(pageSize)}}
}

// commit is one commit of a pull request. The accounts are those that Gitea knows by the e-mail addresses.
type commit struct {
	SHA       string   `json:"sha"`
	Author    *account `json:"author"`
	Committer *account `json:"committer"`
	Commit    *struct {
		Author    *identity `json:"author"`
		Committer *identity `json:"committer"`
		Message   string    `json:"message"`
	} `json:"commit"`
}

type identity struct {
	Email string `json:"email"`
}

// commits lists the pull request's own commits, newest first.
func (h *Host) commits(ctx context.Context, owner, repo string, number int) ([]commit, error) {
	return pages(ctx, func(o sdk.ListOptions) ([]commit, *sdk.Response, error) {
		query := paged(o.Page)
		query.Set("verification", "false") // of signatures and
		query.Set("files", "false")        // lists of files, which cost more than all the rest
		var part []commit
		resp, err := h.get(ctx, fmt.Sprintf("/repos/%s/%s/pulls/%d/commits", owner, repo, number), query, &part)
		return part, resp, err
	})
}

var coAuthor = regexp.MustCompile(`(?im)^co-authored-by:[^<\n]*<([^<>\s]+@[^<>\s]+)>\s*$`)

// contributors names everyone who wrote, committed or pushed the pull request's own commits: logins as Gitea matched them, logins of
// who pushed to the open pull request, e-mail addresses in lower case as git has them, co-authors included. Gitea tells nobody who pushed
// before the pull request was opened.
func contributors(commits []commit, events []event) []string {
	names := map[string]bool{}
	login := func(a *account) {
		if a != nil && a.Login != "" {
			names[a.Login] = true
		}
	}
	email := func(e string) {
		if e = strings.ToLower(strings.TrimSpace(e)); e != "" {
			names[e] = true
		}
	}
	for _, c := range commits {
		login(c.Author)
		login(c.Committer)
		if c.Commit == nil {
			continue
		}
		for _, who := range []*identity{c.Commit.Author, c.Commit.Committer} {
			if who != nil {
				email(who.Email)
			}
		}
		for _, m := range coAuthor.FindAllStringSubmatch(c.Commit.Message, -1) {
			email(m[1])
		}
	}
	for _, e := range events {
		if e.Type == "pull_push" {
			login(e.User)
		}
	}
	out := make([]string, 0, len(names))
	for n := range names {
		out = append(out, n)
	}
	sort.Strings(out)
	return out
}
