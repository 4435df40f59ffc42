package cms

// Result is the answer to one question about evidence. There is no fourth one:
// a question that was not asked has no [Check].
type Result string

// The results, in the words of reports.
const (
	// Pass: the question was answered and the answer is good.
	Pass Result = "pass"
	// Fail: the question was answered and the answer is bad.
	Fail Result = "fail"
	// Indeterminate: material is missing, or an algorithm cannot be computed.
	Indeterminate Result = "indeterminate"
)

// Check is one answered question.
type Check struct {
	// Name is stable for machines, lower case with hyphens.
	Name string `json:"name"`
	// Clause is the place in the standard that asks it.
	Clause string `json:"clause"`
	Result Result `json:"result"`
	// Detail is one line for people, in English; it may be empty on pass.
	Detail string `json:"detail,omitempty"`
}

// Worst is Fail if any check failed, else Indeterminate if any is, else Pass.
func Worst(checks []Check) Result {
	worst := Pass
	for _, c := range checks {
		switch c.Result {
		case Fail:
			return Fail
		case Indeterminate:
			worst = Indeterminate
		case Pass:
		}
	}
	return worst
}
