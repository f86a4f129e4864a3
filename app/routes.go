package app

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/planlatch/planlatch/disk"
	"github.com/planlatch/planlatch/vcs"
	"github.com/planlatch/planlatch/views"
	"github.com/planlatch/planlatch/web"
	"github.com/planlatch/planlatch/webhook"
)

// routes builds the one handler: webhooks, health, metrics and pages.
func (s *Server) routes(o ServerOptions, hosts map[string]vcs.Host, viewer *views.Viewer, k keys) error {
	cfg := s.cfg
	registry := prometheus.NewRegistry()
	deliveries := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "planlatch_deliveries_total", Help: "Webhook deliveries by host and outcome.",
	}, []string{"host", "outcome", "reason"})
	registry.MustRegister(deliveries, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &stats{s})
	events := map[string]vcs.Events{}
	for name, host := range hosts {
		events[name] = host
	}
	taking := webhook.Options{
		Hosts: events, Store: s.store, Repos: cfg.Allows, Log: s.log,
		Count: func(host string, o webhook.Outcome, reason string) {
			deliveries.WithLabelValues(host, string(o), reason).Inc()
		},
	}
	if o.Door != nil {
		o.Door(&taking)
	}
	door := webhook.New(taking)
	pages, err := web.New(web.Options{
		Store: s.store, Views: viewer, Facts: viewer.Facts, AdminToken: s.admin.is, Login: string(s.admin), Key: k.web, URL: cfg.URL, Version: Version, Log: s.log, Now: time.Now,
		LinksLogin: func(host, repo string) bool { return cfg.Rules(host, repo).Links == "login" },
		Hosts:      slices.Sorted(maps.Keys(hosts)),
		PushState:  s.runner.PushState,
		Unsaved:    s.unsaved,
		Ignored:    func() []web.Ignored { return ignored(door) },
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/webhooks/{name}", door)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", s.ready)
	if cfg.Telemetry.Metrics {
		mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: scrapes}))
	}
	mux.Handle("/", pages)
	s.handler, s.pages = web.Prompt(mux, bodyPatience), pages
	return nil
}

const (
	bodyPatience = 10 * time.Second // for a body to arrive
	scrapes      = 4                // at once, since each counts rows and needs no login
)

// ready says whether the server can take and do work: it is not stopping and its database answers.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	if s.stopped.Load() {
		answer(w, http.StatusServiceUnavailable, "stopping: nothing starts here any more")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := s.store.Ping(ctx); err != nil {
		s.log.Warn("not ready", "error", err)
		answer(w, http.StatusServiceUnavailable, "database does not answer")
		return
	}
	answer(w, http.StatusOK, "ready")
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text + "\n")) // best effort: the client may be gone
}

// stats reads the queue's numbers when they are asked for.
type stats struct{ s *Server }

var gauge = prometheus.NewDesc("planlatch_rows", "Runs by state, and postings that are due or dead.", []string{"what"}, nil)

var (
	diskBytes = prometheus.NewDesc("planlatch_disk_bytes", "What each part of the data directory takes, measured once an hour.", []string{"part"}, nil)
	diskFree  = prometheus.NewDesc("planlatch_disk_free_bytes", "What is left on the file system of the data directory.", nil, nil)
	diskShort = prometheus.NewDesc("planlatch_disk_short", "1 while no run starts on this node because less than disk.free is left.", nil, nil)
)

func (c *stats) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{gauge, diskBytes, diskFree, diskShort} {
		out <- d
	}
}

// disk tells what is there without touching much of it.
func (c *stats) disk(out chan<- prometheus.Metric) {
	for part, bytes := range c.s.caretaker.sizes() {
		out <- prometheus.MustNewConstMetric(diskBytes, prometheus.GaugeValue, float64(bytes), part)
	}
	if space, err := disk.Of(c.s.cfg.Data); err == nil {
		out <- prometheus.MustNewConstMetric(diskFree, prometheus.GaugeValue, float64(space.Free))
	}
	short := 0.0
	if c.s.caretaker.room() != "" {
		short = 1
	}
	out <- prometheus.MustNewConstMetric(diskShort, prometheus.GaugeValue, short)
}

func (c *stats) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second) // a scrape has no context of ours
	defer cancel()
	c.disk(out)
	rows, err := c.s.store.Stats(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(gauge, err)
		return
	}
	for what, n := range rows {
		out <- prometheus.MustNewConstMetric(gauge, prometheus.GaugeValue, float64(n), what)
	}
}

// ignored lists what the door let pass without work, for the page that answers "why did it not run?".
func ignored(door *webhook.Door) []web.Ignored {
	var out []web.Ignored
	for _, c := range door.Recent() {
		out = append(out, web.Ignored{At: c.At, Host: c.Host, ID: c.Delivery, Event: c.Repo, Reason: c.Reason})
	}
	return out
}
