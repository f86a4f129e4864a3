package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/planlatch/planlatch/blob"
	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/store"
)

// vault is everything that is encrypted at rest: values in rows and objects in the bucket. It may be open beside running servers.
type vault struct {
	values *store.Sealed
	sealer *blob.Sealer
	blobs  *blob.Store
}

func openVault(ctx context.Context, cfg *config.Config, key wrapping) (v *vault, err error) {
	v = &vault{}
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

// count is how much needs a key.
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
	err := v.values.Each(ctx, func(page []store.SealedValue) error {
		for _, value := range page {
			id, err := v.sealer.Key(ctx, value.Body)
			n, err := v.take(c, value.Where, id, err)
			if err != nil {
				return err
			}
			if n != nil {
				n.values++
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
	err = v.values.Each(ctx, func(page []store.SealedValue) error {
		n, err := v.rekeyPage(ctx, c, page, all)
		done.values += n
		told(done)
		return err
	})
	return done, c.lost, err
}

func (v *vault) rekeyPage(ctx context.Context, c *census, page []store.SealedValue, all bool) (int, error) {
	var old []store.SealedValue
	var fresh [][]byte
	for _, value := range page {
		id, err := v.sealer.Key(ctx, value.Body)
		if err == nil && id == v.sealer.Current() && !all {
			continue
		}
		var body []byte
		if err == nil {
			body, err = v.sealer.Rekey(ctx, value.Body)
		}
		n, err := v.take(c, value.Where, v.sealer.Current(), err)
		if err != nil {
			return 0, err
		}
		if n != nil {
			old, fresh = append(old, value), append(fresh, body)
		}
	}
	if len(old) == 0 {
		return 0, nil
	}
	return v.values.Replace(ctx, old, fresh)
}
