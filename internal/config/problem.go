package config

import (
	"errors"
	"fmt"
	"strings"
)

// Text is a sentence in German and English.
type Text struct{ DE, EN string }

// Problem is one thing wrong with the configuration.
type Problem struct {
	// Code is stable for machines: unknown-key, malformed, missing, ...
	Code string `json:"code"`
	// Key is the setting, as section.key, or the name of the variable or file.
	Key string `json:"key"`
	// Place is where it stands: file:line, variable or flag; empty: nowhere.
	Place string `json:"place,omitempty"`
	// Cause says what is wrong, Remedy what to do.
	Cause  Text `json:"cause"`
	Remedy Text `json:"remedy"`
	// Warning: the program starts nevertheless.
	Warning bool `json:"warning"`
}

// German is the problem as one line.
func (p Problem) German() string { return p.line(p.Cause.DE, p.Remedy.DE) }

// English is the problem as one line.
func (p Problem) English() string { return p.line(p.Cause.EN, p.Remedy.EN) }

func (p Problem) line(cause, remedy string) string {
	var b strings.Builder
	if p.Place != "" && p.Place != p.Key {
		b.WriteString(p.Place + ": ")
	}
	b.WriteString(p.Key + ": " + cause)
	if remedy != "" {
		b.WriteString(" " + remedy)
	}
	return b.String()
}

// Error lists everything that keeps the program from starting.
type Error struct{ Problems []Problem }

// Error gives a line per problem, in German.
func (e *Error) Error() string {
	lines := make([]string, 0, len(e.Problems))
	for _, p := range e.Problems {
		lines = append(lines, p.German())
	}
	return strings.Join(lines, "\n")
}

// English gives a line per problem, in English.
func (e *Error) English() string {
	lines := make([]string, 0, len(e.Problems))
	for _, p := range e.Problems {
		lines = append(lines, p.English())
	}
	return strings.Join(lines, "\n")
}

func unreadable(path string, err error) Problem {
	return Problem{
		Code: "file-unreadable", Key: path,
		Cause:  Text{fmt.Sprintf("Die Datei lässt sich nicht lesen (%v).", err), fmt.Sprintf("The file cannot be read (%v).", err)},
		Remedy: Text{"Prüfen Sie Pfad und Leserecht.", "Check the path and the right to read it."},
	}
}

func notYAML(path string, err error) Problem {
	return Problem{
		Code: "file-malformed", Key: path,
		Cause:  Text{fmt.Sprintf("Der Inhalt ist kein gültiges YAML (%v).", err), fmt.Sprintf("The content is not valid YAML (%v).", err)},
		Remedy: Text{"Vergleichen Sie mit deploy/evb.example.yaml.", "Compare it with deploy/evb.example.yaml."},
	}
}

func notASection(key, place string) Problem {
	if key == "" {
		key = "(root)"
	}
	return Problem{
		Code: "malformed", Key: key, Place: place,
		Cause:  Text{"Hier muss ein Abschnitt mit Schlüsseln stehen.", "A section with keys must stand here."},
		Remedy: Text{"Vergleichen Sie mit deploy/evb.example.yaml.", "Compare it with deploy/evb.example.yaml."},
	}
}

func duplicate(key, place string, first int) Problem {
	return Problem{
		Code: "duplicate-key", Key: key, Place: place,
		Cause:  Text{fmt.Sprintf("Der Schlüssel steht schon in Zeile %d.", first), fmt.Sprintf("The key stands in line %d already.", first)},
		Remedy: Text{"Streichen Sie eine der beiden Zeilen.", "Remove one of the two lines."},
	}
}

func noValue(key, place string) Problem {
	return Problem{
		Code: "malformed", Key: key, Place: place,
		Cause:  Text{"Der Schlüssel hat keinen einfachen Wert.", "The key has no plain value."},
		Remedy: Text{`Geben Sie einen Wert an, für leeren Text "", oder streichen Sie die Zeile.`, `Give a value, "" for an empty text, or remove the line.`},
	}
}

func unknown(key, place, near string) Problem {
	p := Problem{
		Code: "unknown-key", Key: key, Place: place,
		Cause:  Text{"Diese Einstellung gibt es nicht.", "There is no such setting."},
		Remedy: Text{"Alle Einstellungen stehen in deploy/evb.example.yaml.", "deploy/evb.example.yaml lists all settings."},
	}
	if near != "" {
		p.Remedy = Text{fmt.Sprintf("Meinten Sie %s?", near), fmt.Sprintf("Did you mean %s?", near)}
	}
	return p
}

// badValue says in both languages why a value has not the form of its type.
type badValue Text

// Error is the English text.
func (b badValue) Error() string { return b.EN }

func bad(de, en string, value any) error {
	return badValue{DE: fmt.Sprintf(de, value), EN: fmt.Sprintf(en, value)}
}

func malformed(key, place string, err error) Problem {
	why, ok := errors.AsType[badValue](err)
	if !ok {
		why = badValue{DE: err.Error(), EN: err.Error()}
	}
	return Problem{
		Code: "malformed", Key: key, Place: place,
		Cause:  Text{"Der Wert ist nicht lesbar: " + why.DE + ".", "The value cannot be read: " + why.EN + "."},
		Remedy: Text{"Die richtige Form steht in deploy/evb.example.yaml.", "deploy/evb.example.yaml shows the right form."},
	}
}
