package netns

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// The largest question that is read, and how long a connection to the name service may be idle.
const (
	questionLimit = 4096
	questionTime  = 10 * time.Second
)

// answer serves look-ups over UDP.
func (n *Network) answer(f *os.File) error {
	conn, err := net.FilePacketConn(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	n.sockets = append(n.sockets, conn)
	n.work.Go(func() {
		buffer := make([]byte, questionLimit)
		for {
			size, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return // closed with the execution
			}
			if a := n.zone.Answer(buffer[:size]); a != nil {
				_, _ = conn.WriteTo(a, from) // who asked may be gone
			}
		}
	})
	return nil
}

// answerStream serves look-ups over one TCP connection.
func (n *Network) answerStream(conn net.Conn) {
	for {
		if conn.SetDeadline(time.Now().Add(questionTime)) != nil {
			return
		}
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		question := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, question); err != nil {
			return
		}
		a := n.zone.Answer(question)
		if a == nil {
			return
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...)); err != nil {
			return
		}
	}
}
