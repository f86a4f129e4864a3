# A plan that deletes or replaces many resources is more often a mistake (a renamed module, a wrong workspace) than a wish.
package planlatch.baseline

import data.planlatch.plan

finding contains {
	"rule": "blast-radius",
	"message": sprintf("the plan deletes or replaces %d resources, more than the %d that settings.blast_radius allows", [gone, data.settings.blast_radius]),
	"fix": "Split the change, or write moved blocks if resources were only renamed.",
	"value": gone,
} if {
	gone := count(plan.removed)
	gone > data.settings.blast_radius
}
