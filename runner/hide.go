package runner

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/planlatch/planlatch/redact"
	"github.com/planlatch/planlatch/run"
)

// What is secret becomes known in steps: the server's and the grant's secrets before a plan begins, what the plan marks once it is made. A log is
// stored, and followed by people, before that. So a plan's log is held to what the last plan of its project marked, too, and is cleaned again
// once its own plan can be read.

// remembered lists what the last plan of a run's project marks as sensitive. Best effort: the tool itself withholds these values, and only
// what a provider says of them is to be caught.
func (r *Runner) remembered(ctx context.Context, of run.Run) []string {
	before, err := r.Store.Runs(ctx, run.Filter{Project: of.Project, Limit: 10})
	if err != nil {
		return nil
	}
	for _, b := range before {
		if b.ID == of.ID || b.Blobs[blobPlanJSON] == "" || !b.PlanGone.IsZero() {
			continue
		}
		planJSON, err := r.Blobs.Get(ctx, b.Blobs[blobPlanJSON])
		if err != nil {
			return nil
		}
		sensitive, _ := redact.Sensitive(planJSON) // nothing, if it cannot be read
		return sensitive
	}
	return nil
}

// liveSet is what holds back secrets in a log that people follow while it is written. The server's own are none that a run has, and when text goes
// must tell its author nothing of them.
func (r *Runner) liveSet(secrets []string) *redact.Set {
	own := slices.DeleteFunc(slices.Clone(secrets), func(s string) bool { return slices.Contains(r.o.Secrets, s) })
	return redact.CompileFor(own, r.o.Secrets)
}

// hideLate takes what a plan marks as sensitive out of the log that was stored before the plan could be read, and returns the log.
func (r *Runner) hideLate(ctx context.Context, p phase, log string, planJSON []byte) (string, error) {
	sensitive, err := redact.Sensitive(planJSON)
	if err != nil {
		return log, nil //nolint:nilerr // reading the plan says so, and refuses it
	}
	set := redact.Compile(sensitive)
	clean := set.String(log)
	if clean == log {
		return log, nil
	}
	err = r.Store.RewriteLog(ctx, p.run.ID, p.name, func(chunks [][]byte) ([][]byte, error) {
		var text bytes.Buffer
		w := set.Writer(&text)
		for i, chunk := range chunks {
			if _, err := w.Write(chunk); err != nil {
				return nil, err
			}
			if i == len(chunks)-1 {
				if err := w.Close(); err != nil {
					return nil, err
				}
			}
			chunks[i] = bytes.Clone(text.Bytes())
			text.Reset()
		}
		return chunks, nil
	})
	if err != nil {
		return log, fmt.Errorf("clean the log of secrets of the plan: %w", err)
	}
	return clean, nil
}

// veilEnding takes secrets out of what is told of how an execution ended: it becomes the reason of its run, which rows, comments and the audit log
// say. Only what a shim says of a tool that ended by itself needs it not.
func (r *Runner) veilEnding(ctx context.Context, p phase, e *ending) {
	if e.failed == "" && e.result.Reason == "" {
		return
	}
	secrets := r.o.Secrets
	if e.stopped == nil { // else no credential is asked for
		if all, err := r.withheld(ctx, p); err == nil { // why it cannot be told may be why it failed
			secrets = all
		}
	}
	set := redact.Compile(secrets)
	e.failed, e.result.Reason = set.String(e.failed), set.String(e.result.Reason)
}

// veilRefusal takes secrets out of why a plan was refused, which may quote it.
func veilRefusal(hidden []string, planJSON []byte, text string) string {
	veil, err := veilOf(hidden, planJSON)
	if err != nil {
		veil = redact.String(hidden) // then it tells of broken JSON, not of a value
	}
	return veil(text)
}

// veilOf returns what takes what a phase hides and what a plan marks out of a text.
func veilOf(hidden []string, planJSON []byte) (func(string) string, error) {
	sensitive, err := redact.Sensitive(planJSON)
	if err != nil {
		return nil, err
	}
	return redact.String(slices.Concat(hidden, sensitive)), nil
}

// veiled takes secrets out of findings, whose messages policy makes of the raw plan. A value with a secret in it is replaced by a keyed hash,
// so that an override still binds to it.
func (r *Runner) veiled(findings []run.Finding, veil func(string) string) []run.Finding {
	out := make([]run.Finding, len(findings))
	for i, f := range findings {
		f.Rule, f.Resource, f.Message, f.Fix = veil(f.Rule), veil(f.Resource), veil(f.Message), veil(f.Fix)
		if veil(f.Value) != f.Value {
			h := hmac.New(sha256.New, r.o.EffectKey)
			h.Write([]byte("finding\x00" + f.Value))
			f.Value = "hmac:" + hex.EncodeToString(h.Sum(nil))
		}
		out[i] = f
	}
	return out
}
