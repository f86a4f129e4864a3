-- An attempt of a plan was given up because its node fell silent, and may still be at work there: what it locked is not ours to free.
ALTER TABLE runs ADD COLUMN stray BOOLEAN NOT NULL DEFAULT FALSE;
-- The digest of the reviewed effect of which a plan is the rest, after an apply that did some of it.
ALTER TABLE runs ADD COLUMN rest_of TEXT NOT NULL DEFAULT '';
