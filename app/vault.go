package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/planlatch/planlatch/blob"
	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/executor"
	"github.com/planlatch/planlatch/runner"
	"github.com/planlatch/planlatch/store"
)

// vault is everything that is encrypted at rest: values in rows, objects in the bucket, and what this machine keeps of executions. It may be
// open beside running servers.
type vault struct {
	work   string // of the machine's runner
	values *store.Sealed
	sealer *blob.Sealer
	blobs  *blob.Store
}

func openVault(ctx context.Context, cfg *config.Config, key wrapping) (v *vault, err error) {
	v = &vault{work: workDir(cfg)}
	defer func() {
		if err != nil {
			err = errors.Join(err, v.close())
		}
	}()
	if v.sealer, err = key.sealer(ctx); err != nil {
		return v, usage(err)
	}
	if v.blobs, err = key.blobs(ctx, cfg); err != nil {
		return v, usage(fmt.Errorf("blobs: %w", err))
	}
	o := store.Options{DSN: cfg.Database.Reveal()}
	if o.DSN == "" {
		o.Dir = cfg.Data
	}
	if v.values, err = store.OpenSealed(ctx, o); err != nil {
		return v, fmt.Errorf("database: %w", err)
	}
	return v, nil
}

func (v *vault) close() error {
	var faults []error
	if v.values != nil {
		faults = append(faults, v.values.Close())
	}
	if v.blobs != nil {
		faults = append(faults, v.blobs.Close())
	}
	if v.sealer != nil {
		faults = append(faults, v.sealer.Close())
	}
	return errors.Join(faults...)
}

// count is how much needs a key. What is kept of an execution counts as a value.
type count struct{ values, objects int }

// census says what needs which key.
type census struct {
	by   map[blob.KeyID]*count
	lost []string // what no known key opens, or is damaged: which and why
}

func (c *census) of(id blob.KeyID) *count {
	if c.by[id] == nil {
		c.by[id] = &count{}
	}
	return c.by[id]
}

// needs says how much needs another key than this one.
func (c *census) needs(current blob.KeyID) (n count) {
	for id, k := range c.by {
		if id != current {
			n.values += k.values
			n.objects += k.objects
		}
	}
	return n
}

// take counts one thing. An error that is not about this one thing ends the census.
func (v *vault) take(c *census, where string, id blob.KeyID, err error) (*count, error) {
	switch {
	case errors.Is(err, blob.ErrKey), errors.Is(err, blob.ErrDamaged):
		c.lost = append(c.lost, fmt.Sprintf("%s: %v", where, err))
		return nil, nil //nolint:nilnil // it is counted as lost
	case err != nil:
		return nil, err
	case !slices.Contains(v.sealer.Keys(), id):
		c.lost = append(c.lost, fmt.Sprintf("%s needs key %s, which is not configured", where, id))
		return nil, nil //nolint:nilnil // it is counted as lost
	}
	return c.of(id), nil
}

