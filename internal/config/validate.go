package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	_ "time/tzdata" // tenants' zones must be known on machines without zone files

	"github.com/jackc/pgx/v5/pgxpool"
)

// Use says what the configuration is for: other commands need other parts.
type Use int

// The uses of a configuration.
const (
	// UseUp brings its own Postgres, S3 and development TSA.
	UseUp Use = iota
	// UseServe needs Postgres and S3.
	UseServe
	// UseWork needs Postgres, S3 and, with a queue that seals, a TSA.
	UseWork
	// UseMigrate needs the owner's connection to Postgres only.
	UseMigrate
	// UseAdmin needs the application's connection to Postgres only.
	UseAdmin
	// UseAll is a whole installation, as `evb config check` judges it.
	UseAll
)

var (
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	oidForm    = regexp.MustCompile(`^[0-2](\.(0|[1-9][0-9]*))+$`)
	slugForm   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

// Validate checks the values for a use and returns an *[Error], or nil if the
// program can start. Nothing is contacted; files named are looked at.
func (c Config) Validate(use Use) error {
	var bad []Problem
	for _, p := range c.Check(use) {
		if !p.Warning {
			bad = append(bad, p)
		}
	}
	if len(bad) > 0 {
		return &Error{Problems: bad}
	}
	return nil
}

// Check lists what is wrong with the values for a use, warnings included.
func (c Config) Check(use Use) []Problem {
	k := checker{}
	k.postgres(c.Postgres, use)
	k.s3(c.S3, use)
	k.tsa(c.TSA, use)
	k.http(c.HTTP, use)
	k.intake(c.Intake)
	k.work(c.Work)
	k.search(c, use)
	k.seal(c.Seal, use)
	k.rest(c)
	return k.problems
}

type checker struct{ problems []Problem }

func (k *checker) add(code, key, causeDE, causeEN, remedyDE, remedyEN string) {
	k.problems = append(k.problems, Problem{Code: code, Key: key, Cause: Text{causeDE, causeEN}, Remedy: Text{remedyDE, remedyEN}})
}

func (k *checker) warn(code, key, causeDE, causeEN, remedyDE, remedyEN string) {
	k.add(code, key, causeDE, causeEN, remedyDE, remedyEN)
	k.problems[len(k.problems)-1].Warning = true
}

func (k *checker) missing(key, causeDE, causeEN string) {
	k.add("missing", key, causeDE, causeEN,
		fmt.Sprintf("Setzen Sie %s in der Datei oder %s in der Umgebung.", key, EnvName(key)),
		fmt.Sprintf("Set %s in the file or %s in the environment.", key, EnvName(key)))
}

func (k *checker) atLeast(key string, value, least int64) {
	if value < least {
		k.add("out-of-range", key, fmt.Sprintf("%d ist zu klein.", value), fmt.Sprintf("%d is too small.", value),
			fmt.Sprintf("Kleinster Wert: %d.", least), fmt.Sprintf("Smallest value: %d.", least))
	}
}

func (k *checker) span(key string, value, least time.Duration) {
	if value < least {
		k.add("out-of-range", key, fmt.Sprintf("%s ist zu kurz.", FormatDuration(value)), fmt.Sprintf("%s is too short.", FormatDuration(value)),
			fmt.Sprintf("Kürzester Wert: %s.", FormatDuration(least)), fmt.Sprintf("Shortest value: %s.", FormatDuration(least)))
	}
}

func (k *checker) oneOf(key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		k.add("not-allowed", key, fmt.Sprintf("„%s“ ist nicht vorgesehen.", value), fmt.Sprintf("%q is not provided for.", value),
			"Möglich: "+strings.Join(allowed, ", ")+".", "Possible: "+strings.Join(allowed, ", ")+".")
	}
}

