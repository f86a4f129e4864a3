package gitlab_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/quick"
	"time"

	testkit "github.com/planlatch/planlatch/testkit/gitlab"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/vcs/fakehost"
	"github.com/planlatch/planlatch/vcs/gitlab"
)

// sign signs as Standard Webhooks has it.
func sign(head string, body []byte) string {
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(signing, "whsec_"))
	mac := hmac.New(sha256.New, key)
	mac.Write(append([]byte(head), body...))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// scene is a project with one merge request of alice.
type scene struct {
	*testkit.World
	host   *gitlab.Host
	repo   vcs.Repo
	number int
	head   string
}

func newScene(t *testing.T) *scene {
	t.Helper()
	w := testkit.NewWorld(t)
	s := &scene{World: w, host: host(t, w), repo: w.Repo(t, true)}
	alice := w.Person(t, "alice")
	w.Grant(t, s.repo, alice, vcs.PermissionWrite)
	s.head = alice.Push(t, s.repo, "change", "a.tf", "# a\n")
	s.number = alice.Open(t, s.repo, "change", "main", "Change")
	return s
}

// edit changes what the API answers below a path: each answer passes through change.
func (s *scene) edit(path string, change func(answer map[string]any)) {
	bare := &http.Client{}
	s.Host.SetFault(func(r *http.Request) *fakehost.Fault {
		if !strings.HasSuffix(r.URL.Path, path) || r.Method != http.MethodGet || r.Header.Get("X-Edited") != "" {
			return nil
		}
		req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, s.Host.URL+r.URL.RequestURI(), nil)
		if err != nil {
			return &fakehost.Fault{Status: 500}
		}
		req.Header = r.Header.Clone()
		req.Header.Set("X-Edited", "1")
		resp, err := bare.Do(req)
		if err != nil {
			return &fakehost.Fault{Status: 500}
		}
		defer resp.Body.Close()
		var answer map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			return &fakehost.Fault{Status: 500}
		}
		change(answer)
		body, err := json.Marshal(answer)
		if err != nil {
			return &fakehost.Fault{Status: 500}
		}
		return &fakehost.Fault{Status: 200, Body: string(body)}
	})
}

func (s *scene) request() string { return "/merge_requests/" + strconv.Itoa(s.number) }

func (s *scene) pull(t *testing.T) vcs.Pull {
	t.Helper()
	p, err := s.host.Pull(t.Context(), s.repo, s.number)
	if err != nil {
		t.Fatalf("Pull() = %v", err)
	}
	return p
}

func TestMergeability(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	for word, want := range map[string]struct {
		tri  vcs.Tri
		says string
	}{
		"mergeable":                {vcs.Yes, ""},
		"unchecked":                {vcs.Unknown, "looking"},
		"checking":                 {vcs.Unknown, "looking"},
		"preparing":                {vcs.Unknown, "looking"},
		"":                         {vcs.Unknown, "looking"},
		"conflict":                 {vcs.No, "conflicts with main"},
		"broken_status":            {vcs.No, "conflicts with main"},
		"draft_status":             {vcs.No, "draft"},
		"discussions_not_resolved": {vcs.No, "threads"},
		"need_rebase":              {vcs.No, "rebased"},
		"requested_changes":        {vcs.No, "changes were requested"},
		"not_approved":             {vcs.No, "approvals"},
		"merge_request_blocked":    {vcs.No, "another merge request"},
		"status_checks_must_pass":  {vcs.No, "external status check"},
		"ci_must_pass":             {vcs.No, "pipeline"},
		"ci_still_running":         {vcs.No, "pipeline"},
		"a_word_of_the_future":     {vcs.No, "a word of the future"},
	} {
		s.edit(s.request(), func(a map[string]any) { a["detailed_merge_status"] = word })
		if got := s.pull(t); got.Mergeable != want.tri || !strings.Contains(got.MergeBlocked, want.says) || (want.says == "") != (got.MergeBlocked == "") {
			t.Errorf("%q: Mergeable, MergeBlocked = %v, %q, want %v, %q", word, got.Mergeable, got.MergeBlocked, want.tri, want.says)
		}
	}
	s.edit(s.request()+"/approvals", func(a map[string]any) {
		a["approvals_required"], a["approvals_left"] = 2, 1
		a["approval_rules_left"] = []any{map[string]any{"name": "security"}}
	})
	if got := s.pull(t); got.Mergeable != vcs.No || got.MergeBlocked != "has 1 of 2 approvals that the rules of main ask for: security" {
		t.Errorf("an approval is missing: %v, %q", got.Mergeable, got.MergeBlocked)
	}
}

