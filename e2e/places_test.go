package e2e_test

import (
	"testing"

	"github.com/planlatch/planlatch/testkit/gitea"
	"github.com/planlatch/planlatch/testkit/github"
	"github.com/planlatch/planlatch/testkit/gitlab"
	"github.com/planlatch/planlatch/testkit/postgres"
	"github.com/planlatch/planlatch/vcs/vcstest"
)

// place is where a story happens. The zero value is for stories that every place would tell alike: the quickest host, and a server on SQLite.
type place struct {
	host
	engine
}

// host is a VCS host to run a story on; a new one joins by its line here.
type host struct {
	kind  string
	world func(t *testing.T) vcstest.World
}

var hosts = []host{
	{"gitea", func(t *testing.T) vcstest.World { return gitea.NewWorld(t) }},
	{"github", func(t *testing.T) vcstest.World { return github.NewWorld(t) }},
	{"gitlab", func(t *testing.T) vcstest.World { return gitlab.NewWorld(t) }},
}

// engine is a database to run a story on.
type engine struct {
	database string
	dsn      func(t *testing.T) string
}

var engines = []engine{
	{"sqlite", func(*testing.T) string { return "" }},
	{"postgres", func(t *testing.T) string { return postgres.New(t, postgres.Options{}) }},
}

func (p place) start(t *testing.T) (world vcstest.World, dsn string) {
	t.Helper()
	h, e := p.host, p.engine
	if h.world == nil {
		h = hosts[1] // each push to the real one costs as much as a plan
	}
	if e.dsn == nil {
		e = engines[0]
	}
	return h.world(t), e.dsn(t)
}

// Where stories happen. Gitea comes first: it is the real one, and slower than the others.
var (
	everywhere = places(hosts, engines)
	eachHost   = places(hosts, engines[:1])                                                 // what hosts may tell differently
	eachEngine = append(places(hosts[:1], engines[:1]), places(hosts[1:2], engines[1:])...) // what is decided in a transaction
	eachOnce   = append(places(hosts, engines[:1]), places(hosts[1:2], engines[1:])...)     // both
)

func places(hosts []host, engines []engine) (all []place) {
	for _, h := range hosts {
		for _, e := range engines {
			all = append(all, place{host: h, engine: e})
		}
	}
	return all
}

// onEach runs a story in these places side by side.
func onEach(t *testing.T, places []place, story func(t *testing.T, at place)) {
	t.Helper()
	for _, at := range places {
		t.Run(at.kind+"/"+at.database, func(t *testing.T) {
			t.Parallel()
			story(t, at)
		})
	}
}
