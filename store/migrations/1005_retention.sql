-- When retention removed the log, or the plan file, of a run; 0 while they are there.
ALTER TABLE runs ADD COLUMN log_gone BIGINT NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN plan_gone BIGINT NOT NULL DEFAULT 0;
CREATE INDEX runs_log_kept ON runs (finished, id) WHERE NOT live AND log_gone = 0;
CREATE INDEX runs_plan_kept ON runs (finished, id) WHERE NOT live AND plan_gone = 0;
CREATE INDEX runs_reviewed ON runs (reviewed) WHERE live AND reviewed <> '';
CREATE INDEX deliveries_received ON deliveries (received);
-- Why a node starts no run.
ALTER TABLE nodes ADD COLUMN note TEXT NOT NULL DEFAULT '';
