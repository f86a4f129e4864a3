-- What a run comes after: the projects of its revision that it depends on, and by its turn the earlier merges into its branch.
CREATE TABLE run_after (
	run TEXT NOT NULL REFERENCES runs (id),
	project BIGINT NOT NULL REFERENCES projects (id),
	PRIMARY KEY (run, project)
);
ALTER TABLE runs ADD COLUMN turn BIGINT NOT NULL DEFAULT 0;
CREATE INDEX runs_live ON runs (project) WHERE live;