func TestMergeCommitIsWhatIsOnTheBase(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	merge, squash := strings.Repeat("a", 40), strings.Repeat("b", 40)
	for name, c := range map[string]struct {
		merge, squash any
		want          string
	}{
		"MergeCommit":          {merge, nil, merge},
		"MergeCommitOfASquash": {merge, squash, merge},
		"SquashFastForwarded":  {nil, squash, squash},
		"FastForward":          {nil, nil, s.head},
		"Empty":                {"", "", s.head},
	} {
		s.edit(s.request(), func(a map[string]any) {
			a["state"], a["merge_commit_sha"], a["squash_commit_sha"] = "merged", c.merge, c.squash
		})
		if got := s.pull(t).MergeCommit; got != c.want {
			t.Errorf("%s: MergeCommit = %s, want %s", name, got, c.want)
		}
	}
}

func TestApprovalsHaveTheTimeThatGitLabGives(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	bob := s.Person(t, "bob")
	s.Grant(t, s.repo, bob, vcs.PermissionWrite)
	bob.Review(t, s.repo, s.number, vcs.ReviewApproved, "")
	path := s.request() + "/approvals"
	by := func(a map[string]any) map[string]any { return a["approved_by"].([]any)[0].(map[string]any) }
	at := func() time.Time {
		t.Helper()
		got := s.pull(t).Reviews
		if len(got) != 1 || got[0].State != vcs.ReviewApproved || got[0].Commit != "" {
			t.Fatalf("Reviews = %+v, want one approval without a commit", got)
		}
		return got[0].At
	}
	s.edit(path, func(a map[string]any) { by(a)["approved_at"] = "2026-03-01T10:00:00.123Z" })
	if got := at(); !got.Equal(time.Date(2026, 3, 1, 10, 0, 0, 123e6, time.UTC)) {
		t.Errorf("At = %s, want what GitLab says", got)
	}
	s.edit(path, func(a map[string]any) { delete(by(a), "approved_at") })
	if got := at(); time.Since(got).Abs() > time.Minute {
		t.Errorf("without a time: At = %s, want when GitLab noted it", got)
	}
	s.edit(path, func(a map[string]any) {
		delete(by(a), "approved_at")
		by(a)["user"] = map[string]any{"id": 4711, "username": "somebody"}
	})
	all := s.pull(t).Reviews
	if i := slices.IndexFunc(all, func(r vcs.Review) bool { return r.Author.ID == "4711" }); i < 0 || !all[i].At.IsZero() {
		t.Errorf("without a time and a note: %+v, want no time, which no gate takes", all)
	}
}

func TestWhoAskedForChangesStandsAgainst(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	bob := s.Person(t, "bob")
	s.Grant(t, s.repo, bob, vcs.PermissionWrite)
	bob.Review(t, s.repo, s.number, vcs.ReviewChanges, "no")
	s.edit(s.request()+"/approvals", func(a map[string]any) {
		a["approved_by"] = []any{map[string]any{"user": map[string]any{"id": mustInt(t, bob.User().ID), "username": bob.User().Login}}}
	})
	if got := s.pull(t).Reviews; len(got) != 1 || got[0].State != vcs.ReviewChanges || got[0].At.IsZero() {
		t.Errorf("Reviews = %+v, want changes requested", got)
	}
}

