package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"evb/internal/client"
	"evb/internal/fault"
	"evb/internal/rules"
)

func newRulesCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "rules", Short: "Regelwerke der Verteilung / rule sets of routing", Args: cobra.NoArgs}
	var o serverFlags
	check := &cobra.Command{
		Use:   "check FILE",
		Short: "prüft ein Regelwerk / checks a rule set",
		Long: `Prüft ein Regelwerk (JSON) auf Form, Bedingungen und Logik. Mit --server oder --data werden
auch die Namen geprüft (Postkörbe, Personen, Akten, Stellen). Es wird nichts gespeichert.
Checks a rule set (JSON): form, conditions, logic; with --server or --data also its names.

Rückgabewerte / exit codes: 0 ohne Befund, 1 mit Befunden, 2 falscher Aufruf, 4 Server antwortet nicht`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRulesCheck(cmd.Context(), o, args[0], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.register(check.Flags())
	var r serverFlags
	var draft, since string
	rehearse := &cobra.Command{
		Use:   "rehearse --draft ID --since DATE",
		Short: "probt einen Entwurf an vergangener Post, ohne etwas zu ändern / rehearses a draft on past mail",
		Long: `Sagt, wohin die seit einem Tag eingegangene Post ginge, wenn der Entwurf in Kraft wäre.
Es wird nichts geändert.
Tells where the mail since a day would go if the draft were in force. Nothing is changed.

Rückgabewerte / exit codes: 0 erledigt, 1 mit Konflikten oder nicht auswertbaren Bedingungen, 2 falscher Aufruf, 4 Server antwortet nicht`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if draft == "" || since == "" {
				return usageError("Geben Sie --draft und --since an.", "--draft and --since are needed")
			}
			return runRulesRehearse(cmd.Context(), r, draft, since, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	r.register(rehearse.Flags())
	rehearse.Flags().StringVar(&draft, "draft", "", "Kennung des Entwurfs / id of the draft")
	rehearse.Flags().StringVar(&since, "since", "", "Tag (2026-01-31) oder Zeitpunkt / day or moment")
	cmd.AddCommand(check, rehearse)
	return cmd
}

// ruleFinding is a finding as the server and this command print it.
type ruleFinding struct {
	Code     string `json:"code"`
	Severity string `json:"severity"`
	Rule     string `json:"rule"`
	Line     int    `json:"line"`
	Column   int    `json:"column"`
	Text     struct {
		DE string `json:"de"`
		EN string `json:"en"`
	} `json:"text"`
}

type rulesChecked struct {
	OK       bool          `json:"ok"`
	Findings []ruleFinding `json:"findings"`
}

func runRulesCheck(ctx context.Context, o serverFlags, file string, out, errOut io.Writer) error {
	raw, err := readLimited(file, rules.MaxJSON)
	if err != nil {
		return usageError(fmt.Sprintf("%s ist nicht lesbar: %v", file, plainError(err)), file+" cannot be read")
	}
	result, err := checkRules(ctx, o, raw, errOut)
	if err != nil {
		return err
	}
	if o.JSON {
		if err := writeJSON(out, result); err != nil {
			return err
		}
	} else {
		for _, f := range result.Findings {
			where := f.Rule
			if f.Line > 0 {
				where += fmt.Sprintf(":%d:%d", f.Line, f.Column)
			}
			kind := "Fehler/error"
			if f.Severity == string(rules.Warning) {
				kind = "Hinweis/warning"
			}
			fmt.Fprintf(errOut, "%s %s: %s\n     %s\n", kind, where, f.Text.DE, f.Text.EN)
		}
		if len(result.Findings) == 0 {
			fmt.Fprintln(errOut, "ohne Befund / no findings")
		}
	}
	if len(result.Findings) > 0 {
		return &exitError{Code: exitFindings}
	}
	return nil
}

// checkRules checks here, or by the server where one is named.
func checkRules(ctx context.Context, o serverFlags, raw []byte, errOut io.Writer) (rulesChecked, error) {
	result := rulesChecked{OK: true, Findings: []ruleFinding{}}
	set, err := rules.Parse(raw)
	if err != nil { // the file is the finding
		f, ok := fault.As(err)
		if !ok {
			return result, &exitError{Code: exitFindings, Err: err}
		}
		x := ruleFinding{Code: f.Code, Severity: string(rules.Error)}
		x.Text.DE, x.Text.EN = f.Text("de"), f.Text("en")
		return rulesChecked{Findings: []ruleFinding{x}}, nil
	}
	if o.Server != "" || o.Data != "" {
		c, err := o.client(ctx, errOut)
		if err != nil {
			return result, err
		}
		answer, err := c.RulesCheck(ctx, raw)
		if err != nil {
			return result, commandError(err)
		}
		return result, json.Unmarshal(answer, &result)
	}
	lang, err := rules.NewLanguage()
	if err != nil {
		return result, err
	}
	for _, f := range lang.Check(set, nil) {
		x := ruleFinding{Code: f.Code[len("finding-"):], Severity: string(f.Severity), Rule: f.Rule, Line: f.Line, Column: f.Column}
		x.Text.DE, x.Text.EN = f.Text("de"), f.Text("en")
		result.Findings = append(result.Findings, x)
		result.OK = result.OK && f.Severity != rules.Error
	}
	return result, nil
}

func runRulesRehearse(ctx context.Context, o serverFlags, draft, since string, out, errOut io.Writer) error {
	c, err := o.client(ctx, errOut)
	if err != nil {
		return err
	}
	r, raw, err := c.RulesRehearse(ctx, draft, since)
	if err != nil {
		return commandError(err)
	}
	if o.JSON {
		if err := writeJSON(out, raw); err != nil {
			return err
		}
	} else {
		printRehearsal(errOut, r)
	}
	if r.ConflictsTotal > 0 || r.ErrorsTotal > 0 {
		return &exitError{Code: exitFindings}
	}
	return nil
}

func printRehearsal(w io.Writer, r client.Rehearsal) {
	fmt.Fprintf(w, "Dokumente / documents: %d, anders als bisher / changed: %d\n", r.Documents, r.ChangedTotal)
	for _, t := range r.Targets() {
		fmt.Fprintf(w, "  %-40s %6d\n", t, r.PerTarget[t])
	}
	for _, c := range r.Changed[:min(len(r.Changed), 50)] {
		fmt.Fprintf(w, "%s  %s → %s  (%s)\n", c.DokumentID, c.From, c.To, c.Rule)
	}
	if r.ChangedTotal > 50 {
		fmt.Fprintf(w, "... %d weitere, mit --json / more, with --json\n", r.ChangedTotal-50)
	}
	for _, t := range append(r.Conflicts, r.Errors...) {
		fmt.Fprintf(w, "Klärung / clearing: %s  %v: %s\n", t.DokumentID, t.Rules, t.What)
	}
}
