// Package redact is the one way out: whatever a run says passes through it before it reaches a log, a comment, a chat, a page or a metric.
//
// It promises that a known secret does not leave in the clear: as it is, line by line, in base64 at any alignment, URL-escaped or
// JSON-escaped, also when it arrives in pieces, or wrapped, indented and framed as tools print what has blanks. When text goes on tells nothing of secrets that its
// writer does not have. Every byte that belongs to any occurrence is withheld; occurrences that overlap become one
// [Mark], so the longest match always wins. The work is linear in the text, whatever the text and the secrets are.
//
// It leaves to callers which secrets there are; [Sensitive] finds those that a plan marks. Secrets shorter than [MinLength] characters are
// not redacted by value: they would blacken ordinary words. Text that a program transforms on purpose (reversed, spelled out) is not found;
// that is what keeping credentials away from untrusted code is for.
//
// A [Set] is read-only and safe for concurrent use; a [Writer] belongs to one goroutine.
package redact
