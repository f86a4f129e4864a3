package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"strconv"
	"syscall"
	"time"

	"github.com/planlatch/planlatch/blob"
	"github.com/planlatch/planlatch/config"
	"github.com/planlatch/planlatch/disk"
)

type keysCmd struct {
	Status keysStatusCmd `cmd:"" help:"Say how much of what is stored needs which key, and which old key is needed no more."`
	Rotate keysRotateCmd `cmd:"" help:"Encrypt anew what is stored under an old key, beside running servers."`
}

type keysStatusCmd struct {
	Config string `required:"" type:"path" help:"Path of server.yaml." placeholder:"server.yaml"`
}

// Run counts. It exits with 1 while an old key is needed, or something can be opened with none.
func (c *keysStatusCmd) Run(ctx context.Context, t *terminal) (err error) {
	cfg, err := config.Load(c.Config, t.lookup)
	if err != nil {
		return usage(err)
	}
	t.withhold(cfg)
	key, err := wrappingOf(cfg)
	if err != nil {
		return usage(err)
	}
	v, err := openVault(ctx, cfg, key)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	seen, err := v.look(ctx)
	if err != nil {
		return err
	}
	t.census(v.sealer.Keys(), seen)
	switch rest := seen.needs(v.sealer.Current()); {
	case len(seen.lost) > 0:
		return t.lost(seen.lost)
	case rest != count{}:
		return &coded{exitNo, fmt.Errorf("%s need an old key; run: planlatch keys rotate --config %s", rest, c.Config)}
	}
	return nil
}

func (n count) String() string { return fmt.Sprintf("%d values and %d objects", n.values, n.objects) }

// census prints how much needs each key.
func (t *terminal) census(keys []blob.KeyID, seen *census) {
	rows := make([][]string, len(keys))
	for i, id := range keys {
		n, what := seen.of(id), "current"
		switch {
		case i > 0 && *n == count{}:
			what = "needed no more, but for backups"
		case i > 0:
			what = "old, still needed"
		}
		rows[i] = []string{id.String(), fmt.Sprint(n.values), fmt.Sprint(n.objects), what}
	}
	t.table("KEY\tVALUES\tOBJECTS\t", rows)
}

// lost says what cannot be opened.
func (t *terminal) lost(lost []string) error {
	for i, text := range lost {
		if i == 10 {
			fmt.Fprintf(t.err, "… and %d more\n", len(lost)-i)
			break
		}
		fmt.Fprintln(t.err, text)
	}
	return &coded{exitNo, fmt.Errorf("%d values or objects can be opened with no configured key; "+
		"write the key that is missing under old_encryption_keys, or restore a backup of what is damaged", len(lost))}
}

type keysRotateCmd struct {
	Config   string `required:"" type:"path" help:"Path of server.yaml." placeholder:"server.yaml"`
	All      bool   `help:"Encrypt everything anew, also what is under the current key: no data key that was ever in use opens anything afterwards."`
	Generate bool   `help:"Make a fresh key in the place of the generated one first. The server must be stopped."`
}

// Run encrypts anew. Stopped anywhere, it goes on when it is said again.
func (c *keysRotateCmd) Run(ctx context.Context, t *terminal) (err error) {
	cfg, err := config.Load(c.Config, t.lookup)
	if err != nil {
		return usage(err)
	}
	t.withhold(cfg)
	if err := c.asServer(cfg); err != nil {
		return err
	}
	if c.Generate {
		release, err := c.generate(ctx, t, cfg)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, release()) }()
	}
	key, err := wrappingOf(cfg)
	if err != nil {
		return usage(err)
	}
	v, err := openVault(ctx, cfg, key)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	if err := c.rotate(ctx, t, v); err != nil {
		return err
	}
	if c.Generate {
		kept := keyFile(cfg) + ".old"
		if err := blob.LastKey(keyFile(cfg), kept); err != nil {
			return err
		}
		fmt.Fprintf(t.err, "%s holds the fresh key alone; backups made before need those in %s.\n", keyFile(cfg), kept)
	}
	return nil
}

