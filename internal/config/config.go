package config

import "time"

// Config is the whole configuration. The comment of a field gives its unit;
// the default stands in [Default] and, explained for people, in
// deploy/evb.example.yaml, which a test keeps equal to it.
type Config struct {
	Postgres  Postgres  `koanf:"postgres"`
	S3        S3        `koanf:"s3"`
	TSA       TSA       `koanf:"tsa"`
	HTTP      HTTP      `koanf:"http"`
	Intake    Intake    `koanf:"intake"`
	Work      Work      `koanf:"work"`
	Search    Search    `koanf:"search"`
	Seal      Seal      `koanf:"seal"`
	Lock      Lock      `koanf:"lock"`
	Tenant    Tenant    `koanf:"tenant"`
	Processes Processes `koanf:"processes"`
	Tools     Tools     `koanf:"tools"`
	Local     Local     `koanf:"local"`
	Log       Log       `koanf:"log"`
}

// Postgres says how to reach the database. Empty DSNs are right only for
// `evb up`, which brings its own cluster.
type Postgres struct {
	// DSN is the connection string of the application role (evb_app: not owner,
	// no superuser, no BYPASSRLS), as URL or as key=value pairs. Several hosts
	// with target_session_attrs=read-write name a standby pair.
	DSN string `koanf:"dsn"`
	// PasswordFile holds the password for DSN, if DSN has none.
	PasswordFile string `koanf:"password_file"`
	// OwnerDSN is the connection string of the owner of the tables (evb_owner).
	// Only `evb migrate` uses it.
	OwnerDSN string `koanf:"owner_dsn"`
	// OwnerPasswordFile holds the password for OwnerDSN, if it has none.
	OwnerPasswordFile string `koanf:"owner_password_file"`
	// MaxConns is the largest number of connections of one process.
	MaxConns int `koanf:"max_conns"`
	// ConnectTimeout bounds one attempt to connect.
	ConnectTimeout time.Duration `koanf:"connect_timeout"`
	// LockTimeout bounds the wait for one lock; 0 is no bound.
	LockTimeout time.Duration `koanf:"lock_timeout"`
	// IdleInTransactionTimeout ends a session that holds a transaction open
	// without working: such a one would hold up the sequencer of the event log.
	IdleInTransactionTimeout time.Duration `koanf:"idle_in_transaction_timeout"`
}

// S3 says how to reach the object store. It must have versioning and enforce
// Object Lock; the program proves that at start.
type S3 struct {
	// Endpoint is the address as URL, https://host[:port]; no path.
	Endpoint string `koanf:"endpoint"`
	// Region as the server has it.
	Region string `koanf:"region"`
	// Bucket is the archive bucket.
	Bucket string `koanf:"bucket"`
	// CreateBucket makes the bucket, with versioning and lock, if it is missing.
	CreateBucket bool `koanf:"create_bucket"`
	// AccessKey of the credential for daily work: put, get, list, set retention.
	AccessKey string `koanf:"access_key"`
	// SecretKeyFile holds the secret key of AccessKey.
	SecretKeyFile string `koanf:"secret_key_file"`
	// BypassAccessKey is the credential that may delete versions and bypass
	// GOVERNANCE; only the disposal path uses it. Empty: disposal is off.
	BypassAccessKey string `koanf:"bypass_access_key"`
	// BypassSecretKeyFile holds the secret key of BypassAccessKey.
	BypassSecretKeyFile string `koanf:"bypass_secret_key_file"`
	// CAFile holds PEM certificates that the TLS certificate of the server must
	// lead to; empty: those of the system.
	CAFile string `koanf:"ca_file"`
	// Timeout is the deadline of one call without its body; a body gets more
	// time in proportion to its size.
	Timeout time.Duration `koanf:"timeout"`
	// MaxIdleConns is the number of connections kept open to the server.
	MaxIdleConns int `koanf:"max_idle_conns"`
}

