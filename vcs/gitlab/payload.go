package gitlab

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/planlatch/planlatch/vcs"
)

// account is a user as answers and deliveries have it. A deleted one is null or the ghost.
type account struct {
	ID          int64  `json:"id"`
	Username    string `json:"username"`
	State       string `json:"state"`
	Bot         bool   `json:"bot"`
	Email       string `json:"email"`
	PublicEmail string `json:"public_email"`
	CommitEmail string `json:"commit_email"`
}

// bots are the accounts that GitLab makes for tokens and for itself; only some answers say so.
var bots = regexp.MustCompile(`^(?:(?:project|group)_\d+_bot(?:_?[0-9a-f]*)|service_account(?:_.*)?|(?:alert|support|security|visual-review|migration|automation|duo[a-z-]*)-bot\d*|GitLabDuo|GitLab-Security-Bot)$`)

func (a *account) user() vcs.User {
	if a == nil || a.ID <= 0 || a.Username == "" || a.Username == "ghost" {
		return vcs.User{}
	}
	return vcs.User{ID: strconv.FormatInt(a.ID, 10), Login: a.Username, Bot: a.Bot || bots.MatchString(a.Username)}
}

// repository is a project. Answers say visibility in a word, deliveries in a number; what is not public counts as private.
type repository struct {
	ID             int64  `json:"id"`
	Path           string `json:"path_with_namespace"`
	DefaultBranch  string `json:"default_branch"`
	Visibility     string `json:"visibility"`
	Level          int    `json:"visibility_level"`
	PipelineNeeded bool   `json:"only_allow_merge_if_pipeline_succeeds"`
	SkippedPasses  bool   `json:"allow_merge_on_skipped_pipeline"`
	ChecksNeeded   bool   `json:"only_allow_merge_if_all_status_checks_passed"`
}

func (r *repository) repo() (vcs.Repo, bool) {
	if r == nil || r.ID <= 0 || !path(r.Path, 2) {
		return vcs.Repo{}, false
	}
	return vcs.Repo{
		ID: strconv.FormatInt(r.ID, 10), Name: r.Path, DefaultBranch: r.DefaultBranch, Private: r.Visibility != "public" && r.Level != 20,
	}, true
}

// mergeRequest is a merge request as GitLab answers.
type mergeRequest struct {
	IID       int64     `json:"iid"`
	Title     string    `json:"title"`
	WebURL    string    `json:"web_url"`
	State     string    `json:"state"` // opened, closed, locked (being merged), merged
	Draft     bool      `json:"draft"`
	WIP       bool      `json:"work_in_progress"` // the old word for draft
	Author    *account  `json:"author"`
	Source    int64     `json:"source_project_id"`
	Target    int64     `json:"target_project_id"`
	Head      string    `json:"source_branch"`
	Base      string    `json:"target_branch"`
	SHA       string    `json:"sha"`
	Merge     string    `json:"merge_commit_sha"`
	Squash    string    `json:"squash_commit_sha"`
	Status    string    `json:"detailed_merge_status"`
	Conflicts bool      `json:"has_conflicts"`
	MergedBy  *account  `json:"merged_by"`  // the old name
	MergeUser *account  `json:"merge_user"` // the new one
	MergedAt  time.Time `json:"merged_at"`
	Updated   time.Time `json:"updated_at"`
	Refs      *struct {
		Start string `json:"start_sha"`
	} `json:"diff_refs"`
	Pipeline *struct {
		Status string `json:"status"`
		Errors string `json:"yaml_errors"`
	} `json:"head_pipeline"`
}

// note is a comment; System ones GitLab wrote itself.
type note struct {
	ID       int64     `json:"id"`
	Body     string    `json:"body"`
	Author   *account  `json:"author"`
	System   bool      `json:"system"`
	Internal bool      `json:"internal"`
	Created  time.Time `json:"created_at"`
	Updated  time.Time `json:"updated_at"`
}

// approvals are who approved and what is missing.
type approvals struct {
	Required int `json:"approvals_required"`
	Left     int `json:"approvals_left"`
	By       []struct {
		User *account  `json:"user"`
		At   time.Time `json:"approved_at"` // only of later versions
	} `json:"approved_by"`
	Rules []struct {
		Name string `json:"name"`
	} `json:"approval_rules_left"`
}

// reviewer is somebody who was asked for a review, and what became of it.
type reviewer struct {
	User  *account `json:"user"`
	State string   `json:"state"`
}

// status is a commit status or a job of a pipeline.
type status struct {
	ID           int64  `json:"id"`
	Name         string `json:"name"`
	Status       string `json:"status"`
	AllowFailure bool   `json:"allow_failure"`
}

// commit is a commit of a merge request.
type commit struct {
	ID             string `json:"id"`
	AuthorEmail    string `json:"author_email"`
	CommitterEmail string `json:"committer_email"`
}

// change tells that a field of a merge request changed; its values are not looked at.
type change struct{}

// payload is what we read of any delivery. Everything may be missing: a deleted account is null, and old versions send less.
type payload struct {
	Kind         string      `json:"object_kind"`
	User         *account    `json:"user"`
	UserID       int64       `json:"user_id"`       // pushes say it here
	UserUsername string      `json:"user_username"` // and here
	Project      *repository `json:"project"`
	Ref          string      `json:"ref"`
	Before       string      `json:"before"`
	After        string      `json:"after"`
	Attributes   *struct {
		ID       int64  `json:"id"`
		IID      int64  `json:"iid"`
		Action   string `json:"action"`
		OldRev   string `json:"oldrev"`
		Note     string `json:"note"`
		On       string `json:"noteable_type"` //nolint:misspell // GitLab's word
		AuthorID int64  `json:"author_id"`
		System   bool   `json:"system"`
		Internal bool   `json:"internal"`
		SHA      string `json:"sha"`
		Status   string `json:"status"`
		Created  moment `json:"created_at"`
		Updated  moment `json:"updated_at"`
		Finished moment `json:"finished_at"`
	} `json:"object_attributes"`
	MergeRequest *struct {
		IID int64 `json:"iid"`
	} `json:"merge_request"`
	Changes map[string]change `json:"changes"`
}

// UnmarshalJSON takes any value.
func (*change) UnmarshalJSON([]byte) error { return nil }

// moment is a time in one of the forms that GitLab's deliveries have had. What is none of them is zero.
type moment struct{ time.Time }

var momentForms = []string{time.RFC3339Nano, "2006-01-02 15:04:05 MST", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05.999 MST"}

// UnmarshalJSON reads a time.
func (m *moment) UnmarshalJSON(raw []byte) error {
	s := strings.Trim(string(raw), `"`)
	for _, form := range momentForms {
		if at, err := time.Parse(form, s); err == nil {
			m.Time = at.UTC()
			return nil
		}
	}
	return nil
}

// sender is who caused a delivery.
func (p *payload) sender() vcs.User {
	if p.User == nil {
		return (&account{ID: p.UserID, Username: p.UserUsername}).user()
	}
	return p.User.user()
}
