package scan_test

func victim(string) int { return 2 }
