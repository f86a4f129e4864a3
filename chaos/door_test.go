package chaos_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

// door stands between the host and the servers like a careless network: it delivers every webhook once to thrice, out of order, each copy to
// whichever server is at hand. What no server takes is lost, as on GitHub, which does not try again.
type door struct {
	servers []*server
	copies  int // at most, of one webhook

	mu    sync.Mutex
	sent  int                 // webhooks and their copies
	lost  int                 // webhooks of which no copy was taken
	taken map[string][]string // delivery → what the servers answered with 2xx
	under int                 // webhooks on their way
	quiet sync.Cond           // there are none
	next  int
}

func newDoor(servers []*server, copies int) *door {
	d := &door{servers: servers, copies: copies}
	d.quiet.L = &d.mu
	return d
}

// wait waits until no webhook is on its way. New ones may come while somebody waits.
func (d *door) wait() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.under > 0 {
		d.quiet.Wait()
	}
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	header := r.Header.Clone()
	d.mu.Lock()
	d.under++
	d.mu.Unlock()
	go d.deliver(header, body)
	w.WriteHeader(http.StatusAccepted)
}

func (d *door) deliver(header http.Header, body []byte) {
	id := header.Get("X-GitHub-Delivery")
	ok := false
	for range 1 + rand.IntN(d.copies) {
		time.Sleep(time.Duration(rand.IntN(1500)) * time.Millisecond) //nolint:forbidigo // a slow network is the point
		if d.post(id, header, body) {
			ok = true
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !ok {
		d.lost++
	}
	d.under--
	d.quiet.Broadcast()
}

// post tries each server once, beginning with the next in turn.
func (d *door) post(id string, header http.Header, body []byte) bool {
	d.mu.Lock()
	d.sent++
	d.next++
	turn := d.next
	d.mu.Unlock()
	for n := range d.servers {
		to := d.servers[(turn+n)%len(d.servers)]
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.URL+"/webhooks/github", bytes.NewReader(body))
		if err != nil {
			cancel()
			return false
		}
		req.Header = header.Clone()
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			cancel()
			continue
		}
		said, _ := io.ReadAll(res.Body)
		res.Body.Close()
		cancel()
		if res.StatusCode/100 != 2 {
			continue
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.taken == nil {
			d.taken = map[string][]string{}
		}
		d.taken[id] = append(d.taken[id], string(said))
		return true
	}
	return false
}

// acknowledged lists the deliveries that some server took.
func (d *door) acknowledged() []string {
	d.wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	var ids []string
	for id := range d.taken {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
