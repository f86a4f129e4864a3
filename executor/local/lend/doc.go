// Package lend lets a hostile program read from places that need a credential, without the credential: the program speaks to a relay, and the
// relay, which lives where the program cannot look, asks the real server with the credential added.
//
// It promises that a credential leaves only towards the host of its place, over a connection whose certificate was verified (or over plain
// HTTP where the place says so), only while the relay is open, and only on requests that read below the place: of git the upload-pack half of
// its smart protocol and nothing else; of other places GET and HEAD. A path that two programs could read differently (dots, doubled slashes,
// encoded separators, parameters) never carries a credential. Redirects go back to the program, which follows them without it. Cookies and
// authentication headers of the server are dropped.
//
// It leaves to callers who may connect: whoever reaches the relay while it is open can read what the credential can read below the place.
// A Relay is safe for concurrent use. Its values are given once, before it is opened.
package lend