// look takes the census. It ends early, without an error, when ctx ends.
func (v *vault) look(ctx context.Context) (*census, error) {
	c := &census{by: map[blob.KeyID]*count{}}
	value := func(where string, sealed []byte) error {
		id, err := v.sealer.Key(ctx, sealed)
		n, err := v.take(c, where, id, err)
		if n != nil {
			n.values++
		}
		return err
	}
	err := runner.Hidden(ctx, v.work, func(name executor.Name, sealed []byte) ([]byte, error) { return nil, value(ofExecution(name), sealed) })
	if err != nil {
		return c, err
	}
	err = v.values.Each(ctx, func(page []store.SealedValue) error {
		for _, s := range page {
			if err := value(s.Where, s.Body); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return c, err
	}
	return c, v.blobs.List(ctx, "", func(o blob.Object) error {
		id, err := v.blobs.Key(ctx, o.Key)
		if errors.Is(err, blob.ErrNotFound) {
			return nil
		}
		n, err := v.take(c, "object "+o.Key, id, err)
		if n != nil {
			n.objects++
		}
		return err
	})
}

// rekey encrypts anew what needs another key than the current one, or, with all, everything. Objects come first and the root key last: a server
// that has the current key alone does not start before all is done. It can be stopped anywhere and begun again. told is called now and then
// with how much is done.
func (v *vault) rekey(ctx context.Context, all bool, told func(count)) (done count, lost []string, err error) {
	c := &census{by: map[blob.KeyID]*count{}}
	current := v.sealer.Current()
	err = v.blobs.List(ctx, "", func(o blob.Object) error {
		id, err := v.blobs.Key(ctx, o.Key)
		if err == nil && (all || id != current) {
			err = v.blobs.Rekey(ctx, o.Key)
		} else if err == nil {
			return nil
		}
		if errors.Is(err, blob.ErrNotFound) {
			return nil
		}
		n, err := v.take(c, "object "+o.Key, current, err)
		if n != nil {
			done.objects++
			told(done)
		}
		return err
	})
	if err != nil {
		return done, c.lost, err
	}
	err = runner.Hidden(ctx, v.work, func(name executor.Name, sealed []byte) ([]byte, error) {
		return v.again(ctx, c, ofExecution(name), sealed, all)
	})
	done.values = c.of(current).values
	if err != nil {
		return done, c.lost, err
	}
	err = v.values.Each(ctx, func(page []store.SealedValue) error {
		n, err := v.rekeyPage(ctx, c, page, all)
		done.values += n
		told(done)
		return err
	})
	if err == nil {
		err = v.values.Forget(ctx)
	}
	return done, c.lost, err
}

func ofExecution(name executor.Name) string {
	return fmt.Sprintf("what execution %s must not show", name)
}

// again encrypts a sealed value anew. It returns nil for what needs it not, and for what cannot be opened, which the census says then.
func (v *vault) again(ctx context.Context, c *census, where string, sealed []byte, all bool) (fresh []byte, err error) {
	id, err := v.sealer.Key(ctx, sealed)
	if err == nil && id == v.sealer.Current() && !all {
		return nil, nil
	}
	if err == nil {
		fresh, err = v.sealer.Rekey(ctx, sealed)
	}
	n, err := v.take(c, where, v.sealer.Current(), err)
	if err != nil || n == nil {
		return nil, err
	}
	n.values++
	return fresh, nil
}

func (v *vault) rekeyPage(ctx context.Context, c *census, page []store.SealedValue, all bool) (int, error) {
	var old []store.SealedValue
	var fresh [][]byte
	for _, value := range page {
		body, err := v.again(ctx, c, value.Where, value.Body, all)
		if err != nil {
			return 0, err
		}
		if body != nil {
			old, fresh = append(old, value), append(fresh, body)
		}
	}
	if len(old) == 0 {
		return 0, nil
	}
	return v.values.Replace(ctx, old, fresh)
}

// resealed puts what this machine keeps of running executions under the current key, before they are followed: they may run for longer than the
// old key is configured. It refuses to go on without the key that one of them needs.
func resealed(ctx context.Context, dir string, sealer *blob.Sealer, exec executor.Executor, log *slog.Logger) error {
	there, err := exec.List(ctx)
	if err != nil {
		return fmt.Errorf("list executions: %w", err)
	}
	var missing error
	err = runner.Hidden(ctx, dir, func(name executor.Name, sealed []byte) ([]byte, error) {
		id, err := sealer.Key(ctx, sealed)
		switch {
		case err != nil || !slices.Contains(there, name):
			return nil, nil //nolint:nilerr // whoever follows it tells; of one that is gone the list goes, too
		case !slices.Contains(sealer.Keys(), id):
			missing = usage(fmt.Errorf("encryption_key: run %s goes on, and the secrets that its log must not show are under key %s. Write that key under "+
				"old_encryption_keys until planlatch keys status says that it is needed no more; without it, remove %s, and the log is not shown",
				name, id, runner.HiddenFile(dir, name)))
			return nil, nil
		case id == sealer.Current():
			return nil, nil
		}
		return sealer.Rekey(ctx, sealed)
	})
	if err != nil && missing == nil { // the key that opens it is here; keys status tells that it is needed
		log.Warn("an old encryption key is still needed for running executions", "error", err)
	}
	return missing
}
