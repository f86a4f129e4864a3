package gitea

import "net"

// Answers says whether anything listens at a server's URL.
func Answers(url string) bool {
	conn, err := net.Dial("tcp", url[len("http://"):])
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
