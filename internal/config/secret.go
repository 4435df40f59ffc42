package config

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Secret is a password or key. It prints as ***, so that it cannot get into a
// log by accident; Reveal gives the text.
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// MarshalText hides the secret from encoders, JSON and slog among them.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// ReadSecret returns the first line of a file, without its line end. A file
// larger than 64 KiB and an empty first line are errors.
func ReadSecret(path string) (Secret, error) {
	data, err := readLimited(path, int64(64*KiB))
	if err != nil {
		return "", err
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 {
		return "", errors.New("the first line is empty")
	}
	return Secret(line), nil
}

// ConnString is DSN with the password of PasswordFile in it.
func (c Postgres) ConnString() (string, error) { return withPassword(c.DSN, c.PasswordFile) }

// OwnerConnString is OwnerDSN with the password of OwnerPasswordFile in it.
func (c Postgres) OwnerConnString() (string, error) {
	return withPassword(c.OwnerDSN, c.OwnerPasswordFile)
}

func withPassword(dsn, file string) (string, error) {
	if file == "" {
		return dsn, nil
	}
	secret, err := ReadSecret(file)
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	if !isURL(dsn) {
		quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(secret.Reveal())
		return dsn + " password='" + quoted + "'", nil
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return "", errors.New("the connection string is no URL") // the cause would show it
	}
	u.User = url.UserPassword(u.User.Username(), secret.Reveal())
	return u.String(), nil
}

func isURL(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}

var (
	urlPassword   = regexp.MustCompile(`^(\w+://[^:/@?]*):.*@`)
	queryPassword = regexp.MustCompile(`(?i)((?:ssl)?password=)[^&\s]*`)
	pairPassword  = regexp.MustCompile(`(?i)((?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'|\S+)`)
)

// Redacted returns a connection string without its passwords.
func Redacted(dsn string) string {
	if isURL(dsn) {
		return queryPassword.ReplaceAllString(urlPassword.ReplaceAllString(dsn, "$1:***@"), "$1***")
	}
	return pairPassword.ReplaceAllString(dsn, "$1***")
}

// YAML writes the configuration that is in force, in the form of the file,
// passwords in connection strings hidden.
func (c Config) YAML() string {
	var b strings.Builder
	var section []string
	for _, f := range leaves(&c) {
		path := strings.Split(f.key, ".")
		for i := range len(path) - 1 {
			if i < len(section) && section[i] == path[i] {
				continue
			}
			b.WriteString(strings.Repeat("  ", i) + path[i] + ":\n")
			section = append(section[:i:i], path[i])
		}
		section = section[:len(path)-1]
		b.WriteString(strings.Repeat("  ", len(path)-1) + path[len(path)-1] + ": " + scalar(f.value) + "\n")
	}
	return b.String()
}

func scalar(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return FormatDuration(x)
	case Bytes:
		return x.String()
	case string:
		return quoted(Redacted(x))
	case []string:
		parts := make([]string, 0, len(x))
		for _, s := range x {
			parts = append(parts, quoted(s))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	default:
		return fmt.Sprint(x)
	}
}

var plainScalar = regexp.MustCompile(`^[A-Za-z./][A-Za-z0-9./_-]*$`)

// quoted writes text as YAML: plain where nobody can take it for anything
// else, in JSON's quotes (which are YAML's too) otherwise.
func quoted(s string) string {
	switch strings.ToLower(s) {
	case "true", "false", "yes", "no", "on", "off", "null", "y", "n":
		return strconv.Quote(s)
	}
	if plainScalar.MatchString(s) {
		return s
	}
	return strconv.Quote(s)
}
