// Package slack tells a Slack channel: with a bot token one message per pull request that is edited in place, details in its thread; with
// an incoming webhook one message per event.
//
// It promises that nothing a pull request says links, mentions anybody or formats; that a message fits Slack's limits, cut at whole lines;
// and that neither the token nor the address of a webhook is in any error. It keeps no state: pace and retries are the caller's. Both
// sinks are safe for concurrent use.
package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/planlatch/planlatch/notify"
	"github.com/planlatch/planlatch/vcs"
)

// Pace is between two messages: Slack takes about one a second in a channel.
const Pace = time.Second

// limit is how long one call may take.
const limit = 15 * time.Second

// Bot speaks with a bot token.
type Bot struct {
	api     *slack.Client
	channel string
}

var (
	_ notify.Sink    = (*Bot)(nil)
	_ notify.Checker = (*Bot)(nil)
	_ notify.Sink    = (*Webhook)(nil)
)

// NewBot returns a sink for a channel, named or by id. apiURL is for servers that speak Slack's Web API elsewhere; empty: Slack.
func NewBot(token, channel, apiURL string) *Bot {
	options := []slack.Option{slack.OptionHTTPClient(notify.Client(limit))}
	if apiURL != "" {
		options = append(options, slack.OptionAPIURL(strings.TrimRight(apiURL, "/")+"/"))
	}
	return &Bot{api: slack.New(token, options...), channel: channel}
}

// Send posts m, or edits the message named by external, which is "<channel id>:<time stamp>".
func (b *Bot) Send(ctx context.Context, m notify.Message, external string) (string, error) {
	blocks, text := render(m.Card)
	options := []slack.MsgOption{
		slack.MsgOptionBlocks(blocks...), slack.MsgOptionText(text, false), slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl(),
		slack.MsgOptionParse(false),
	}
	if channel, ts, ok := strings.Cut(external, ":"); ok {
		_, _, _, err := b.api.UpdateMessageContext(ctx, channel, ts, options...)
		if err == nil || !gone(err) {
			return external, judge(err)
		}
	}
	channel := b.channel
	if in, ts, ok := strings.Cut(m.Thread, ":"); ok {
		channel = in
		options = append(options, slack.MsgOptionTS(ts))
		if m.Loud {
			options = append(options, slack.MsgOptionBroadcast())
		}
	}
	channel, ts, err := b.api.PostMessageContext(ctx, channel, options...)
	if err != nil {
		return "", judge(err)
	}
	return channel + ":" + ts, nil
}

// gone says whether a message cannot be edited any more, by anybody.
func gone(err error) bool {
	var answer slack.SlackErrorResponse
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.Err {
	case "message_not_found", "cant_update_message", "edit_window_closed", "channel_not_found", "is_inactive":
		return true
	}
	return false
}

// hints say what to do about an answer.
var hints = map[string]string{
	"channel_not_found":       "check channel:, and invite the app if it is private",
	"not_in_channel":          "invite the app to the channel: /invite @its-name",
	"is_archived":             "the channel is archived",
	"invalid_auth":            "check token:",
	"not_authed":              "check token:",
	"account_inactive":        "the app was removed from the workspace",
	"token_revoked":           "make a new token and set token:",
	"token_expired":           "make a new token and set token:",
	"missing_scope":           "give the app the scope chat:write and install it again",
	"restricted_action":       "the workspace lets only some members post here",
	"messages_tab_disabled":   "the app may not write here",
	"no_permission":           "the app may not write here",
	"team_access_not_granted": "the app is not installed in this workspace",
}

