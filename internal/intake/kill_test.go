package intake_test

func victim() int { return 0 }