// generate puts a fresh key in front of the generated one, with no server at work: it would not know the fresh one.
func (c *keysRotateCmd) generate(ctx context.Context, t *terminal, cfg *config.Config) (release func() error, err error) {
	if !cfg.EncryptionKey.IsZero() {
		return nil, usage(errors.New("--generate: encryption_key is configured; write a new one there and the old one under old_encryption_keys"))
	}
	if _, err := os.Stat(keyFile(cfg)); err != nil {
		return nil, usage(fmt.Errorf("--generate: there is no generated key yet: %w", err))
	}
	s, err := openStore(ctx, cfg, ServerOptions{Log: slog.New(slog.DiscardHandler)}, nil)
	if err != nil {
		return nil, fmt.Errorf("--generate: %w", err)
	}
	made, err := blob.NextKey(keyFile(cfg))
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if !made {
		fmt.Fprintln(t.err, "A fresh key is there already: going on with it.")
	}
	return s.Close, nil
}

// passes is how often what a server with the old key wrote meanwhile is encrypted anew.
const passes = 3

func (c *keysRotateCmd) rotate(ctx context.Context, t *terminal, v *vault) error {
	var done count
	all := c.All
	for range passes {
		n, lost, err := v.rekey(ctx, all, t.progress())
		done.values, done.objects = done.values+n.values, done.objects+n.objects
		if err != nil {
			return halfway(err, done)
		}
		if len(lost) > 0 {
			return t.lost(lost)
		}
		seen, err := v.look(ctx)
		if err != nil {
			return err
		}
		if seen.needs(v.sealer.Current()) == (count{}) {
			fmt.Fprintf(t.err, "Encrypted anew: %s. Everything is under the current key.\n", done)
			t.census(v.sealer.Keys(), seen)
			return nil
		}
		all = false // those of this process need it not again
	}
	return &coded{exitNo, errors.New("a server that uses an old key writes meanwhile: restart every server with the new encryption_key, and say it again")}
}

// halfway says what to do about what ended the change of keys.
func halfway(err error, done count) error {
	then := "say it again to go on"
	if disk.Full(err) {
		then = "nothing is lost; make room, and say it again to go on"
	}
	return fmt.Errorf("%w; %s are done, %s", err, done, then)
}

// asServer refuses to write what the server could not read: files belong to whoever made them.
func (c *keysRotateCmd) asServer(cfg *config.Config) error {
	made, err := os.Stat(nodeFile(cfg.Data))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no server has this data directory
	} else if err != nil {
		return err
	}
	owner, ok := made.Sys().(*syscall.Stat_t)
	if !ok || int(owner.Uid) == os.Geteuid() {
		return nil
	}
	name := "#" + strconv.Itoa(int(owner.Uid))
	if u, err := user.LookupId(name[1:]); err == nil {
		name = u.Username
	}
	return usage(fmt.Errorf("the server of %s runs as another user and could not read what is encrypted anew; "+
		"say: sudo -u '%s' planlatch keys rotate --config %s", cfg.Data, name, c.Config))
}

// progress tells how far it is, at once and then every two seconds.
func (t *terminal) progress() func(count) {
	var last time.Time
	return func(n count) {
		if (n != count{}) && time.Since(last) >= 2*time.Second {
			last = time.Now()
			fmt.Fprintf(t.err, "encrypted anew: %s\n", n)
		}
	}
}

// keys tells what is still under an old key.
func (d *doctor) keys(ctx context.Context, cfg *config.Config) {
	key, err := wrappingOf(cfg)
	if err != nil {
		return // told already
	}
	v, err := openVault(ctx, cfg, key)
	if err != nil {
		d.warn("keys", err.Error(), "")
		return
	}
	defer v.close() //nolint:errcheck // it was only read
	look, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	seen, err := v.look(look)
	switch rest := seen.needs(v.sealer.Current()); {
	case len(seen.lost) > 0:
		d.bad("keys", fmt.Errorf("%d values or objects can be opened with no configured key, as %s", len(seen.lost), seen.lost[0]),
			"write the key that is missing under old_encryption_keys")
	case rest != count{}:
		d.warn("keys", rest.String()+" need an old key", "planlatch keys rotate --config "+d.file)
	case err != nil && look.Err() != nil:
		d.good("keys", "looked at %s, all under the current key %s; planlatch keys status looks at all", seen.of(v.sealer.Current()), v.sealer.Current())
	case err != nil:
		d.bad("keys", err, "")
	default:
		d.good("keys", "%s, all under the current key %s", seen.of(v.sealer.Current()), v.sealer.Current())
	}
}