// judge makes an error of Slack's one of ours. Slack answers most refusals with 200 and a word.
func judge(err error) error {
	if err == nil {
		return nil
	}
	if limited, ok := errors.AsType[*slack.RateLimitedError](err); ok {
		return &vcs.RetryError{After: limited.RetryAfter, Err: errors.New("asked to go slower")}
	}
	if status, ok := errors.AsType[slack.StatusCodeError](err); ok {
		return notify.Answer(&http.Response{StatusCode: status.Code, Status: status.Status, Header: http.Header{}}, "")
	}
	var answer slack.SlackErrorResponse
	if !errors.As(err, &answer) {
		return &vcs.RetryError{Err: notify.Hide(err)}
	}
	text := "Slack says " + answer.Err
	if hint := hints[answer.Err]; hint != "" {
		text += ": " + hint
	}
	switch answer.Err {
	case "ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org":
		return &vcs.RetryError{Err: errors.New(text)}
	case "msg_too_long", "msg_blocks_too_long", "invalid_blocks", "invalid_blocks_format", "no_text", "invalid_arguments", "too_many_attachments":
		return fmt.Errorf("%w: %s %s", notify.ErrRefused, text, strings.Join(answer.ResponseMetadata.Messages, "; "))
	}
	return errors.New(text)
}

// Check asks who we are and whether we are in the channel.
func (b *Bot) Check(ctx context.Context) (string, error) {
	self, err := b.api.AuthTestContext(ctx)
	if err != nil {
		return "", judge(err)
	}
	who := fmt.Sprintf("speaks as %s in %s", self.User, self.Team)
	in, err := b.member(ctx)
	var answer slack.SlackErrorResponse
	switch {
	case errors.As(err, &answer) && answer.Err == "missing_scope":
		return who + "; whether it is in " + b.channel + " is not known without the scope channels:read (groups:read for a private channel)", nil
	case err != nil:
		return "", judge(err)
	case !in:
		return "", fmt.Errorf("%s, but is not in %s: /invite @%s there", who, b.channel, self.User)
	}
	return who + ", in " + b.channel, nil
}

// member looks for the channel among those that we are in.
func (b *Bot) member(ctx context.Context) (bool, error) {
	want := strings.TrimPrefix(b.channel, "#")
	p := slack.GetConversationsForUserParameters{Types: []string{"public_channel", "private_channel"}, Limit: 200, ExcludeArchived: true}
	for range 50 { // ten thousand channels
		channels, next, err := b.api.GetConversationsForUserContext(ctx, &p)
		if err != nil {
			return false, err
		}
		for _, c := range channels {
			if c.ID == want || strings.EqualFold(c.Name, want) {
				return true, nil
			}
		}
		if next == "" {
			break
		}
		p.Cursor = next
	}
	return false, nil
}

// Webhook speaks through an incoming webhook, whose messages cannot be edited or replied to.
type Webhook struct {
	url    string
	client *http.Client
}

// NewWebhook returns a sink for an incoming webhook.
func NewWebhook(url string) *Webhook { return &Webhook{url, notify.Client(limit)} }

// Send posts m.
func (w *Webhook) Send(ctx context.Context, m notify.Message, _ string) (string, error) {
	blocks, text := render(m.Card)
	off := false
	body := slack.WebhookMessage{Text: text, Blocks: &slack.Blocks{BlockSet: blocks}, Parse: "none", UnfurlLinks: &off, UnfurlMedia: &off}
	raw, err := json.Marshal(body)
	if err != nil {
		return "", fmt.Errorf("encode the message: %w", err)
	}
	err = notify.Post(ctx, w.client, w.url, raw, nil)
	var status *notify.StatusError
	if errors.As(err, &status) && webhookHints[status.Said] != "" {
		return "", fmt.Errorf("%w: %s", err, webhookHints[status.Said])
	}
	return "", err
}

var webhookHints = map[string]string{
	"no_service":          "the webhook was removed; make a new one and set url:",
	"no_active_hooks":     "the webhook was switched off; make a new one and set url:",
	"no_team":             "the workspace is gone",
	"invalid_token":       "check url:",
	"channel_not_found":   "the channel is gone",
	"channel_is_archived": "the channel is archived",
	"action_prohibited":   "the workspace does not let it post here",
}
