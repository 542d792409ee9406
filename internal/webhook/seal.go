package webhook

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// Keyring seals secrets at rest: an AEAD keyset (github.com/tink-crypto/tink-go, AES256-GCM) whose keys have IDs, so
// that the master key can be rotated. It is safe for concurrent use.
type Keyring struct {
	path  string // of the key file; empty: there is none
	fixed bool   // from the configuration: cannot be rotated here
	mu    sync.RWMutex
	aead  tink.AEAD
	h     *keyset.Handle
}

// ErrFixedKeyring is Rotate's error for a keyset from the configuration, where a new key has to be added.
var ErrFixedKeyring = errors.New("the master keyset comes from the configuration; add the new key there")

// NewKeyring makes a keyring that is kept nowhere.
func NewKeyring() (*Keyring, error) {
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("make a master key: %w", err)
	}
	return newKeyring(h)
}

func newKeyring(h *keyset.Handle) (*Keyring, error) {
	a, err := aead.New(h)
	if err != nil {
		return nil, fmt.Errorf("use the master keyset: %w", err)
	}
	return &Keyring{aead: a, h: h}, nil
}

// ParseKeyring reads a Tink keyset in JSON, from the configuration. The errors never have its content.
func ParseKeyring(keysetJSON []byte) (*Keyring, error) {
	k, err := parseKeyring(keysetJSON)
	if err == nil {
		k.fixed = true
	}
	return k, err
}

func parseKeyring(keysetJSON []byte) (*Keyring, error) {
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(keysetJSON)))
	if err != nil {
		return nil, errors.New("the master keyset is not a Tink AEAD keyset in JSON")
	}
	return newKeyring(h)
}

// LoadOrCreateKeyring reads the key file, or makes it, readable by its owner only. Who loses the file loses the
// secrets.
func LoadOrCreateKeyring(path string) (*Keyring, error) {
	k, err := loadKeyring(path)
	if !errors.Is(err, os.ErrNotExist) {
		return k, err
	}
	if k, err = NewKeyring(); err != nil {
		return nil, err
	}
	if err := writeKeyFile(path, k.h, os.Link); errors.Is(err,
		os.ErrExist) { // another process was faster: its keys count
		return loadKeyring(path)
	} else if err != nil {
		return nil, err
	}
	k.path = path
	return k, nil
}

func loadKeyring(path string) (*Keyring, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the key file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at the key file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("the key file %s can be read by others; run: chmod 600 %s", path, path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("read the key file: %w", err)
	}
	k, err := parseKeyring(b)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	k.path = path
	return k, nil
}

const maxKeyFile = 1 << 20 // bytes; a key takes about 300

// writeKeyFile writes under another name first, so that a crash leaves the old file, a whole new one, or none. place is
// os.Link, which never replaces a file (what O_EXCL is for), or os.Rename.
func writeKeyFile(path string, h *keyset.Handle, place func(from, to string) error) error {
	var b bytes.Buffer
	if err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&b)); err != nil {
		return fmt.Errorf("write the master key: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".master-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write the key file: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b.Bytes())
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write the key file: %w", err)
	}
	if err := place(f.Name(), path); err != nil {
		return fmt.Errorf("write the key file: %w", err)
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("flush the key file's directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("flush the key file's directory: %w", err)
	}
	return nil
}

// Rotate adds a new key that seals from now on; what the old ones sealed still opens. With a key file, the file has the
// new key before it is used, and keys that another process added to the file are kept. A keyset from the configuration
// gives ErrFixedKeyring: what a key that is kept nowhere seals would be lost at the next start.
func (k *Keyring) Rotate() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fixed {
		return ErrFixedKeyring
	}
	from := k.h
	if k.path != "" {
		on, err := loadKeyring(k.path)
		if err != nil {
			return fmt.Errorf("rotate the master key: %w", err)
		}
		from = on.h
	}
	m := keyset.NewManagerFromHandle(from)
	id, err := m.Add(aead.AES256GCMKeyTemplate())
	if err == nil {
		err = m.SetPrimary(id)
	}
	if err != nil {
		return fmt.Errorf("rotate the master key: %w", err)
	}
	h, err := m.Handle()
	if err != nil {
		return fmt.Errorf("rotate the master key: %w", err)
	}
	next, err := newKeyring(h)
	if err != nil {
		return fmt.Errorf("rotate the master key: %w", err)
	}
	if k.path != "" {
		if err := writeKeyFile(k.path, h, os.Rename); err != nil {
			return fmt.Errorf("rotate the master key: %w", err)
		}
	}
	k.h, k.aead = next.h, next.aead
	return nil
}

func (k *Keyring) current() tink.AEAD {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.aead
}

// Seal encrypts a secret for one place; no secret gives nil.
func (k *Keyring) Seal(s Secret, tenant, webhookID, column string) ([]byte, error) {
	if s.IsZero() {
		return nil, nil
	}
	b, err := k.current().Encrypt([]byte(s.Reveal()), place(tenant, webhookID, column))
	if err != nil {
		return nil, fmt.Errorf("seal %s of webhook %s: %w", column, webhookID, err)
	}
	return b, nil
}

// Open decrypts what Seal gave for the same place; from another place it does not open.
func (k *Keyring) Open(b []byte, tenant, webhookID, column string) (Secret, error) {
	if len(b) == 0 {
		return Secret{}, nil
	}
	p, err := k.current().Decrypt(b, place(tenant, webhookID, column))
	if err != nil {
		return Secret{}, fmt.Errorf("open %s of webhook %s: the master key is not the one that sealed it",
			column, webhookID)
	}
	return NewSecret(string(p)), nil
}

// place is the associated data: each part with its length before it, so that no two places look the same.
func place(parts ...string) []byte {
	var b []byte
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}
