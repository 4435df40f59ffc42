package demo

import _ "embed"

// ProcessKey is the process that the demo ships (level 4).
const ProcessKey = "Gewerbemeldung"

//go:embed gewerbemeldung.bpmn
var gewerbemeldung []byte

// Process is its BPMN file, ours, with its diagram. It leaves nothing open.
func Process() []byte { return gewerbemeldung }