func mustInt(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestOddAnswersAreNoPanic: what is missing or null is unknown, an error or nobody.
func TestOddAnswersAreNoPanic(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	whole := func(body string) func(*http.Request) *fakehost.Fault {
		return func(r *http.Request) *fakehost.Fault {
			if r.Method != http.MethodGet {
				return nil
			}
			return &fakehost.Fault{Status: 200, Body: body}
		}
	}
	for _, body := range []string{"", "null", "{}", "[]", "[null]", `{"id":null}`, `"text"`, "<html>proxy</html>", `{"iid":1}`} {
		s.Host.SetFault(whole(body))
		if p, err := s.host.Pull(t.Context(), s.repo, s.number); err == nil {
			t.Errorf("%q: Pull() = %+v, want an error", body, p)
		}
		if n, err := s.host.UpdatedSince(t.Context(), s.repo, time.Time{}); err == nil && len(n) > 0 {
			t.Errorf("%q: UpdatedSince() = %+v", body, n)
		}
		if c, err := s.host.CommentsSince(t.Context(), s.repo, 1, time.Time{}); err == nil && len(c) > 0 {
			t.Errorf("%q: CommentsSince() = %+v", body, c)
		}
		if level, err := s.host.Permission(t.Context(), s.repo, "alice"); err == nil && level != vcs.PermissionNone {
			t.Errorf("%q: Permission() = %d, want none or an error", body, level)
		}
		if is, err := s.host.Member(t.Context(), "acme/team", "alice"); err == nil && is {
			t.Errorf("%q: Member() = true", body)
		}
		if sha, err := s.host.Branch(t.Context(), s.repo, "main"); err == nil {
			t.Errorf("%q: Branch() = %q, want an error", body, sha)
		}
		if r, err := s.host.Repo(t.Context(), s.repo.Name); err == nil {
			t.Errorf("%q: Repo() = %+v, want an error", body, r)
		}
	}
	s.edit(s.request(), func(a map[string]any) {
		for _, name := range []string{"author", "source_project_id", "diff_refs", "head_pipeline", "merged_by", "merge_user", "merged_at", "updated_at"} {
			a[name] = nil
		}
	})
	if got := s.pull(t); got.Author.ID != "" || !got.Fork {
		t.Errorf("a deleted author and fork: Author, Fork = %+v, %v, want nobody and true", got.Author, got.Fork)
	}
}

func TestRefusalsBecomeThePortsErrors(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	for _, c := range []struct {
		fault fakehost.Fault
		want  error
		after time.Duration
	}{
		{fakehost.Fault{Status: 401, Body: `{"message":"401 Unauthorized"}`}, vcs.ErrDenied, 0},
		{fakehost.Fault{Status: 403, Body: `{"message":"403 Forbidden"}`}, vcs.ErrDenied, 0},
		{fakehost.Fault{Status: 404, Body: `{"message":"404 Not found"}`}, vcs.ErrNotFound, 0},
		{fakehost.Fault{Status: 429, Header: http.Header{"Retry-After": {"30"}}}, nil, 30 * time.Second},
		{fakehost.Fault{Status: 429, Header: http.Header{"Ratelimit-Reset": {strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)}}}, nil, time.Hour},
		{fakehost.Fault{Status: 429}, nil, 0},
		{fakehost.Fault{Status: 502, Body: "bad gateway"}, nil, 0},
	} {
		s.Host.SetFault(func(*http.Request) *fakehost.Fault { return &c.fault })
		_, err := s.host.Pull(t.Context(), s.repo, s.number)
		if c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%d: %v, want %v", c.fault.Status, err, c.want)
		}
		retry, ok := errors.AsType[*vcs.RetryError](err)
		if c.want == nil && (!ok || (retry.After-c.after).Abs() > c.after/10) {
			t.Errorf("%d: %v, want to be told to wait %s", c.fault.Status, err, c.after)
		}
	}
}

