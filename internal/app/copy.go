package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/store/postgres"
	"github.com/quantfolio/qhook/internal/store/sqlite"
	"github.com/quantfolio/qhook/internal/webhook"
)

// CopyConfig says what Copy copies.
type CopyConfig struct {
	From, To     string             // each a data folder, or postgres://…
	MasterKeyset string             // that opens the secrets; empty: the master.key of To, or else of From
	Batch        int                // rows in one transaction; default 1000
	Progress     func(CopyProgress) // called often, and after each transaction; nil: nobody is told
}

// CopyProgress is how far a Copy is.
type CopyProgress struct {
	Step, Table string
	Done, Total int64 // rows
}

// CopiedTable is a table on both sides.
type CopiedTable struct {
	Name         string
	From, To     int64    // rows
	Sum, SumAtTo [32]byte // SHA-256 of all rows in order
}

// Same tells whether both sides have the same.
func (t *CopiedTable) Same() bool { return t.From == t.To && t.Sum == t.SumAtTo }

// Copied is what a Copy came to.
type Copied struct {
	Tables []CopiedTable
	// KeyFile has what the nodes on the target need as their master keyset, when it is not the target's own.
	KeyFile string
}

// side is a store that is copied from or to.
type side struct {
	name string
	db   dumper
	dump store.Dump
}

type dumper interface {
	store.Store
	Dump(ctx context.Context) (store.Dump, error)
}

func (s *side) open(ctx context.Context, ring *webhook.Keyring, log *slog.Logger, place string) (err error) {
	if s.name = place; isShared(place) {
		s.name = "the PostgreSQL database"
		s.db, err = postgres.Open(ctx, postgres.Config{URL: place, Keyring: ring, Logger: log, Version: Version})
	} else {
		s.db, err = sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(place, databaseFile), Keyring: ring, Logger: log})
	}
	if err != nil {
		s.db = nil // an interface of a nil pointer is none
		return fmt.Errorf("open %s: %w", s.name, err)
	}
	if s.dump, err = s.db.Dump(ctx); err != nil {
		return fmt.Errorf("open %s: %w", s.name, err)
	}
	return nil
}

func (s *side) close() error {
	var errs []error
	if s.dump != nil {
		errs = append(errs, s.dump.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	return errors.Join(errs...)
}

const (
	databaseFile = "qhook.db"
	keyFile      = "master.key"
)

func isShared(place string) bool {
	return strings.HasPrefix(place, "postgres://") || strings.HasPrefix(place, "postgresql://")
}

// Copy copies everything from one store to an empty other one, and compares both. What was copied before it was ended
// it finds, and goes on. Whatever else is on the target is an error, and is left as it is.
func Copy(ctx context.Context, cfg CopyConfig, log *slog.Logger) (done Copied, err error) {
	if cfg.From == cfg.To {
		return done, errors.New("from and to are the same; name two")
	}
	if cfg.Batch <= 0 {
		cfg.Batch = 1000
	}
	if cfg.Progress == nil {
		cfg.Progress = func(CopyProgress) {}
	}
	c := &copying{cfg: cfg, counts: map[string]int64{}}
	if !isShared(cfg.From) {
		if _, err := os.Stat(filepath.Join(cfg.From, databaseFile)); err != nil {
			return done, fmt.Errorf("there is no database in the data folder %s; name the one that serve is given as data: %w", cfg.From, err)
		}
	}
	ring, used, err := cfg.keyring()
	if err != nil {
		return done, err
	}
	if isShared(cfg.To) {
		done.KeyFile = used
	}
	defer func() { err = errors.Join(err, c.to.close(), c.from.close()) }()
	if err := c.from.open(ctx, ring, log, cfg.From); err != nil {
		return done, err
	}
	if err := c.from.opens(ctx); err != nil {
		return done, err
	}
	if !isShared(cfg.To) {
		if err := os.MkdirAll(cfg.To, 0o700); err != nil {
			return done, fmt.Errorf("make the data folder: %w", err)
		}
	}
	if err := c.to.open(ctx, ring, log, cfg.To); err != nil {
		return done, err
	}
	if err := c.copy(ctx); err != nil {
		return done, err
	}
	if done.Tables, err = c.compare(ctx); err != nil {
		return done, err
	}
	return done, c.to.opens(ctx)
}

// keyring finds the keyset that opens the secrets, and the file that it is from; what is sealed is copied as it is, so
// that both sides have the same.
func (cfg *CopyConfig) keyring() (ring *webhook.Keyring, file string, err error) {
	if cfg.MasterKeyset != "" {
		ring, err = webhook.ParseKeyring([]byte(cfg.MasterKeyset))
		return ring, "", err
	}
	place := cfg.From
	switch {
	case !isShared(cfg.To):
		place = cfg.To
		if _, err := os.Stat(filepath.Join(place, keyFile)); err != nil {
			from := "the file with the master keyset of the source's nodes"
			if !isShared(cfg.From) {
				from = filepath.Join(cfg.From, keyFile)
			}
			return nil, "", fmt.Errorf("the data folder %s has no %s, without which nothing opens the secrets there: make the folder and copy %s to it, mode 0600", place, keyFile, from)
		}
	case isShared(cfg.From):
		return nil, "", errors.New("the master keyset is missing: give --master-keyset, or QHOOK_MASTER_KEYSET as the nodes have it")
	default:
		if _, err := os.Stat(filepath.Join(place, keyFile)); err != nil {
			return nil, "", fmt.Errorf("the data folder %s has no %s: give --master-keyset, or QHOOK_MASTER_KEYSET as its server has it", place, keyFile)
		}
	}
	file = filepath.Join(place, keyFile)
	ring, err = webhook.LoadOrCreateKeyring(file)
	return ring, file, err
}

// opens makes sure that the keyset opens every secret.
func (s *side) opens(ctx context.Context) error {
	if _, err := s.db.AllWebhooks(ctx); err != nil {
		return fmt.Errorf("the webhooks of %s cannot be read with this master keyset: give the one that sealed them, which is the content of its %s, or its nodes' QHOOK_MASTER_KEYSET: %w", s.name, keyFile, err)
	}
	return nil
}
