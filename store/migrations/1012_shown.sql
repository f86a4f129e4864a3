-- Since when the report of a revision stands on the host: a maintainer's word on a stranger's pull request is for the head that it shows. What
-- was reported before is as if it had been at once.
ALTER TABLE revisions ADD COLUMN posted BIGINT NOT NULL DEFAULT 0;
UPDATE revisions SET posted = created WHERE pull <> 0;
