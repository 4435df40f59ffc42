// Package archtest holds the test of the import rules: which package may know
// which. A new package needs a line here, so nobody adds a drawer unseen.
package archtest

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// may lists, for each package, the packages of this module it may import. The
// order of the lines is the order of the layers: a line may only name packages
// from lines above it.
const may = `
signature/newfile
signature/digest
signature/hashtree    signature/digest
signature/cms         signature/digest
signature/tsp         signature/cms signature/digest
signature/xmldoc
signature/ers         signature/cms signature/digest signature/hashtree signature/tsp signature/xmldoc
signature/evidence    signature/cms signature/digest signature/ers signature/hashtree signature/tsp signature/newfile
signature/aip         signature/digest signature/ers signature/evidence signature/xmldoc
signature/tsa         signature/cms signature/digest signature/tsp signature/newfile
storage
storage/layout        storage
storage/s3            storage storage/layout
search
search/gendict        search
migrations
internal/fault
internal/failpoint
internal/telemetry
internal/form          internal/fault
internal/bpmn          internal/fault
internal/bpmn/run      internal/bpmn
internal/config
internal/group
internal/words
internal/wholefile
internal/access       internal/fault
internal/localstack/pg internal/wholefile
internal/localstack/s3d internal/wholefile storage/s3
internal/postgres     internal/access internal/fault migrations
internal/calendar     internal/fault internal/postgres
internal/job          internal/access internal/fault internal/postgres
internal/event        internal/access internal/fault internal/job internal/postgres
internal/media/batchindex
internal/media        internal/media/batchindex
internal/org          internal/access internal/calendar internal/event internal/fault internal/postgres
internal/blob         internal/access internal/event internal/failpoint internal/fault internal/group internal/job internal/postgres signature/digest storage storage/layout
internal/idempotency  internal/access internal/fault internal/job internal/postgres
internal/akte         internal/access internal/event internal/fault internal/form internal/idempotency internal/postgres
internal/annotation   internal/access internal/akte internal/event internal/fault internal/idempotency internal/postgres
internal/postkorb     internal/access internal/akte internal/event internal/fault internal/idempotency internal/postgres
internal/intake       internal/access internal/akte internal/blob internal/event internal/failpoint internal/fault internal/group internal/idempotency internal/job internal/media internal/postgres
internal/scan/folder  internal/fault internal/media/batchindex
internal/scan         internal/access internal/akte internal/blob internal/event internal/failpoint internal/fault internal/idempotency internal/intake internal/job internal/media internal/media/batchindex internal/postgres internal/scan/folder internal/wholefile
internal/extract      internal/access internal/akte internal/blob internal/event internal/failpoint internal/fault internal/job internal/media internal/postgres
internal/rules        internal/access internal/akte internal/event internal/fault internal/idempotency internal/org internal/postgres internal/postkorb internal/words
internal/routing      internal/access internal/akte internal/blob internal/event internal/fault internal/job internal/postgres internal/postkorb internal/words internal/rules internal/org
internal/indexing     internal/telemetry internal/access internal/akte internal/blob internal/event internal/fault internal/postgres search storage storage/layout
internal/preservation internal/access internal/akte internal/blob internal/event internal/failpoint internal/fault internal/job internal/postgres signature/cms signature/digest signature/ers signature/evidence signature/hashtree signature/tsp storage storage/layout
internal/circulation  internal/access internal/akte internal/event internal/fault internal/idempotency internal/postgres internal/postkorb internal/preservation
internal/substitution internal/access internal/event internal/fault internal/idempotency internal/postgres
internal/leaver       internal/access internal/akte internal/circulation internal/event internal/fault internal/postgres internal/postkorb internal/substitution
internal/export       internal/access internal/akte internal/annotation internal/blob internal/event internal/fault internal/postgres internal/preservation signature/digest signature/evidence storage
internal/audit        internal/access internal/event internal/fault internal/postgres internal/preservation storage storage/layout
internal/lists        internal/access internal/akte internal/event internal/fault internal/postgres internal/postkorb
internal/process      internal/form internal/access internal/akte internal/bpmn internal/bpmn/run internal/calendar internal/circulation internal/event internal/fault internal/idempotency internal/job internal/postgres
internal/letter       internal/access internal/akte internal/blob internal/bpmn internal/calendar internal/fault internal/intake internal/postgres internal/process
internal/find         internal/access internal/event internal/fault internal/indexing internal/postgres search
internal/web/problem  internal/fault internal/telemetry
internal/web/ui       internal/access internal/extract internal/lists internal/postgres internal/preservation internal/akte internal/fault internal/find internal/postkorb internal/web/problem
internal/web          internal/form internal/process internal/bpmn internal/access internal/akte internal/annotation internal/audit internal/blob internal/circulation internal/event internal/export internal/extract internal/fault internal/find internal/idempotency internal/indexing internal/intake internal/job internal/lists internal/media internal/org internal/postgres internal/postkorb internal/preservation internal/routing internal/scan internal/telemetry internal/web/problem internal/web/ui search internal/rules internal/calendar internal/leaver internal/substitution
internal/demo/gen
internal/scenario
internal/organisation internal/access internal/akte internal/fault internal/org internal/postgres internal/postkorb internal/rules
internal/demo         internal/access internal/org internal/organisation internal/rules
internal/client       internal/fault internal/scan/folder internal/wholefile
internal/app          internal/letter internal/process internal/bpmn internal/access internal/akte internal/annotation internal/audit internal/blob internal/circulation internal/client internal/config internal/demo internal/event internal/export internal/extract internal/failpoint internal/fault internal/find internal/idempotency internal/indexing internal/intake internal/job internal/lists internal/localstack/pg internal/localstack/s3d internal/media internal/org internal/organisation internal/postgres internal/postkorb internal/preservation internal/routing internal/scan internal/scan/folder internal/telemetry internal/web migrations search signature/cms signature/digest signature/tsa signature/tsp storage storage/s3 internal/wholefile internal/rules internal/leaver internal/substitution
cmd/evb               internal/app internal/bpmn internal/client internal/config internal/failpoint internal/fault internal/job internal/localstack/s3d internal/media internal/organisation internal/postgres internal/scan/folder internal/telemetry signature/aip signature/cms signature/digest signature/ers signature/evidence internal/rules
`

