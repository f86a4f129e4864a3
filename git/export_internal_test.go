package git

// TreeNames shows the parser of tree objects to its fuzz test.
func TreeNames(b []byte, sha256 bool) ([]string, error) {
	size := 20
	if sha256 {
		size = 32
	}
	t, err := parseTree(b, size, 1000)
	var names []string
	for _, e := range t.entries {
		names = append(names, e.name)
	}
	return names, err
}