// readable checks a file that the program will read; an empty path is no file.
func (k *checker) readable(key, path string) {
	if path == "" {
		return
	}
	f, err := os.Open(path)
	if err != nil {
		k.add("file-unreadable", key, fmt.Sprintf("Die Datei lässt sich nicht lesen (%v).", err), fmt.Sprintf("The file cannot be read (%v).", err),
			"Prüfen Sie Pfad und Leserecht.", "Check the path and the right to read it.")
		return
	}
	_ = f.Close()
}

// secret checks a file with a secret, and that not everyone may read it.
func (k *checker) secret(key, path string) {
	if path == "" {
		return
	}
	if _, err := ReadSecret(path); err != nil {
		k.add("secret-unreadable", key, fmt.Sprintf("Das Geheimnis lässt sich nicht lesen (%v).", err), fmt.Sprintf("The secret cannot be read (%v).", err),
			"Legen Sie es in die erste Zeile der Datei und geben Sie dem Dienst Leserecht.", "Put it on the first line of the file and let the service read it.")
		return
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o007 != 0 {
		k.warn("secret-exposed", key, fmt.Sprintf("Jeder auf dieser Maschine darf %s lesen.", path), fmt.Sprintf("Everyone on this machine may read %s.", path),
			"chmod 0600 auf die Datei.", "chmod 0600 the file.")
	}
}

func (k *checker) address(key, value, causeDE, causeEN string, schemes ...string) {
	u, err := url.Parse(value)
	if err != nil || !slices.Contains(schemes, u.Scheme) || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		k.add("malformed", key, causeDE, causeEN,
			"Form: "+schemes[len(schemes)-1]+"://rechner:port.", "Form: "+schemes[len(schemes)-1]+"://host:port.")
	}
}

// listens checks an address to listen on, and gives its host.
func (k *checker) listens(key, addr string) (host string, ok bool) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || !validPort(port) {
		k.add("malformed", key, fmt.Sprintf("„%s“ ist keine Adresse zum Lauschen.", addr), fmt.Sprintf("%q is no address to listen on.", addr),
			"Form: 127.0.0.1:8080; Port 0 nimmt einen freien.", "Form: 127.0.0.1:8080; port 0 takes a free one.")
		return "", false
	}
	return host, true
}

func (k *checker) postgres(c Postgres, use Use) {
	if c.DSN == "" && (use != UseUp && use != UseMigrate) {
		k.missing("postgres.dsn", "Ohne Verbindung zu Postgres läuft nichts.", "Nothing runs without a connection to Postgres.")
	}
	if c.OwnerDSN == "" && use == UseMigrate {
		k.missing("postgres.owner_dsn", "Die Migrationen brauchen die Verbindung des Eigentümers.", "Migrations need the owner's connection.")
	}
	for _, d := range [][2]string{{"postgres.dsn", c.DSN}, {"postgres.owner_dsn", c.OwnerDSN}} {
		if d[1] == "" {
			continue
		}
		// pgx hides the password in its message.
		if _, err := pgxpool.ParseConfig(d[1]); err != nil {
			k.add("malformed", d[0], fmt.Sprintf("Die Verbindungszeichenkette ist nicht lesbar (%v).", err), fmt.Sprintf("The connection string cannot be read (%v).", err),
				"Form: postgres://evb_app@rechner:5432/evb?sslmode=verify-full.", "Form: postgres://evb_app@host:5432/evb?sslmode=verify-full.")
		}
	}
	// A process is given the secrets that it uses and no others.
	if use != UseMigrate {
		k.secret("postgres.password_file", c.PasswordFile)
	}
	if use == UseMigrate || use == UseAll {
		k.secret("postgres.owner_password_file", c.OwnerPasswordFile)
	}
	k.atLeast("postgres.max_conns", int64(c.MaxConns), 2)
	k.span("postgres.connect_timeout", c.ConnectTimeout, 100*time.Millisecond)
	k.span("postgres.idle_in_transaction_timeout", c.IdleInTransactionTimeout, time.Second)
}

