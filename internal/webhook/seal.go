package webhook

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// Keyring seals secrets at rest: an AEAD keyset whose keys have IDs, so that the master key can be rotated.
type Keyring struct{ aead tink.AEAD }

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
	return &Keyring{a}, nil
}

// ParseKeyring reads a Tink keyset in JSON. The errors never have its content.
func ParseKeyring(keysetJSON []byte) (*Keyring, error) {
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(keysetJSON)))
	if err != nil {
		return nil, errors.New("the master keyset is not a Tink AEAD keyset in JSON")
	}
	return newKeyring(h)
}

// LoadOrCreateKeyring reads the key file, or makes it, readable by its owner only. Who loses the file loses the secrets.
func LoadOrCreateKeyring(path string) (*Keyring, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return createKeyring(path)
	} else if err != nil {
		return nil, fmt.Errorf("look at the key file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("the key file %s can be read by others; run: chmod 600 %s", path, path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the key file: %w", err)
	}
	return ParseKeyring(b)
}

// createKeyring writes the file under another name first, so that a crash leaves a whole one or none.
func createKeyring(path string) (*Keyring, error) {
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("make a master key: %w", err)
	}
	var b bytes.Buffer
	if err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&b)); err != nil {
		return nil, fmt.Errorf("write the master key: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".master-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("write the key file: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b.Bytes())
	if err := errors.Join(err, f.Sync(), f.Close(), os.Link(f.Name(), path)); err != nil {
		return nil, fmt.Errorf("write the key file: %w", err)
	}
	if d, err := os.Open(filepath.Dir(path)); err == nil {
		err = errors.Join(d.Sync(), d.Close())
		if err != nil {
			return nil, fmt.Errorf("write the key file: %w", err)
		}
	}
	return newKeyring(h)
}

// Seal encrypts a secret for one place; no secret gives nil.
func (k *Keyring) Seal(s Secret, tenant, webhookID, column string) ([]byte, error) {
	if s.IsZero() {
		return nil, nil
	}
	b, err := k.aead.Encrypt([]byte(s.Reveal()), place(tenant, webhookID, column))
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
	p, err := k.aead.Decrypt(b, place(tenant, webhookID, column))
	if err != nil {
		return Secret{}, fmt.Errorf("open %s of webhook %s: the master key is not the one that sealed it", column, webhookID)
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
