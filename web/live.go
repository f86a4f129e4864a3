package web

import (
	"net/http"

	"github.com/planlatch/planlatch/run"
)

type streams struct{}

func newStreams() *streams { return &streams{} }

func (h *Handler) logLive(w http.ResponseWriter, r *http.Request) error    { return run.ErrNotFound }
func (h *Handler) logText(w http.ResponseWriter, r *http.Request) error    { return run.ErrNotFound }
func (h *Handler) home(w http.ResponseWriter, r *http.Request) error       { return run.ErrNotFound }
func (h *Handler) runPage(w http.ResponseWriter, r *http.Request) error    { return run.ErrNotFound }
func (h *Handler) apiRuns(w http.ResponseWriter, r *http.Request) error    { return run.ErrNotFound }
func (h *Handler) apiRun(w http.ResponseWriter, r *http.Request) error     { return run.ErrNotFound }
func (h *Handler) apiQueue(w http.ResponseWriter, r *http.Request) error   { return run.ErrNotFound }
func (h *Handler) apiLocks(w http.ResponseWriter, r *http.Request) error   { return run.ErrNotFound }
func (h *Handler) apiAudit(w http.ResponseWriter, r *http.Request) error   { return run.ErrNotFound }
func (h *Handler) apiIgnored(w http.ResponseWriter, r *http.Request) error { return run.ErrNotFound }