func (k *checker) s3(c S3, use Use) {
	if use == UseServe || use == UseWork || use == UseAll {
		if c.Endpoint == "" {
			k.missing("s3.endpoint", "Ohne Objektspeicher läuft nichts.", "Nothing runs without the object store.")
		}
		if c.AccessKey == "" {
			k.missing("s3.access_key", "Der Zugang zum Objektspeicher fehlt.", "The credential for the object store is missing.")
		}
		if c.SecretKeyFile == "" {
			k.missing("s3.secret_key_file", "Der geheime Schlüssel zum Objektspeicher fehlt.", "The secret key for the object store is missing.")
		}
	}
	if c.Endpoint != "" {
		k.address("s3.endpoint", c.Endpoint, "Das ist keine Adresse eines Objektspeichers.", "This is no address of an object store.", "http", "https")
		if u, err := url.Parse(c.Endpoint); err == nil {
			if strings.Trim(u.Path, "/") != "" {
				k.add("malformed", "s3.endpoint", "Die Adresse darf keinen Pfad haben.", "The address must have no path.",
					"Der Bucket steht in s3.bucket.", "The bucket goes to s3.bucket.")
			}
			if u.Scheme == "http" && !loopback(u.Hostname()) {
				k.warn("plaintext", "s3.endpoint", "Die Verbindung ist nicht verschlüsselt.", "The connection is not encrypted.", "Nehmen Sie https.", "Use https.")
			}
		}
	}
	if !bucketName.MatchString(c.Bucket) {
		k.add("malformed", "s3.bucket", fmt.Sprintf("„%s“ ist kein Bucket-Name.", c.Bucket), fmt.Sprintf("%q is no name of a bucket.", c.Bucket),
			"3 bis 63 Zeichen aus a-z, 0-9, Punkt und Bindestrich.", "3 to 63 characters of a-z, 0-9, dot and hyphen.")
	}
	if use == UseServe || use == UseWork || use == UseAll {
		k.secret("s3.secret_key_file", c.SecretKeyFile)
		k.readable("s3.ca_file", c.CAFile)
	}
	if use == UseWork || use == UseAll {
		k.secret("s3.bypass_secret_key_file", c.BypassSecretKeyFile)
	}
	if (c.BypassAccessKey == "") != (c.BypassSecretKeyFile == "") {
		k.add("incomplete", "s3.bypass_access_key", "Schlüssel und Geheimnis gehören zusammen.", "Key and secret belong together.",
			"Setzen Sie beide oder keines von s3.bypass_access_key und s3.bypass_secret_key_file.", "Set both or none of s3.bypass_access_key and s3.bypass_secret_key_file.")
	}
	if c.BypassAccessKey != "" && c.BypassAccessKey == c.AccessKey {
		k.warn("same-credential", "s3.bypass_access_key", "Der Zugang zum Löschen ist derselbe wie der tägliche.", "The credential for deleting is the daily one.",
			"Legen Sie einen eigenen Zugang an.", "Make a credential of its own.")
	}
	k.span("s3.timeout", c.Timeout, time.Second)
	k.atLeast("s3.max_idle_conns", int64(c.MaxIdleConns), 1)
}

