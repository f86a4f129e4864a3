// Package project finds the projects of a repository and says which of them a change touches, and why.
//
// A project is a root module directory plus a workspace. They are discovered from the code, or listed in planlatch.yaml. [Select] decides
// from two trees (the merge result and the base) and the changed files; it runs nothing, writes nothing and reaches no network. What it
// reads was written by whoever opened the pull request, so every read is bounded, no path leaves the tree (also not through a symlink), and
// nothing the head says can loosen what judges it: keys that gate are read from the base alone.
//
// Bad input is data, not an error: it comes back as [run.Problem] with file, line, column and the way to fix it. An error means that a tree
// could not be read, and is worth a retry.
//
// Functions are safe for concurrent use as far as the file systems given to them are.
package project