// TSA says which time-stamp authorities are asked (RFC 3161).
type TSA struct {
	// URLs are asked in this order until one answers.
	URLs []string `koanf:"urls"`
	// TrustFile holds the PEM anchors a token must lead to before it is sealed.
	TrustFile string `koanf:"trust_file"`
	// Username and PasswordFile are for authorities with HTTP authentication.
	Username string `koanf:"username"`
	// PasswordFile holds the password of Username.
	PasswordFile string `koanf:"password_file"`
	// CAFile holds PEM certificates for TLS to the authority; empty: the system's.
	CAFile string `koanf:"ca_file"`
	// Timeout is the deadline of one request.
	Timeout time.Duration `koanf:"timeout"`
	// PolicyOID asks for one policy of the authority; empty: its default.
	PolicyOID string `koanf:"policy_oid"`
	// TRESOR puts OCSP responses inside the token, as the BSI profile wants;
	// OpenSSL then needs the second token file of the evidence package.
	TRESOR bool `koanf:"tr_esor"`
}

// HTTP configures the server for people and programs.
type HTTP struct {
	// Addr is host:port to listen on; port 0 picks a free one.
	Addr string `koanf:"addr"`
	// PublicURL is the address people use, where a proxy stands before the
	// server; empty: derived from Addr.
	PublicURL string `koanf:"public_url"`
	// TLSCertFile and TLSKeyFile (PEM) switch TLS on. Both or none.
	TLSCertFile string `koanf:"tls_cert_file"`
	// TLSKeyFile holds the private key to TLSCertFile.
	TLSKeyFile string `koanf:"tls_key_file"`
	// TrustedProxies are addresses or networks (CIDR) whose X-Forwarded-For and
	// X-Forwarded-Proto are believed.
	TrustedProxies []string `koanf:"trusted_proxies"`
	// MaxBody bounds a request body in bytes, uploads of files apart.
	MaxBody Bytes `koanf:"max_body"`
	// ReadHeaderTimeout bounds the reading of a request header.
	ReadHeaderTimeout time.Duration `koanf:"read_header_timeout"`
	// RequestTimeout bounds a request, uploads, downloads and live updates apart.
	RequestTimeout time.Duration `koanf:"request_timeout"`
	// UploadTimeout bounds one upload or download of a file.
	UploadTimeout time.Duration `koanf:"upload_timeout"`
	// IdleTimeout closes a kept connection without requests.
	IdleTimeout time.Duration `koanf:"idle_timeout"`
	// ShutdownTimeout is the time running requests get at a clean stop.
	ShutdownTimeout time.Duration `koanf:"shutdown_timeout"`
	// SessionIdle ends a session without requests.
	SessionIdle time.Duration `koanf:"session_idle"`
	// SessionLifetime ends a session in any case.
	SessionLifetime time.Duration `koanf:"session_lifetime"`
}

// Intake bounds what is taken in. Breaking a bound never stops a batch: the
// one file is rejected or goes to quarantine.
type Intake struct {
	// MaxFile is the size of one file in bytes; more: rejected.
	MaxFile Bytes `koanf:"max_file"`
	// MaxBatch is the size of all files of a batch in bytes; more: rejected.
	MaxBatch Bytes `koanf:"max_batch"`
	// MaxPages is the number of pages of one file; more: quarantine.
	MaxPages int `koanf:"max_pages"`
	// MaxPixels is width times height of one image, checked before decoding.
	MaxPixels int64 `koanf:"max_pixels"`
	// MaxPagePoints is the longest side of a PDF page in points (1/72 inch).
	MaxPagePoints int `koanf:"max_page_points"`
	// PageTimeout bounds one step (render, text, OCR) on one page.
	PageTimeout time.Duration `koanf:"page_timeout"`
	// FileTimeout bounds one step on one file where it has no pages to count.
	FileTimeout time.Duration `koanf:"file_timeout"`
	// ChildMemory bounds what a child process may use to read a foreign PDF; a
	// page that needs more is marked as damaged by its size, never the others.
	ChildMemory Bytes `koanf:"child_memory"`
	// Separators is the scheme of separator sheets where a source has none of
	// its own: evb, patcht or asn.
	Separators string `koanf:"separators"`
	// OCRLanguages are the languages of text recognition, in Tesseract's names.
	OCRLanguages []string `koanf:"ocr_languages"`
	// SpoolDir takes bodies while they are hashed; empty: the system's folder
	// for temporary files. It is emptied at start.
	SpoolDir string `koanf:"spool_dir"`
	// UploadDir keeps unfinished uploads of batches over restarts; several
	// servers share it. Empty: the folder uploads beside the search index.
	UploadDir string `koanf:"upload_dir"`
	// WatchDir is a folder whose batch folders are taken as soon as they hold
	// batch.ok; empty: none.
	WatchDir string `koanf:"watch_dir"`
	// WatchUser is the login on whose behalf they are taken.
	WatchUser string `koanf:"watch_user"`
	// GroupSize is the largest number of documents that share a transaction.
	GroupSize int `koanf:"group_size"`
}

