// Command planlatch-shim is the small program that owns and walls in one execution of the local executor. The server finds it beside itself
// and executes it in its own stead, because executing the server once more costs twenty times as much. It is not for people.
package main

import (
	"fmt"
	"os"

	"github.com/planlatch/planlatch/executor/local/shim"
)

func main() {
	exit, isShim := shim.Main(os.Args)
	if !isShim {
		_, _ = fmt.Fprintln(os.Stderr, "planlatch-shim is started by planlatch itself; run planlatch instead") // nothing can be done about a closed stderr
		exit = 2
	}
	os.Exit(exit)
}