func (k *checker) tsa(c TSA, use Use) {
	if len(c.URLs) == 0 && (use == UseWork || use == UseAll) {
		k.missing("tsa.urls", "Ohne Zeitstempeldienst entstehen keine Beweise.", "Without a time-stamp authority there is no evidence.")
	}
	if c.TrustFile == "" && (use == UseWork || use == UseAll) {
		k.missing("tsa.trust_file", "Ohne Vertrauensanker lässt sich kein Zeitstempel prüfen.", "Without anchors no time-stamp can be checked.")
	}
	for i, u := range c.URLs {
		k.address(fmt.Sprintf("tsa.urls[%d]", i), u, fmt.Sprintf("„%s“ ist keine Adresse.", u), fmt.Sprintf("%q is no address.", u), "http", "https")
	}
	if use == UseServe || use == UseWork || use == UseAll {
		k.readable("tsa.trust_file", c.TrustFile)
		k.readable("tsa.ca_file", c.CAFile)
		k.secret("tsa.password_file", c.PasswordFile)
	}
	if (c.Username == "") != (c.PasswordFile == "") {
		k.add("incomplete", "tsa.username", "Name und Kennwort gehören zusammen.", "Name and password belong together.",
			"Setzen Sie beide oder keines von tsa.username und tsa.password_file.", "Set both or none of tsa.username and tsa.password_file.")
	}
	if c.PolicyOID != "" && !oidForm.MatchString(c.PolicyOID) {
		k.add("malformed", "tsa.policy_oid", fmt.Sprintf("„%s“ ist keine OID.", c.PolicyOID), fmt.Sprintf("%q is no OID.", c.PolicyOID),
			"Form: 1.2.3.4.", "Form: 1.2.3.4.")
	}
	k.span("tsa.timeout", c.Timeout, time.Second)
}

func (k *checker) http(c HTTP, use Use) {
	if host, ok := k.listens("http.addr", c.Addr); ok && !loopback(host) && c.TLSCertFile == "" && !strings.HasPrefix(c.PublicURL, "https://") {
		k.warn("plaintext", "http.addr", "Der Dienst ist ohne TLS von anderen Rechnern erreichbar.", "Other machines can reach the server without TLS.",
			"Setzen Sie http.tls_cert_file und http.tls_key_file, oder http.public_url auf die https-Adresse des Proxys davor.",
			"Set http.tls_cert_file and http.tls_key_file, or http.public_url to the https address of the proxy before it.")
	}
	if c.PublicURL != "" {
		k.address("http.public_url", c.PublicURL, "Das ist keine Adresse.", "This is no address.", "http", "https")
	}
	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") {
		k.add("incomplete", "http.tls_cert_file", "Zertifikat und Schlüssel gehören zusammen.", "Certificate and key belong together.",
			"Setzen Sie beide oder keines von http.tls_cert_file und http.tls_key_file.", "Set both or none of http.tls_cert_file and http.tls_key_file.")
	}
	if use == UseServe || use == UseUp || use == UseAll {
		k.readable("http.tls_cert_file", c.TLSCertFile)
		k.readable("http.tls_key_file", c.TLSKeyFile)
	}
	for i, p := range c.TrustedProxies {
		if _, err := ParseNetwork(p); err != nil {
			k.add("malformed", fmt.Sprintf("http.trusted_proxies[%d]", i), fmt.Sprintf("„%s“ ist weder Adresse noch Netz.", p), fmt.Sprintf("%q is neither address nor network.", p),
				"Form: 10.0.0.5 oder 10.0.0.0/24.", "Form: 10.0.0.5 or 10.0.0.0/24.")
		}
	}
	k.atLeast("http.max_body", int64(c.MaxBody), int64(64*KB))
	k.span("http.read_header_timeout", c.ReadHeaderTimeout, time.Second)
	k.span("http.request_timeout", c.RequestTimeout, time.Second)
	k.span("http.upload_timeout", c.UploadTimeout, time.Second)
	k.span("http.shutdown_timeout", c.ShutdownTimeout, time.Second)
	k.span("http.idle_timeout", c.IdleTimeout, time.Second)
	k.span("http.session_idle", c.SessionIdle, time.Minute)
	if c.SessionLifetime < c.SessionIdle {
		k.add("out-of-range", "http.session_lifetime", "Die Sitzung endete vor ihrer Leerlaufzeit.", "The session would end before its idle time.",
			"Der Wert muss mindestens http.session_idle sein.", "The value must be at least http.session_idle.")
	}
}

