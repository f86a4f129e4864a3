package web_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestAuditPageIsFilteredAndEscaped(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for n := range 120 {
		s.tell("POST", "/api/v1/pauses", fmt.Sprintf(`{"match": "//p%d", "reason": "<script>alert(1)</script> \u202e"}`, n))
	}
	s.tell("DELETE", "/api/v1/pauses?match=//none", "")
	c := s.member()

	p := s.page(c, "/audit")
	rows := texts(p, "<tr")
	if len(rows) != 101 || !strings.Contains(rows[1], "admin resume refused") {
		t.Errorf("%d rows, the first %q; want a head and a page, newest first", len(rows), rows[1])
	}
	if scripts := find(p, "<script"); len(scripts) != 1 || attr(scripts[0], "src") == "" {
		t.Error("the page runs what a reason says")
	}
	if body := s.get(c, "/audit").body; strings.Contains(body, "\u202e") {
		t.Error("the page shows a character that turns text around")
	}
	older := find(p, "<a")
	next := attr(older[len(older)-1], "href")
	if rows := texts(s.page(c, next), "<tr"); len(rows) != 22 {
		t.Errorf("%d rows on the next page %s, want a head and 21", len(rows), next)
	}
	if rows := texts(s.page(c, "/audit?action=resume&outcome=&actor="), "<tr"); len(rows) != 2 {
		t.Errorf("%d rows by action, want a head and one", len(rows))
	}
	if a := s.get(c, "/audit?since=yesterday"); a.status != http.StatusBadRequest || !strings.Contains(a.body, "since is a day") || !strings.Contains(a.body, `value="yesterday"`) {
		t.Errorf("GET with a bad day = %d, want 400 with the form as it was", a.status)
	}
	if a := s.get(s.browser(), "/audit"); a.status != http.StatusSeeOther {
		t.Errorf("GET without a login = %d, want the login page", a.status)
	}
}
