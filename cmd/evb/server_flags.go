package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"evb/internal/client"

	"github.com/spf13/pflag"
)

// serverFlags say which server a command speaks to, and as whom.
type serverFlags struct {
	Server string
	Token  string
	CA     string
	Data   string
	User   string
	JSON   bool
}

// tokenEnv keeps a token out of the list of processes.
const tokenEnv = "EVB_TOKEN"

func (o *serverFlags) register(f *pflag.FlagSet) {
	f.StringVar(&o.Server, "server", "", "Adresse des Servers, http://HOST:PORT / address of the server")
	f.StringVar(&o.Token, "token", "", "API-Token, sonst aus der Umgebung "+tokenEnv+" / API token, else from the environment")
	f.StringVar(&o.CA, "ca", "", "weitere Zertifizierungsstelle (PEM) für https / further root for https")
	f.StringVar(&o.Data, "data", "", "Datenordner: findet den dort laufenden Server, statt --server und --token / data folder, finds the server that runs there")
	f.StringVar(&o.User, "as", "", "mit --data: im Namen dieser Person oder dieses Dienstkontos handeln / with --data: act as this user")
	f.BoolVar(&o.JSON, "json", false, "Ergebnis als JSON auf der Standardausgabe / result as JSON on standard output")
}

// asTokenTTL is how long the token of --as works.
const asTokenTTL = 24 * time.Hour

// client makes the client of the flags; what is wrong with them is wrong use.
func (o *serverFlags) client(ctx context.Context, errOut io.Writer) (*client.Client, error) {
	opts := client.Options{Waiting: func(err error) {
		fmt.Fprintf(errOut, "Der Server antwortet gerade nicht, es wird gewartet / waiting for the server: %v\n", err)
	}}
	if o.CA != "" {
		b, err := readLimited(o.CA, 16<<20)
		if err != nil {
			return nil, usageError(fmt.Sprintf("%s ist nicht lesbar: %v", o.CA, plainError(err)), o.CA+" cannot be read")
		}
		opts.CAs = b
	}
	if o.Data != "" {
		if o.Server != "" || o.Token != "" {
			return nil, usageError("Entweder --data oder --server mit --token, nicht beides.", "either --data, or --server with --token, not both")
		}
		c, err := client.FromData(o.Data, opts)
		switch {
		case errors.Is(err, client.ErrNoServer):
			return nil, &exitError{Code: exitUnreachable, Err: fmt.Errorf("Auf dem Datenordner %s läuft kein Server. Start: evb up --data %s\n     no server runs on the data folder %s", o.Data, o.Data, o.Data)} //nolint:staticcheck // a sentence for people
		case err != nil:
			return nil, usageError(fmt.Sprintf("Der Datenordner %s ist nicht verwendbar: %v", o.Data, err), fmt.Sprintf("the data folder %s cannot be used", o.Data))
		}
		if o.User == "" {
			return c, nil
		}
		token, err := c.CreateToken(ctx, client.TokenRequest{User: o.User, Label: "evb --as", TTLSeconds: int64(asTokenTTL / time.Second)})
		if err != nil {
			return nil, commandError(err)
		}
		return client.New(c.Server(), token, opts)
	}
	if o.User != "" {
		return nil, usageError("--as geht nur zusammen mit --data.", "--as works with --data only")
	}
	if o.Token == "" {
		o.Token = os.Getenv(tokenEnv)
	}
	if o.Server == "" || o.Token == "" {
		return nil, usageError("Geben Sie --server und --token an, oder --data.", "--server and --token are needed, or --data")
	}
	c, err := client.New(o.Server, o.Token, opts)
	if err != nil {
		return nil, usageError(fmt.Sprintf("--server: %v", err), "--server is no address")
	}
	return c, nil
}

// commandError gives an error of the client its exit code: 4 where somebody does
// not answer, 2 where the server refuses what was asked, else 1.
func commandError(err error) error {
	if err == nil {
		return nil
	}
	var exit *exitError
	if errors.As(err, &exit) {
		return err
	}
	var answer *client.Error
	switch {
	case errors.As(err, &answer):
		code := exitUsage
		switch {
		case errors.Is(err, client.ErrUnreachable), answer.Status == http.StatusTooManyRequests:
			code = exitUnreachable
		case answer.Status >= 500:
			code = exitFindings
		}
		if answer.Status >= 500 && answer.RequestID != "" {
			err = fmt.Errorf("%w\n     Vorgangsnummer / request id: %s", err, answer.RequestID)
		}
		return &exitError{Code: code, Err: err}
	case errors.Is(err, client.ErrUnreachable):
		return &exitError{Code: exitUnreachable, Err: fmt.Errorf("Der Server ist nicht erreichbar / the server cannot be reached: %w", err)} //nolint:staticcheck // a sentence for people
	case errors.Is(err, context.Canceled):
		return &exitError{Code: exitUndecided, Err: errors.New("abgebrochen / interrupted")}
	}
	return &exitError{Code: exitFindings, Err: err}
}

// writeJSON writes the one JSON document of a command.
func writeJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return &exitError{Code: exitFindings, Err: err}
	}
	return nil
}
