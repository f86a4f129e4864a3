// Package executor holds the port through which runs execute: a named execution of argv steps in an isolated place.
//
// It promises that an execution starts at most once, ever; that it goes on when the process that started it dies; and that whoever knows
// its name can follow it, stop it and read its outputs until it is removed. What runs is plain data: an adapter knows nothing of OpenTofu.
// Implementations are safe for concurrent use and pass executortest.
package executor

import (
	"context"
	"errors"
	"io"
	"time"
)

// Errors of the port; compare with errors.Is.
var (
	// ErrExists says that the name was used before, whatever became of it.
	ErrExists = errors.New("execution name was already used")
	// ErrLost says that an execution started and vanished without a result: machine restart, killed shim.
	ErrLost = errors.New("execution was lost")
	// ErrRunning says that an execution has not ended.
	ErrRunning = errors.New("execution still runs")
	// ErrAbsent says that no execution of this name was ever started here, or it was removed.
	ErrAbsent = errors.New("execution is not here")
)

// Name identifies an execution: <run>-plan-<attempt> or <run>-apply. Letters, digits and dashes.
type Name string

// Executor starts and follows executions.
type Executor interface {
	// Start returns once the execution is known to run on without us. Errors: ErrExists, or why it could not start; after an error other than
	// ErrExists nothing runs and the name may be used again.
	Start(ctx context.Context, s Spec, secrets Secrets) error
	// Attach copies the raw log from byte offset from on into log until the execution ends, then returns its result. Many may attach.
	// When ctx ends it returns ctx's error and the execution goes on. Errors: ErrLost, ErrAbsent.
	Attach(ctx context.Context, n Name, log io.Writer, from int64) (Result, error)
	// Open reads an output, once the execution ended. Errors: fs.ErrNotExist if it was not produced, ErrAbsent.
	Open(ctx context.Context, n Name, output string) (io.ReadCloser, error)
	// Cancel asks an execution to end: an interrupt to the running step, or with kill a kill of everything in it. It returns at once;
	// Attach tells when it ended. An ended execution is no error. Error: ErrAbsent.
	Cancel(ctx context.Context, n Name, kill bool) error
	// Renew tells an unattended execution that somebody still wants it.
	Renew(ctx context.Context, n Name) error
	// Remove frees what an ended execution holds. The name stays used. An absent one is no error. Error: ErrRunning.
	Remove(ctx context.Context, n Name) error
	// List names every execution that was started and not removed here.
	List(ctx context.Context) ([]Name, error)
}

// Spec is all that an execution needs, but secrets. It is plain data.
type Spec struct {
	Name       Name
	Source     Source
	Inputs     []File   // laid into the work directory before the first step; digests checked
	Steps      []Step   // in order; the first bad exit ends the execution
	Outputs    []string // kept until Remove if they exist: paths relative to the work directory; **/NAME is the first NAME in it or below
	Env        []string // NAME=value, public; the whole environment of the steps together with the Secrets
	Binds      []Bind   // besides the system, read-only unless Write
	Network    Network
	Lends      []Lend // what steps may fetch with credentials that they never see
	Limits     Limits
	Unattended time.Duration // end by itself when nobody renews it for so long; 0 never. Never set on an apply
	Grace      time.Duration // between interrupt and kill when the execution ends itself (time limit, unattended)
}

// Secrets reach the steps of an execution and nothing else: no argv, no file on a disk, no environment of a helper process.
type Secrets struct {
	Env   []string     // NAME=value, part of the steps' environment
	Files []SecretFile // together at most MaxSecretFiles
	Lent  []string     // the value of the header of each of Spec.Lends; no step can read it
}

// SecretFile is a file that the steps can read, and cannot change. It lies in memory, has mode 0400, and is gone when the execution ends.
type SecretFile struct {
	Variable string // of the steps' environment: holds the path
	Content  []byte
}

// MaxSecretFiles is how many bytes the secret files of one execution may have.
const MaxSecretFiles = 4 << 20

// Source is a directory tree that the steps see read-only at /src, with a private writable copy of one directory laid over it.
type Source struct {
	Dir  string // on this machine: the extracted tree
	Work string // relative to Dir: the directory that is copied, laid over and the steps' working directory. "." for the root
}

// File is an input: content from Path on this machine, laid at Name in the work directory with mode 0600.
type File struct {
	Name   string
	Path   string
	SHA256 string // hex; refused when it differs
	Sealed bool   `json:",omitempty"` // it lies at Sealed(Name) instead, where no step can change it
}

