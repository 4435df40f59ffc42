package main

import (
	"context"
	"fmt"
	"html"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// searchOptions are the flags of "evb search".
type searchOptions struct {
	serverFlags
	Limit int
}

func newSearchCommand() *cobra.Command {
	var o searchOptions
	cmd := &cobra.Command{
		Use:     "search TEXT...",
		Short:   "sucht mit den Rechten des Tokens / searches with the rights of the token",
		Example: "  evb search --server http://127.0.0.1:8080 --token T bauantrag zaun",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runSearch(cmd.Context(), o, strings.Join(args, " "), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.register(cmd.Flags())
	cmd.Flags().IntVar(&o.Limit, "limit", 20, "höchstens so viele Treffer / at most so many hits")
	return cmd
}

func runSearch(ctx context.Context, o searchOptions, text string, out, errOut io.Writer) error {
	c, err := o.client(ctx, errOut)
	if err != nil {
		return err
	}
	page, raw, err := c.Search(ctx, text, o.Limit, "")
	if err != nil {
		return commandError(err)
	}
	if o.JSON {
		return writeJSON(out, raw)
	}
	for _, it := range page.Items {
		if _, err := fmt.Fprintf(out, "%s  %s  %s\n", it.DokumentID, it.Aktenzeichen, it.Subject); err != nil {
			return commandError(err)
		}
		for _, h := range it.Highlights {
			fmt.Fprintln(out, "    "+plainText(h))
		}
	}
	fmt.Fprintf(errOut, "%d Treffer / hits\n", page.Total)
	if page.Behind {
		fmt.Fprintf(errOut, "Der Suchindex ist auf dem Stand von %s / the index is behind\n", page.IndexedUntil.Format("2006-01-02 15:04:05Z"))
	}
	return nil
}

// plainText shows a highlight on a terminal: marks as [ ], and no control
// character of a letter reaches the terminal.
func plainText(fragment string) string {
	s := html.UnescapeString(strings.NewReplacer("<mark>", "[", "</mark>", "]").Replace(fragment))
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}
