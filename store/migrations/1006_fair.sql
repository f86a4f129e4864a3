-- The place of a waiting run in the fair order, given when it begins to wait: see place in store/place.go.
ALTER TABLE runs ADD COLUMN place BIGINT NOT NULL DEFAULT 0;
UPDATE runs SET place = ordinal;
-- Most runs of its pull request at once, 0 for no limit; and whether somebody looks at its pull request when its plan has settled.
ALTER TABLE runs ADD COLUMN parallel BIGINT NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN recheck BOOLEAN NOT NULL DEFAULT FALSE;
-- project, pull and parallel ride along so that a run which cannot go is skipped without reading its row.
DROP INDEX runs_waiting;
CREATE INDEX runs_waiting ON runs (waiting, place, created, id, project, pull, parallel) WHERE waiting > 0;
CREATE INDEX runs_crowd ON runs (repo, waiting, created) WHERE waiting > 0;
