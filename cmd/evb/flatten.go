package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// flatten turns a JSON document into lines "path value" in the order of the
// document, for people who look at a status without a JSON tool.
func flatten(raw json.RawMessage) ([][2]string, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var lines [][2]string
	var walk func(path string) error
	walk = func(path string) error {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		switch v := t.(type) {
		case json.Delim:
			for i := 0; dec.More(); i++ {
				next := fmt.Sprintf("%s[%d]", path, i)
				if v == '{' {
					key, err := dec.Token()
					if err != nil {
						return err
					}
					if next = fmt.Sprint(key); path != "" {
						next = path + "." + next
					}
				}
				if err := walk(next); err != nil {
					return err
				}
			}
			_, err := dec.Token()
			return err
		case nil:
			lines = append(lines, [2]string{path, "-"})
		default:
			lines = append(lines, [2]string{path, fmt.Sprint(v)})
		}
		return nil
	}
	if err := walk(""); err != nil && err != io.EOF { //nolint:errorlint // the decoder returns it as it is
		return nil, err
	}
	return lines, nil
}
