package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

func TestProcessCheckSaysWhatIsNeededAndWhatIsUnsupported(t *testing.T) {
	const head = `<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL"><process id="p"><startEvent id="s"/>`
	const tail = `<endEvent id="e"/><sequenceFlow id="f" sourceRef="s" targetRef="x"/><sequenceFlow id="g" sourceRef="x" targetRef="e"/></process></definitions>`
	for name, tc := range map[string]struct {
		xml                string
		exit               int
		executable         bool
		needs, unsupported string
	}{
		"executable": {head + `<task id="x"/>` + tail, exitOK, true, "x", ""},
		"script":     {head + `<scriptTask id="x"><script>1</script></scriptTask>` + tail, exitFindings, false, "", "x"},
		"no BPMN":    {`<html/>`, exitFindings, false, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "f.bpmn")
			if err := os.WriteFile(file, []byte(tc.xml), 0o600); err != nil {
				t.Fatal(err)
			}
			var out, msg bytes.Buffer
			if code := execute(t.Context(), []string{"process", "check", file, "--json"}, streams{Out: &out, Err: &msg}); code != tc.exit {
				t.Errorf("exit %d, %s", code, msg.String())
			}
			var got struct {
				Executable  bool                                   `json:"executable"`
				ProcessIDs  []string                               `json:"process_ids"`
				Needs       []struct{ ID, Element, What string }   `json:"needs"`
				Unsupported []struct{ ID, Element, Reason string } `json:"unsupported"`
			}
			if err := json.Unmarshal(out.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if got.Executable != tc.executable || got.ProcessIDs == nil || got.Needs == nil || got.Unsupported == nil {
				t.Errorf("%s", out.String())
			}
			if tc.needs != "" && (len(got.Needs) != 1 || got.Needs[0].ID != tc.needs || got.Needs[0].What != "station") {
				t.Errorf("needs %+v", got.Needs)
			}
			if tc.exit != exitOK && (len(got.Unsupported) != 1 || got.Unsupported[0].ID != tc.unsupported || got.Unsupported[0].Reason == "") {
				t.Errorf("unsupported %+v", got.Unsupported)
			}
		})
	}
	if code := execute(t.Context(), []string{"process", "check", "/does/not/exist"}, streams{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}); code != exitUsage {
		t.Errorf("a file that is not there: exit %d", code)
	}
}
