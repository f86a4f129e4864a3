-- The state that a plan is of, and so who applied to which: a project that names another one's state does not apply.
ALTER TABLE runs ADD COLUMN identity TEXT NOT NULL DEFAULT '';
UPDATE runs SET identity = (SELECT p.identity FROM projects AS p WHERE p.id = runs.project) WHERE apply_started > 0 OR live;
CREATE INDEX runs_appliers ON runs (identity, project, apply_started) WHERE apply_started > 0;
CREATE INDEX runs_applies ON runs (project, apply_started, identity) WHERE apply_started > 0;