func TestTokenIsNeverSentElsewhere(t *testing.T) {
	t.Parallel()
	got := make(chan string, 8)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header.Get("Authorization") }))
	t.Cleanup(elsewhere.Close)
	here := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
	t.Cleanup(here.Close)
	h, err := gitlab.New(gitlab.Options{URL: here.URL, Token: "s3cr3t-t0ken", WebhookSecret: token})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Self(t.Context()); err == nil || strings.Contains(err.Error(), "s3cr3t") || !strings.Contains(err.Error(), "set url to the final address") {
		t.Errorf("Self() = %v, want a refusal to follow", err)
	}
	if len(got) > 0 {
		t.Errorf("the other address was asked, with %q", <-got)
	}
	if said := h.String(); strings.Contains(said, "s3cr3t") || strings.Contains(said, token) {
		t.Errorf("String() = %q", said)
	}
}

func TestARenamedProjectIsFound(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	if err := s.Host.RenameRepo(s.repo.Name, "acme/elsewhere/infra"); err != nil {
		t.Fatal(err)
	}
	if got := s.pull(t); got.Head.SHA != s.head {
		t.Errorf("Pull() by the old name = %+v", got)
	}
	got, err := s.host.Repo(t.Context(), s.repo.Name)
	if err != nil || got.ID != s.repo.ID || got.Name != "acme/elsewhere/infra" {
		t.Errorf("Repo(the old name) = %+v, %v", got, err)
	}
	if _, err := s.host.Comment(t.Context(), s.repo, s.number, "", "", "still here"); err != nil {
		t.Errorf("Comment() by the old name = %v", err)
	}
}

func TestStatusOfAForksHeadIsSet(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	public, mallory := s.Repo(t, false), s.Person(t, "mallory")
	fork := mallory.Fork(t, public)
	head := mallory.Push(t, fork, "from-fork", "f.tf", "# f\n")
	mallory.OpenFrom(t, public, fork, "from-fork", "main", "From a fork")
	if err := s.host.SetStatus(t.Context(), public, head, vcs.Status{Context: "planlatch/plan", State: vcs.StatusPending}); err != nil {
		t.Errorf("SetStatus() = %v", err)
	}
	if got := s.Statuses(t, public, head)["planlatch/plan"].State; got != vcs.StatusPending {
		t.Errorf("the status is %q", got)
	}
}

// TestAStatusNeverGetsStuck goes from every state to every state.
func TestAStatusNeverGetsStuck(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	all := []vcs.StatusState{vcs.StatusPending, vcs.StatusSuccess, vcs.StatusFailure}
	for _, from := range all {
		for _, to := range all {
			for _, state := range []vcs.StatusState{from, to, to} {
				if err := s.host.SetStatus(t.Context(), s.repo, s.head, vcs.Status{Context: "planlatch/plan", State: state, Description: string(from)}); err != nil {
					t.Errorf("%s → %s: SetStatus(%s) = %v", from, to, state, err)
				}
			}
			if got := s.Statuses(t, s.repo, s.head)["planlatch/plan"].State; got != to {
				t.Errorf("%s → %s: the status is %s", from, to, got)
			}
		}
	}
}

var actsOnIts = regexp.MustCompile(`(?m)^\s*/`)

