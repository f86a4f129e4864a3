// Package policy judges plans: it loads policy sets written in Rego, evaluates them on a plan's JSON with OPA, and says what they found.
//
// It promises three things. A set that cannot be loaded, compiled or evaluated, that runs out of time or memory, or that answers in a
// form nobody can read is a hard finding with the reason, never a pass: [Engine.Judge] returns no error that a caller could drop, and
// every such case goes through one function. The same plan, context and sets give the same findings in the same order, because built-in
// functions whose result depends on anything else (network, environment, clock, chance) do not exist for policies. And the digest of a
// [Judgement] changes whenever a set that applied could have judged differently.
//
// It leaves to callers what follows from the findings: the verdict, overrides and gates. It reads files only in [Load] and [Test].
//
// An [Engine] is immutable and may be used by any number of goroutines. The convention that rules follow, and the input they see, are
// in docs/policies.md.
package policy
