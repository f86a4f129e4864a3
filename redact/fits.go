package redact

// mostBytes is how many bytes the forms of a plan's secrets may have together. Each takes some twenty bytes of memory once they are compiled.
const mostBytes = 16 << 20

// leastForms is how many bytes of forms there are at least for each byte of a secret.
const leastForms = 8

// Fits says whether secrets that somebody else chose can be compiled with the memory of a server: a plan may mark as much as it likes.
func Fits(secrets []string) bool {
	left := mostBytes
	for _, secret := range secrets {
		if len(secret) > left/leastForms { // not even tried: forms are strings, too
			return false
		}
		for _, form := range forms(secret) {
			left -= len(form)
		}
		if left < 0 {
			return false
		}
	}
	return true
}
