package media_test

import (
	"os"
	"testing"

	"evb/internal/media/mediatest"
)

// TestMain makes the test binary its own child, as cmd/evb does.
func TestMain(m *testing.M) {
	if code, child := mediatest.Child(); child {
		os.Exit(code)
	}
	os.Exit(m.Run())
}