// Step is one command.
type Step struct {
	Label   string
	Argv    []string // Argv[0] is an absolute path inside the sandbox, or a name without a slash that is looked for along PATH of Env there
	Without []string // names of variables that the command does not get, whatever Env and Secrets say
	Stdout  string   // an output that takes stdout instead of the log, out of reach of every step; empty: the log
	Seals   string   // an output that is sealed before the step: what it is then is kept, and the step reads it at Sealed
	OK      []int    // exit codes that are no failure; empty: 0 alone
	Lent    bool     // it may fetch with what Spec.Lends lists
	Env     []string // NAME=value, instead of what Spec.Env and Secrets say of these names
}

// SealedAt is the directory in which steps read what was sealed, inputs and outputs. No step can write there.
const SealedAt = "/run/planlatch-sealed"

// Sealed is where steps read an input, or an output, that is sealed. Everything in the work directory may be changed at any time by what an earlier step left
// running; what lies here is what is kept. Names have no slash.
func Sealed(output string) string { return SealedAt + "/" + output }

// Bind makes a path of this machine visible at the same path.
type Bind struct {
	Path  string
	Write bool
}

// Network says what the steps can reach. Loopback, metadata addresses and the server's own addresses are closed in every mode, whatever name
// leads to them, but for those that Allow has as exactly this address and port (or as localhost). Package reach reads the entries.
type Network struct {
	Mode  NetworkMode
	Allow []string // host:port reachable in every mode, loopback included; *.name:port and network/bits:port in NetworkAllowList alone
	Deny  []string // networks that are closed in NetworkOpen, and to names in the others
}

// Lend is a place that steps with Lent can read from. The credential is added outside of the execution, to nothing but a request that reads
// below URL, so that neither the steps nor anything they start can learn it or use it for more.
type Lend struct {
	Name      string // for people
	Kind      LendKind
	URL       string   // https://host/dir/ for all below it, or https://host/repository.git
	InsteadOf []string // of kind git: beginnings of other addresses that mean URL, as git@host:dir/
	Header    string   // of the request that has the credential: Authorization, PRIVATE-TOKEN
}

// LendKind is how a place is read.
type LendKind string

// The kinds of lends.
const (
	LendGit   LendKind = "git"   // git fetch, whatever address of it the steps use; every sandbox can do it
	LendHTTPS LendKind = "https" // GET and HEAD by any program that believes SSL_CERT_FILE; it needs a network namespace
)

// NetworkMode is how far a run can reach.
type NetworkMode string

// The modes of a network.
const (
	NetworkOpen      NetworkMode = "open"       // everything, but for what is closed
	NetworkAllowList NetworkMode = "allow_list" // what Allow lists; names are looked up anew for each connection. Other names do not exist
	NetworkNone      NetworkMode = "none"       // the single targets of Allow, whose names are looked up when the execution starts
)

// Limits bound an execution; zero means no limit of that kind.
type Limits struct {
	Wall      time.Duration
	Memory    int64 // bytes
	Processes int
	Files     int   // open in one process
	Disk      int64 // bytes in the run directory
	Inodes    int   // files and directories there
	Log       int64 // bytes of raw log
}

// Result is how an execution ended.
type Result struct {
	Steps   []StepResult
	Ended   End
	Reason  string // one sentence for people when Ended is not EndExit
	Outputs []Artifact
}

// OK says whether every step ran and none failed.
func (r Result) OK(steps int) bool {
	if r.Ended != EndExit || len(r.Steps) != steps {
		return false
	}
	for _, s := range r.Steps {
		if !s.OK {
			return false
		}
	}
	return true
}

// StepResult is one step's end. Exit is -1 when a signal ended it.
type StepResult struct {
	Label   string
	Exit    int
	OK      bool
	Started time.Time
	Took    time.Duration
}

// Artifact is an output that exists.
type Artifact struct {
	Name   string
	Size   int64
	SHA256 string
}

// KilledOnRequest is the Reason of an execution that ended by Cancel with kill.
const KilledOnRequest = "killed on request"

// End is what ended an execution.
type End string

// What can end an execution.
const (
	EndExit      End = "exit"     // the steps ran, or one failed by its own exit code
	EndCanceled  End = "canceled" // Cancel
	EndKilled    End = "killed"   // Cancel with kill, or a grace that ran out
	EndTimeout   End = "timeout"
	EndMemory    End = "memory"
	EndDisk      End = "disk"
	EndLog       End = "log"
	EndLost      End = "lost"  // nobody renewed it, or somebody outside killed it
	EndStart     End = "start" // a step's program could not be started
	EndProcesses End = "processes"
	EndFiles     End = "files"  // open ones
	EndInodes    End = "inodes" // files and directories that it made
)
