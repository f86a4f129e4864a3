package web_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planlatch/planlatch/report"
	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/views"
	"github.com/planlatch/planlatch/web"
)

// counted counts how often a view is made, which is how often a VCS host is asked.
type counted struct {
	*views.Viewer
	asked *atomic.Int32
}

func (c counted) Run(ctx context.Context, id run.ID) (report.View, error) {
	c.asked.Add(1)
	return c.Viewer.Run(ctx, id)
}

func TestReloadingAPageDoesNotAskTheHostAgain(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	s := setup(t, func(o *web.Options) {
		v, _ := o.Views.(*views.Viewer)
		o.Views = counted{v, &asked}
	})
	r := s.queued(seed{})
	c := s.member()
	for range 20 {
		s.page(c, "/runs/"+string(r.ID))
	}
	if got := asked.Load(); got != 1 {
		t.Errorf("20 pages asked %d times, want once", got)
	}
	s.pass(11 * time.Second)
	s.page(c, "/runs/"+string(r.ID))
	if got := asked.Load(); got != 2 {
		t.Errorf("a page 11 s later: asked %d times, want twice", got)
	}
	r = s.advance(r, claim(run.Owner{Node: nodeName, Deadline: time.Now().Add(time.Hour)}))
	if got := find(s.page(c, "/runs/"+string(r.ID)), "big"); text(got[0]) != "planning" || asked.Load() != 3 {
		t.Errorf("after the run moved: %s, asked %d times, want planning and 3", text(got[0]), asked.Load())
	}
}

// rows is a store with one run; what it does not have panics.
type rows struct {
	run.Store
	run run.Run
}

func (s rows) Run(context.Context, run.ID) (run.Run, error) { return s.run, nil }
func (s rows) Repo(context.Context, run.RepoID) (run.Repo, error) {
	return run.Repo{Name: "acme/infra"}, nil
}
func (s rows) Findings(context.Context, ...run.ID) (map[run.ID][]run.Finding, error) {
	return map[run.ID][]run.Finding{s.run.ID: {soft()}}, nil
}
func (s rows) LogOffset(context.Context, run.ID, string) (int64, error) { return 0, nil }
func (s rows) Log(context.Context, run.ID, string, int64) ([]byte, int64, error) {
	return nil, 0, nil
}

// silent is a viewer whose VCS host never answers.
type silent struct{}

func (silent) Run(ctx context.Context, _ run.ID) (report.View, error) {
	<-ctx.Done()
	return report.View{}, ctx.Err()
}

func (silent) Read(context.Context, run.Run, string) (views.Kept, error) {
	return views.Kept{Plan: replaced()}, nil
}

func TestAHostThatDoesNotAnswerHidesOnlyTheGates(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		r := run.Run{ID: "01RUN", Repo: 1, Label: "net", State: run.Planned, Created: now, Started: now, Planned: now, PolicyDigest: "p"}
		h, err := web.New(web.Options{
			Store: rows{run: r}, Views: silent{}, Key: key(), URL: "http://x.example", AdminToken: func(string) bool { return true },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer synctest.Wait()
		defer h.Close()
		w := serve(t, h, web.NewLinker(key(), "", nil).Run(run.Repo{}, "01RUN", false))
		for _, want := range []string{"The VCS host does not answer", "aws_db_instance.main", "stateful-replace"} {
			if !strings.Contains(w, want) {
				t.Errorf("the page lacks %q:\n%s", want, w)
			}
		}
		if strings.Contains(w, "Before it can apply") {
			t.Error("the page shows gates that nobody judged")
		}
		if took := time.Since(now); took > 10*time.Second {
			t.Errorf("the page took %v", took)
		}
	})
}
