package github

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/planlatch/planlatch/vcs"
)

// payload is what we read of all webhooks. It is ours instead of go-github's, because those decode every field GitHub sends, so that one
// of an odd type, in a place nobody reads, would lose the delivery.
type payload struct {
	Action     string             `json:"action"`
	Number     int                `json:"number"`
	Repository *payloadRepository `json:"repository"`
	Sender     *payloadUser       `json:"sender"`

	Pull    *payloadPull `json:"pull_request"`
	Changes struct {
		Base  *struct{} `json:"base"`
		Title *struct{} `json:"title"`
	} `json:"changes"`

	Issue *struct {
		Number int       `json:"number"`
		Pull   *struct{} `json:"pull_request"`
	} `json:"issue"`
	Comment *struct {
		ID        int64        `json:"id"`
		User      *payloadUser `json:"user"`
		Body      string       `json:"body"`
		CreatedAt moment       `json:"created_at"`
	} `json:"comment"`

	Review *struct {
		ID          int64        `json:"id"`
		User        *payloadUser `json:"user"`
		Body        string       `json:"body"`
		SubmittedAt moment       `json:"submitted_at"`
	} `json:"review"`

	Ref    string `json:"ref"`
	Before string `json:"before"`
	After  string `json:"after"`
	Pusher struct {
		Name string `json:"name"`
	} `json:"pusher"`

	SHA       string `json:"sha"`
	Context   string `json:"context"`
	State     string `json:"state"`
	UpdatedAt moment `json:"updated_at"`

	MergeGroup *struct {
		HeadSHA string `json:"head_sha"`
		HeadRef string `json:"head_ref"`
		BaseSHA string `json:"base_sha"`
		BaseRef string `json:"base_ref"`
	} `json:"merge_group"`

	CheckRun *struct {
		Name        string `json:"name"`
		HeadSHA     string `json:"head_sha"`
		CompletedAt moment `json:"completed_at"`
	} `json:"check_run"`
}

type payloadPull struct {
	Number    int    `json:"number"`
	UpdatedAt moment `json:"updated_at"`
}

// number is the pull request's own, or the one beside it.
func (pr *payloadPull) number(p *payload) int {
	if pr.Number > 0 {
		return pr.Number
	}
	return p.Number
}

type payloadUser struct {
	ID    int64  `json:"id"`
	Login string `json:"login"`
	Type  string `json:"type"`
}

func (u *payloadUser) user() vcs.User {
	if u == nil || u.ID <= 0 || u.Login == "" {
		return vcs.User{}
	}
	return vcs.User{ID: number(u.ID), Login: u.Login, Bot: isBot(u.Type, u.Login)}
}

type payloadRepository struct {
	ID            int64  `json:"id"`
	FullName      string `json:"full_name"`
	DefaultBranch string `json:"default_branch"`
	Private       bool   `json:"private"`
}

func (r *payloadRepository) repo() (vcs.Repo, bool) {
	if r == nil || r.ID <= 0 {
		return vcs.Repo{}, false
	}
	if _, _, err := split(r.FullName); err != nil {
		return vcs.Repo{}, false
	}
	return vcs.Repo{ID: number(r.ID), Name: r.FullName, DefaultBranch: r.DefaultBranch, Private: r.Private}, true
}

// moment is a time that may be missing or in a form we do not know (push events have numbers where others have text): then it is zero,
// since no decision hangs on it.
type moment struct{ time.Time }

func (m *moment) UnmarshalJSON(raw []byte) error {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		if t, err := time.Parse(time.RFC3339, s); err == nil {
			m.Time = t.UTC()
		}
	}
	return nil
}

func number(n int64) string { return strconv.FormatInt(n, 10) }