// home names the only folders whose packages may import a third-party module.
var home = map[string][]string{
	"github.com/jackc/pgx/":         {"internal/"},
	"github.com/minio/minio-go/":    {"storage/s3"},
	"github.com/blevesearch/bleve/": {"search"},
	"github.com/gorilla/mux":        {"internal/web"},
	"github.com/riverqueue/river":   {"internal/job"},
	"github.com/versity/versitygw":  {"internal/localstack/s3d"},
	"github.com/spf13/cobra":        {"cmd/"},
	"github.com/rickar/cal/":        {"internal/calendar"},
	"github.com/santhosh-tekuri/":   {"internal/form"},
}

// help says that a package helps tests: its name ends in test. Such packages
// may know everything, and nothing but tests may know them.
func help(pkg string) bool { return strings.HasSuffix(pkg, "test") }

func TestPackagesImportOnlyWhatStandsAboveThem(t *testing.T) {
	allowed := map[string][]string{}
	for line := range strings.Lines(strings.TrimSpace(may)) {
		f := strings.Fields(line)
		for _, dep := range f[1:] {
			if _, ok := allowed[dep]; !ok {
				t.Errorf("%s may import %s, which stands below it or has no line", f[0], dep)
			}
		}
		allowed[f[0]] = f[1:]
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "evb/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		pkg := strings.TrimPrefix(p.ImportPath, "evb/")
		for _, imp := range p.Imports {
			if strings.HasPrefix(imp, "evb/") && help(imp) && !help(pkg) {
				t.Errorf("%s must not import %s, which is for tests", pkg, imp)
			}
		}
		if help(pkg) {
			continue
		}
		deps, known := allowed[pkg]
		if !known {
			t.Errorf("package %s has no line in the table", pkg)
		}
		for _, imp := range p.Imports {
			if dep, ours := strings.CutPrefix(imp, "evb/"); ours && !slices.Contains(deps, dep) {
				t.Errorf("%s must not import %s", pkg, dep)
			}
			for mod, dirs := range home {
				if strings.HasPrefix(imp, mod) && !slices.ContainsFunc(dirs, func(d string) bool { return strings.HasPrefix(pkg, d) }) {
					t.Errorf("%s must not import %s, which is for %v", pkg, imp, dirs)
				}
			}
		}
	}
}