// TestNoLineOfACommentIsAQuickAction sends hostile bodies and looks at what arrives.
func TestNoLineOfACommentIsAQuickAction(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	put := func(known, body string) string {
		t.Helper()
		id, err := s.host.Comment(t.Context(), s.repo, s.number, known, "", body)
		if err != nil {
			t.Fatalf("Comment(%q) = %v", body, err)
		}
		return id
	}
	known := ""
	for _, body := range []string{
		"/close", "text\n/close", "text\r\n/close\r\n", "  /close", "\t/close", "```\nx\n```\n/close", "```\n/close\n```", "> quote\n/close",
		"<details>\n\n/close\n</details>", "~~~\n```\n/close\n~~~", "a\r/close", "\u00a0/close", "/close\n/close", "//close", "\n\n/close please",
	} {
		known = put(known, body)
		put("", body)
	}
	if got := s.pull(t); got.State != vcs.PullOpen {
		t.Fatalf("a comment of ours closed the merge request")
	}
	for _, c := range s.Comments(t, s.repo, s.number) {
		if actsOnIts.MatchString(c.Body) {
			t.Errorf("a line of %q begins with a slash", c.Body)
		}
	}
	alphabet := []string{"/", "/merge", "close", " ", "\t", "\n", "\r\n", "\r", "```", "~~~", ">", "<!-- planlatch:summary -->", "ä", "\u2028"}
	sent := make(chan string, 1)
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Body string }
		raw, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(raw, &in)
		sent <- in.Body
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"id":1}`)
	}))
	t.Cleanup(echo.Close)
	h, err := gitlab.New(gitlab.Options{URL: echo.URL, Token: "t", WebhookSecret: token})
	if err != nil {
		t.Fatal(err)
	}
	harmless := func(picks []uint8) bool {
		var b strings.Builder
		for _, p := range picks {
			b.WriteString(alphabet[int(p)%len(alphabet)])
		}
		if _, err := h.Comment(t.Context(), s.repo, 1, "", "", b.String()); err != nil {
			t.Errorf("Comment(%q) = %v", b.String(), err)
		}
		got := <-sent
		return !actsOnIts.MatchString(strings.ReplaceAll(got, "\r", "\n")) && strings.ReplaceAll(got, "\u200b", "") == b.String()
	}
	if err := quick.Check(harmless, &quick.Config{MaxCount: 300}); err != nil {
		t.Error(err)
	}
}

func TestRolesOfGitLab(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	bob := s.Person(t, "bob")
	s.Grant(t, s.repo, bob, vcs.PermissionWrite)
	for _, c := range []struct {
		change map[string]any
		want   vcs.Permission
	}{
		{map[string]any{"access_level": 5}, vcs.PermissionNone},
		{map[string]any{"access_level": 10}, vcs.PermissionNone}, // a guest does not see the code of a private project
		{map[string]any{"access_level": 15}, vcs.PermissionNone},
		{map[string]any{"access_level": 20}, vcs.PermissionRead},
		{map[string]any{"access_level": 30}, vcs.PermissionWrite},
		{map[string]any{"access_level": 40}, vcs.PermissionAdmin},
		{map[string]any{"access_level": 50}, vcs.PermissionAdmin},
		{map[string]any{"access_level": 50, "state": "blocked"}, vcs.PermissionNone},
		{map[string]any{"access_level": 50, "membership_state": "awaiting"}, vcs.PermissionNone},
	} {
		s.edit("/members/all/"+bob.User().ID, func(a map[string]any) { maps.Copy(a, c.change) })
		if got, err := s.host.Permission(t.Context(), s.repo, bob.User().Login); err != nil || got != c.want {
			t.Errorf("Permission(%v) = %d, %v, want %d", c.change, got, err, c.want)
		}
	}
}

func TestMembersOfAGroupAboveAreMembers(t *testing.T) {
	t.Parallel()
	w := testkit.NewWorld(t)
	h, alice := host(t, w), w.Person(t, "alice")
	login := alice.User().Login
	for _, err := range []error{w.Host.CreateTeam("acme", login), w.Host.CreateTeam("acme/platform/approvers"), w.Host.CreateTeam("other/approvers")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for team, want := range map[string]bool{"acme": true, "acme/platform/approvers": true, "other/approvers": false, "acme/nothing": false} {
		if got, err := h.Member(t.Context(), team, login); err != nil || got != want {
			t.Errorf("Member(%s) = %v, %v, want %v", team, got, err, want)
		}
	}
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		o    gitlab.Options
		want string
	}{
		"NoToken":         {gitlab.Options{WebhookSecret: "s"}, "token"},
		"NoSecret":        {gitlab.Options{Token: "t"}, "webhook_secret"},
		"HalfASigningKey": {gitlab.Options{Token: "t", WebhookSecret: "whsec_abc"}, "whsec_"},
		"AddressOfTheAPI": {gitlab.Options{URL: "https://gitlab.example.com/api/v4", Token: "t", WebhookSecret: "s"}, "leave /api/v4 away"},
		"NoAddress":       {gitlab.Options{URL: "gitlab.example.com", Token: "t", WebhookSecret: "s"}, "url"},
	} {
		if _, err := gitlab.New(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: New() = %v, want it to name %q", name, err, c.want)
		}
	}
}
