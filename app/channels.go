package app

import (
	"context"
	"fmt"
	"slices"

	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/notify"
	"github.com/planlatch/planlatch/notify/hook"
	"github.com/planlatch/planlatch/notify/slack"
	"github.com/planlatch/planlatch/notify/teams"
	"github.com/planlatch/planlatch/report"
)

// openChannels builds the sink of each configured channel. It asks no network.
func openChannels(cfg *config.Config) []notify.Channel {
	var all []notify.Channel
	for _, n := range cfg.Notify {
		c := notify.Channel{Name: n.Name, Wants: n.Projects.Match}
		for _, e := range n.Events {
			if !slices.Contains(laterEvents, e) {
				c.Events = append(c.Events, report.Event(e))
			}
		}
		switch {
		case n.Kind == "slack" && !n.Token.IsZero():
			c.Sink, c.Edits, c.Pace = slack.NewBot(n.Token.Reveal(), n.Channel, n.APIURL), true, slack.Pace
		case n.Kind == "slack":
			c.Sink, c.Pace = slack.NewWebhook(n.URL.Reveal()), slack.Pace
		case n.Kind == "teams":
			c.Sink, c.Pace = teams.New(n.URL.Reveal()), teams.Pace
		default:
			c.Sink, c.Every = hook.New(n.URL.Reveal(), n.Secret.Reveal()), true
		}
		all = append(all, c)
	}
	return all
}

// laterEvents are part of the contract and never happen in this version.
var laterEvents = []string{"hook_down", "drift"}

// chat checks every channel as far as that is possible without writing to it.
func (d *doctor) chat(ctx context.Context, cfg *config.Config) {
	for i, c := range openChannels(cfg) {
		n := cfg.Notify[i]
		name := "notify " + c.Name
		if n.Kind == "webhook" && n.Secret.IsZero() {
			d.warn(name, "nothing is signed, so the receiver cannot tell us from others", "give secret: and check "+hook.HeaderSignature+" there, see docs/notify.md")
		}
		checker, ok := c.Sink.(notify.Checker)
		if !ok {
			d.good(name, "not tried: this cannot be checked without a message")
			continue
		}
		found, err := checker.Check(ctx)
		if err != nil {
			d.bad(name, err, "see docs/notify.md")
			continue
		}
		d.good(name, "%s", found)
	}
}

// eventsWithoutEffect names the events that somebody asked for by name and that never happen in this version.
func eventsWithoutEffect(cfg *config.Config) []string {
	var out []string
	for _, n := range cfg.Notify {
		if slices.Contains(n.Events, laterEvents[0]) && slices.Contains(n.Events, laterEvents[1]) {
			continue // all, which is also what is meant when nothing is written
		}
		for _, e := range laterEvents {
			if slices.Contains(n.Events, e) {
				out = append(out, fmt.Sprintf("notify %s: the event %s", n.Name, e))
			}
		}
	}
	return out
}