func (k *checker) intake(c Intake) {
	if c.WatchDir != "" && c.WatchUser == "" {
		k.missing("intake.watch_user", "Der beobachtete Ordner braucht ein Konto, in dessen Namen er geleert wird.", "The watched folder needs an account to take it for.")
	}
	k.atLeast("intake.max_file", int64(c.MaxFile), 1)
	if c.MaxBatch < c.MaxFile {
		k.add("out-of-range", "intake.max_batch", "Ein Stapel dürfte kleiner sein als eine Datei.", "A batch could be smaller than one file.",
			"Der Wert muss mindestens intake.max_file sein.", "The value must be at least intake.max_file.")
	}
	for key, n := range map[string]int64{
		"max_pages": int64(c.MaxPages), "max_pixels": c.MaxPixels, "max_page_points": int64(c.MaxPagePoints),
		"group_size": int64(c.GroupSize),
	} {
		k.atLeast("intake."+key, n, 1)
	}
	k.atLeast("intake.child_memory", int64(c.ChildMemory), int64(128*MiB))
	if c.ChildMemory > 4*GiB {
		k.add("out-of-range", "intake.child_memory", "Mehr als 4 GiB kann der Kindprozess nicht ansprechen.", "The child cannot address more than 4 GiB.",
			"Größter Wert: 4 GiB.", "Largest value: 4 GiB.")
	}
	k.span("intake.page_timeout", c.PageTimeout, time.Second)
	k.span("intake.file_timeout", c.FileTimeout, time.Second)
	k.oneOf("intake.separators", c.Separators, "evb", "patcht", "asn")
	if len(c.OCRLanguages) == 0 {
		k.missing("intake.ocr_languages", "Die Texterkennung braucht mindestens eine Sprache.", "Text recognition needs at least one language.")
	}
	slices.SortStableFunc(k.problems, func(a, b Problem) int {
		if strings.HasPrefix(a.Key, "intake.") && strings.HasPrefix(b.Key, "intake.") {
			return strings.Compare(a.Key, b.Key)
		}
		return 0
	})
}

func (k *checker) work(c Work) {
	if c.Addr != "" {
		k.listens("work.addr", c.Addr)
	}
	if len(c.Roles) == 0 {
		k.missing("work.roles", "Ein Arbeiter ohne Rolle tut nichts.", "A worker without a role does nothing.")
	}
	for _, r := range c.Roles {
		k.oneOf("work.roles", r, RoleInteractive, RoleIntake, RoleBulk, RoleRenewal, RoleIndex)
	}
	k.atLeast("work.concurrency.interactive", int64(c.Concurrency.Interactive), 1)
	k.atLeast("work.concurrency.intake", int64(c.Concurrency.Intake), 1)
	k.atLeast("work.concurrency.bulk", int64(c.Concurrency.Bulk), 1)
	k.atLeast("work.concurrency.renewal", int64(c.Concurrency.Renewal), 1)
	k.span("work.stop_timeout", c.StopTimeout, time.Second)
	k.span("work.poll_interval", c.PollInterval, 10*time.Millisecond)
	// A lease shorter than a slow upload would let the sweeper take the object away.
	k.span("work.blob_lease", c.BlobLease, time.Minute)
	k.span("work.fixity_period", c.FixityPeriod, day)
}

func (k *checker) search(c Config, use Use) {
	if c.Search.Dir == "" && (use == UseWork || use == UseAll) && slices.Contains(c.Work.Roles, RoleIndex) {
		k.missing("search.dir", "Die Rolle index braucht einen Ordner.", "The role index needs a folder.")
	}
	if n := c.Search.Shards; n < 1 || n > 64 {
		k.add("out-of-range", "search.shards", fmt.Sprintf("%d Teile sind nicht möglich.", n), fmt.Sprintf("%d shards are not possible.", n),
			"Möglich: 1 bis 64.", "Possible: 1 to 64.")
	}
	k.span("search.timeout", c.Search.Timeout, 100*time.Millisecond)
}

