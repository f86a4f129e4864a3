// Package hook tells a program: every event is one signed POST. docs/notify.md documents body and headers.
//
// It promises that the signature is over the very bytes that are sent, that every try of a delivery has one id, and that neither secret nor
// address is in any error. A Hook is safe for concurrent use.
package hook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/planlatch/planlatch/notify"
	"github.com/planlatch/planlatch/report"
)

// The headers of a delivery.
const (
	HeaderEvent     = "X-Planlatch-Event"
	HeaderDelivery  = "X-Planlatch-Delivery"
	HeaderSignature = "X-Planlatch-Signature-256"
)

const limit = 15 * time.Second

// Hook is one receiver.
type Hook struct {
	url    string
	secret []byte
	client *http.Client
}

var _ notify.Sink = (*Hook)(nil)

// New returns a sink for a URL. Without a secret nothing is signed.
func New(url, secret string) *Hook {
	return &Hook{url: url, secret: []byte(secret), client: notify.Client(limit)}
}

// body is what is sent.
type body struct {
	Version  int    `json:"version"`
	Delivery string `json:"delivery"`
	report.News
}

// Send posts m.
func (h *Hook) Send(ctx context.Context, m notify.Message, _ string) (string, error) {
	raw, err := json.Marshal(body{1, m.ID, m.News})
	if err != nil {
		return "", fmt.Errorf("encode the event: %w", err)
	}
	header := http.Header{HeaderEvent: {string(m.News.Event)}, HeaderDelivery: {m.ID}}
	if len(h.secret) > 0 {
		header.Set(HeaderSignature, Sign(h.secret, raw))
	}
	return "", notify.Post(ctx, h.client, h.url, raw, header)
}

// Sign is the value of HeaderSignature for a body.
func Sign(secret, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}
