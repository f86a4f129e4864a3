// Package report turns what planlatch knows about a revision into what people read: the comment of a pull request, the result of an apply,
// statuses, answers to commands.
//
// It promises that the answer stands first and danger before detail; that the same [View] always gives the same text; that a text fits the
// limit it was asked for, with every fence and fold closed; and that whatever a pull request can influence is data: it cannot mention
// anybody, link, load an image, run a command of the host, hide characters or pass for one of our markers. There is one function for each
// place where data can stand (escape.go), and nothing is written past them.
//
// It leaves redaction of the plan to the function given to [ReadPlan], and redaction of logs to whoever stored them. It is pure: no I/O, no
// clock. All functions are safe for concurrent use.
package report
