package local_test

func starterMain([]string) (int, bool) { return 0, false }
