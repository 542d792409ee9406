package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"
)

// maxSecretFile is the most that is read of a file with a secret, bytes.
const maxSecretFile = 64 << 10

// secretFiles takes the settings that are secrets (the tag secret) from files too: that of the setting's name in the
// environment with _FILE behind it, or the systemd credential of the name in lower case (systemd.exec(5),
// "Credentials"). A line's end at the end of the file does not count.
type secretFiles struct{ env []string }

// Validate is for kong.Resolver.
func (secretFiles) Validate(*kong.Application) error { return nil }

// Resolve is for kong.Resolver: nil where there is no file.
func (s secretFiles) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if !flag.Tag.Has("secret") {
		return nil, nil
	}
	for _, name := range flag.Tag.Envs {
		path, from := s.get(name+fileSuffix), name+fileSuffix
		if dir := s.get("CREDENTIALS_DIRECTORY"); path == "" && dir != "" {
			path, from = filepath.Join(dir, strings.ToLower(name)), "the credential "+strings.ToLower(name)
			if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
				path = ""
			}
		}
		if path == "" {
			continue
		}
		if s.get(name) != "" {
			return nil, fmt.Errorf("%s is set, and %s too: use one of them", name, from)
		}
		secret, err := readSecret(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", from, err)
		}
		return secret, nil
	}
	return nil, nil
}

// fileSuffix is what a setting's name has behind it where its value is in a file.
const fileSuffix = "_FILE"

func (s secretFiles) get(name string) string {
	for _, kv := range s.env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

func readSecret(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.Size() > maxSecretFile {
		return "", fmt.Errorf("%s has %d bytes; at most %d are taken", path, info.Size(), maxSecretFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if secret == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return secret, nil
}
