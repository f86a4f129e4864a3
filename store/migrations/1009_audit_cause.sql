-- A command is written down once, however often the delivery that brought it is handled.
ALTER TABLE audit ADD COLUMN cause TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX audit_cause ON audit (repo, cause) WHERE cause <> '';
