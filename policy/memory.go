package policy

import (
	"context"
	"fmt"
	"runtime/metrics"
	"time"
)

// withMemoryLimit returns a context that ends when the process has grown by more than limit bytes since. OPA has no bound of its own, and
// a rule that collects without end fills any machine long before its time is over. What the rest of the process allocates meanwhile
// counts as well: the limit is a guard against ruin, not a measure, and its error is on the safe side. The returned function stops the
// watch and waits for its end.
func withMemoryLimit(parent context.Context, limit int64) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	start := heap()
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if heap()-start > limit {
					cancel(fmt.Errorf("it used more than %d MiB of memory", limit>>20))
					return
				}
			}
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-done
	}
}

// heap is the memory of live objects and of those not yet collected, in bytes.
func heap() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64()) //nolint:gosec // far below 2^63
}
