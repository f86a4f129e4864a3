// Package git keeps a bare mirror of every repository and answers questions from it, by executing git (2.39 or later).
//
// It promises:
//   - Nothing a pull request contains is executed, and none of it becomes a flag, a path of the data directory or a line of configuration:
//     mirrors are named by a hash, commits are passed as object ids only, refs are stored under hashed names, hooks are off, configuration
//     of machine and user is ignored, and protocols are https and http (file only when [Options] say so).
//   - A credential reaches git by a socket that one child inherits, is handed out for the scheme and host it was given for and no other,
//     and never stands in argv, in an environment, in a URL, in configuration or on disk.
//   - Two processes never fetch into one mirror at a time. Reads need no lock and may run beside a fetch.
//   - What is extracted is byte for byte what was committed: .gitattributes have no say, since blobs are read directly.
//
// Callers bound the time with the context; each operation has its own limit besides. The methods are safe for concurrent use by goroutines
// and processes; an [FS] serialises its own reads.
package git
