package app

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/wire"
)

// clockOff is how far the clocks of a host and of this machine may be apart before doctor tells.
const clockOff = 2 * time.Second

// clock warns of a host whose clock is not ours: what a commenter could see is judged by when we posted it and when the host says they wrote.
func (d *doctor) clock(ctx context.Context, host config.Host) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, cmp.Or(host.APIURL, host.URL), nil)
	if err != nil {
		return // the host's own lines tell
	}
	before := time.Now()
	res, err := wire.Pool().RoundTrip(req)
	if err != nil {
		return // as above
	}
	after := time.Now()
	_ = res.Body.Close()
	date, err := http.ParseTime(res.Header.Get("Date"))
	if err != nil || res.Header.Get("Age") != "" { // it tells no time, or that of a copy
		return
	}
	off, text := apart(before, after, date), "ahead of"
	if off < 0 {
		off, text = -off, "behind"
	}
	if off > clockOff {
		d.warn("vcs "+host.Name, fmt.Sprintf("its clock is %s %s ours: which report somebody could see is told by both", off.Round(time.Second), text),
			"let both follow a time server")
	}
}

// apart is how far a clock that showed a whole second is at least ahead of ours, or behind it if negative, when it was read at some moment between two of ours.
func apart(before, after, second time.Time) time.Duration {
	switch end := second.Add(time.Second); {
	case second.After(after):
		return second.Sub(after)
	case end.Before(before):
		return -before.Sub(end)
	}
	return 0
}
