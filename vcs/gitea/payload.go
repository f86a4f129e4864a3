package gitea

import (
	"strconv"
	"strings"
	"time"

	sdk "code.gitea.io/sdk/gitea"

	"github.com/planlatch/planlatch/vcs"
)

// payload is what we read of any delivery. Everything may be missing: a deleted account is null, and old versions send less.
type payload struct {
	Action      string      `json:"action"`
	Number      int64       `json:"number"`
	Repository  *repository `json:"repository"`
	Sender      *account    `json:"sender"`
	IsPull      bool        `json:"is_pull"`
	PullRequest *struct {
		Number   int64      `json:"number"`
		Updated  *time.Time `json:"updated_at"`
		Reviewed int        `json:"review_comments"` // how many reviews were submitted, this one included
	} `json:"pull_request"`
	Issue *struct {
		Number      int64     `json:"number"`
		PullRequest *struct{} `json:"pull_request"`
	} `json:"issue"`
	Comment *struct {
		ID             int64     `json:"id"`
		User           *account  `json:"user"`
		OriginalAuthor string    `json:"original_author"`
		Body           string    `json:"body"`
		Created        time.Time `json:"created_at"`
	} `json:"comment"`
	Review *struct {
		Content string `json:"content"`
	} `json:"review"`
	Changes *struct {
		Title *struct{} `json:"title"`
		Ref   *struct{} `json:"ref"`
		Body  *struct{} `json:"body"`
	} `json:"changes"`

	Ref     string    `json:"ref"`
	RefType string    `json:"ref_type"`
	Before  string    `json:"before"`
	After   string    `json:"after"`
	SHA     string    `json:"sha"`
	Context string    `json:"context"`
	State   string    `json:"state"`
	Created time.Time `json:"created_at"`
}

type repository struct {
	ID            int64  `json:"id"`
	FullName      string `json:"full_name"`
	DefaultBranch string `json:"default_branch"`
	Private       bool   `json:"private"`
}

// repo returns the repository of a delivery; false if it names none that could exist.
func (r *repository) repo() (vcs.Repo, bool) {
	if r == nil || r.ID <= 0 {
		return vcs.Repo{}, false
	}
	if _, _, err := split(r.FullName); err != nil {
		return vcs.Repo{}, false
	}
	return vcs.Repo{ID: strconv.FormatInt(r.ID, 10), Name: r.FullName, DefaultBranch: r.DefaultBranch, Private: r.Private}, true
}

type account struct {
	ID    int64  `json:"id"`
	Login string `json:"login"`
}

func (a *account) user() vcs.User {
	if a == nil {
		return vcs.User{}
	}
	return user(a.ID, a.Login)
}

// person reads an account of the API; a deleted one is null there.
func person(u *sdk.User) vcs.User {
	if u == nil {
		return vcs.User{}
	}
	return user(u.ID, u.UserName)
}

// user makes an account. Gitea numbers those that stand for nobody downwards from -1, which is the ghost of the deleted; -2 is its
// Actions. An account without an id or login is nobody.
func user(id int64, login string) vcs.User {
	if id == 0 || id == -1 || login == "" {
		return vcs.User{}
	}
	return vcs.User{ID: strconv.FormatInt(id, 10), Login: login, Bot: id < 0 || strings.HasSuffix(login, "[bot]")}
}