// Roles that a worker process can take, in [Work]. The first four are queues.
const (
	RoleInteractive = "interactive"
	RoleIntake      = "intake"
	RoleBulk        = "bulk"
	RoleRenewal     = "renewal"
	RoleIndex       = "index"
)

// Work configures the worker process.
type Work struct {
	// Addr is host:port where this process answers /healthz, /readyz and
	// /metrics, without TLS; port 0 picks a free one; empty: nowhere.
	Addr string `koanf:"addr"`
	// Roles are what this process does: queues and the search index.
	Roles []string `koanf:"roles"`
	// Concurrency is the number of jobs of each queue at one time.
	Concurrency Concurrency `koanf:"concurrency"`
	// PollInterval is how often an idle queue is looked at; notifications only
	// make it faster.
	PollInterval time.Duration `koanf:"poll_interval"`
	// BlobLease is how long a staged object may wait for its transaction.
	BlobLease time.Duration `koanf:"blob_lease"`
	// FixityPeriod is the time within which every stored object is read back and
	// hashed again.
	FixityPeriod time.Duration `koanf:"fixity_period"`
	// StopTimeout is the time running jobs get at a clean stop.
	StopTimeout time.Duration `koanf:"stop_timeout"`
}

// Concurrency is the number of jobs of each queue that run at one time in one
// process.
type Concurrency struct {
	// Interactive is for work a person waits for.
	Interactive int `koanf:"interactive"`
	// Intake is for text, pages and routing of new documents.
	Intake int `koanf:"intake"`
	// Bulk is for mass changes, exports and rebuilds.
	Bulk int `koanf:"bulk"`
	// Renewal is for the renewal of evidence.
	Renewal int `koanf:"renewal"`
}

// Search configures the full-text index of a process with the role index.
type Search struct {
	// Dir is the folder of the index; it is a cache and can be rebuilt.
	Dir string `koanf:"dir"`
	// Shards is fixed when an index is created; another number means a rebuild.
	Shards int `koanf:"shards"`
	// Timeout bounds one query.
	Timeout time.Duration `koanf:"timeout"`
}

// Seal configures the evidence (RFC 4998).
type Seal struct {
	// Period is how long archive versions are collected before a tree closes.
	Period time.Duration `koanf:"period"`
	// MaxDocuments closes a tree early.
	MaxDocuments int `koanf:"max_documents"`
	// Grace is how long after the time-stamp revocation data is fetched, so that
	// it was issued after the stamp. 0 is right only for the development TSA.
	Grace time.Duration `koanf:"grace"`
	// HashAlgorithm of new trees: sha256, sha384 or sha512.
	HashAlgorithm string `koanf:"hash_algorithm"`
	// AlgorithmPolicy is the name or file of the list of suitable algorithms.
	AlgorithmPolicy string `koanf:"algorithm_policy"`
	// RenewBefore is how long before the end of an algorithm or certificate
	// renewal starts.
	RenewBefore time.Duration `koanf:"renew_before"`
	// PackInterval is the longest time a metadata object waits for its pack.
	PackInterval time.Duration `koanf:"pack_interval"`
}

// Lock configures Object Lock of new objects.
type Lock struct {
	// Initial is set with the put, always in GOVERNANCE.
	Initial time.Duration `koanf:"initial"`
	// Unfiled is kept up, rolling, for documents without a Vorgang.
	Unfiled time.Duration `koanf:"unfiled"`
}