func (k *checker) seal(c Seal, use Use) {
	k.span("seal.period", c.Period, time.Minute)
	k.atLeast("seal.max_documents", int64(c.MaxDocuments), 1)
	k.oneOf("seal.hash_algorithm", c.HashAlgorithm, "sha256", "sha384", "sha512")
	k.span("seal.renew_before", c.RenewBefore, day)
	k.span("seal.pack_interval", c.PackInterval, time.Second)
	if c.PackInterval > time.Minute {
		k.add("out-of-range", "seal.pack_interval", "Metadaten sollen nach spätestens einer Minute im Speicher liegen.", "Metadata is to be in the store after a minute at the latest.",
			"Längster Wert: 1m.", "Longest value: 1m.")
	}
	if c.AlgorithmPolicy == "" {
		k.missing("seal.algorithm_policy", "Ohne Liste ist kein Verfahren geeignet.", "Without a list no algorithm is suitable.")
	} else if strings.ContainsRune(c.AlgorithmPolicy, '/') {
		k.readable("seal.algorithm_policy", c.AlgorithmPolicy)
	}
	if c.Grace == 0 && use != UseUp && use != UseMigrate {
		k.warn("no-grace", "seal.grace", "Sperrinformationen würden sofort geholt und könnten älter sein als der Stempel.", "Revocation data would be fetched at once and could be older than the stamp.",
			"0 passt nur zum Entwicklungs-Zeitstempeldienst.", "0 suits the development authority only.")
	}
}

func (k *checker) rest(c Config) {
	k.span("lock.initial", c.Lock.Initial, day)
	k.span("lock.unfiled", c.Lock.Unfiled, day)
	if c.Tenant.Default != "" && !slugForm.MatchString(c.Tenant.Default) {
		k.add("malformed", "tenant.default", fmt.Sprintf("„%s“ ist kein Kurzname.", c.Tenant.Default), fmt.Sprintf("%q is no short name.", c.Tenant.Default),
			"Kleinbuchstaben, Ziffern, Bindestrich.", "Lower-case letters, digits, hyphen.")
	}
	if _, err := time.LoadLocation(c.Tenant.Zone); err != nil || c.Tenant.Zone == "" || c.Tenant.Zone == "Local" {
		k.add("not-allowed", "tenant.zone", fmt.Sprintf("„%s“ ist keine Zeitzone.", c.Tenant.Zone), fmt.Sprintf("%q is no time zone.", c.Tenant.Zone),
			"Form: Europe/Berlin.", "Form: Europe/Berlin.")
	}
	for i, hook := range c.Processes.Webhooks {
		k.address(fmt.Sprintf("processes.webhooks[%d]", i), hook, fmt.Sprintf("„%s“ ist keine Adresse.", hook), fmt.Sprintf("%q is no address.", hook), "http", "https")
		if u, err := url.Parse(hook); err == nil && strings.Trim(u.Path, "/") != "" {
			k.add("malformed", fmt.Sprintf("processes.webhooks[%d]", i), fmt.Sprintf("„%s“ hat einen Pfad; freigegeben wird ein Dienst als Ganzes.", hook),
				fmt.Sprintf("%q has a path; a service is allowed as a whole.", hook), "Form: https://rechner:port.", "Form: https://host:port.")
		}
	}
	if c.Tools.Tesseract == "" {
		k.missing("tools.tesseract", "Der Name des Programms fehlt.", "The name of the program is missing.")
	}
	if c.Local.Dir == "" {
		k.missing("local.dir", "Der Datenordner fehlt.", "The data folder is missing.")
	}
	if c.Local.PostgresUser == "" {
		k.missing("local.postgres_user", "Postgres läuft nicht als root.", "Postgres does not run as root.")
	}
	k.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	k.oneOf("log.format", c.Log.Format, "json", "text")
}

// ParseNetwork reads an address or a network in CIDR form; an address is the
// network of itself.
func ParseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Prefix(a.BitLen())
	}
	return netip.ParsePrefix(s)
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n <= 65535
}
