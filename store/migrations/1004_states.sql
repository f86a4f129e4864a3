-- Two projects of one state never run together: the slot of one keeps out the other.
ALTER TABLE slots ADD COLUMN identity TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX slots_identity ON slots (identity) WHERE identity <> '';
CREATE INDEX projects_identity ON projects (identity) WHERE identity <> '';