// Tenant has the defaults for new tenants.
type Tenant struct {
	// Default is the short name of the tenant used when neither host name nor
	// token says which; empty: the only one there is.
	Default string `koanf:"default"`
	// Zone is the IANA time zone of local dates.
	Zone string `koanf:"zone"`
}

// Processes configures level 4.
type Processes struct {
	// Webhooks are the addresses that service tasks may call, each as
	// scheme://host[:port]; an empty list allows none.
	Webhooks []string `koanf:"webhooks"`
}

// Tools names the programs that run as child processes.
type Tools struct {
	// Tesseract is the program for text recognition, a name in PATH or a path.
	Tesseract string `koanf:"tesseract"`
	// TessdataDir is the folder of its language files; empty: its own default.
	TessdataDir string `koanf:"tessdata_dir"`
	// CacheDir takes what can be made again (compiled modules); empty: the
	// user's cache folder.
	CacheDir string `koanf:"cache_dir"`
}

// Local configures `evb up`.
type Local struct {
	// Dir is the data folder.
	Dir string `koanf:"dir"`
	// PostgresBin is the folder with initdb and postgres; empty: searched.
	PostgresBin string `koanf:"postgres_bin"`
	// PostgresUser is the system user that the cluster runs as when evb runs as
	// root.
	PostgresUser string `koanf:"postgres_user"`
}

// Log configures the log on stderr.
type Log struct {
	// Level is debug, info, warn or error.
	Level string `koanf:"level"`
	// Format is json (one object a line) or text.
	Format string `koanf:"format"`
}

const day = 24 * time.Hour

// Default returns the configuration that applies where no source says
// otherwise.
func Default() Config {
	return Config{
		Postgres: Postgres{
			MaxConns: 16, ConnectTimeout: 10 * time.Second,
			LockTimeout: 20 * time.Second, IdleInTransactionTimeout: 30 * time.Second,
		},
		S3:  S3{Region: "us-east-1", Bucket: "evb", Timeout: 30 * time.Second, MaxIdleConns: 64},
		TSA: TSA{URLs: []string{}, Timeout: 30 * time.Second},
		HTTP: HTTP{
			Addr: "127.0.0.1:8080", TrustedProxies: []string{}, MaxBody: 2 * MB,
			ReadHeaderTimeout: 10 * time.Second, RequestTimeout: 60 * time.Second, UploadTimeout: time.Hour,
			IdleTimeout: 2 * time.Minute, ShutdownTimeout: 30 * time.Second,
			SessionIdle: time.Hour, SessionLifetime: 12 * time.Hour,
		},
		Intake: Intake{
			MaxFile: 200 * MB, MaxBatch: 4 * GB, MaxPages: 5000, MaxPixels: 150_000_000, MaxPagePoints: 14_400,
			PageTimeout: 10 * time.Second, FileTimeout: 60 * time.Second, ChildMemory: 512 * MiB,
			Separators: "evb", OCRLanguages: []string{"deu"}, GroupSize: 50,
		},
		Work: Work{
			Roles:        []string{RoleInteractive, RoleIntake, RoleBulk, RoleRenewal, RoleIndex},
			Concurrency:  Concurrency{Interactive: 4, Intake: 2, Bulk: 2, Renewal: 1},
			PollInterval: time.Second, BlobLease: time.Hour, FixityPeriod: 365 * day, StopTimeout: 30 * time.Second,
		},
		Search: Search{Shards: 1, Timeout: 10 * time.Second},
		Seal: Seal{
			Period: day, MaxDocuments: 100_000, Grace: day, HashAlgorithm: "sha256",
			AlgorithmPolicy: "etsi-119312-1.5.1", RenewBefore: 180 * day, PackInterval: time.Minute,
		},
		Lock:      Lock{Initial: 7 * day, Unfiled: 90 * day},
		Tenant:    Tenant{Zone: "Europe/Berlin"},
		Processes: Processes{Webhooks: []string{}},
		Tools:     Tools{Tesseract: "tesseract"},
		Local:     Local{Dir: "./data", PostgresUser: "postgres"},
		Log:       Log{Level: "info", Format: "json"},
	}
}
