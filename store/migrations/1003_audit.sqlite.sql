-- Audit rows are only ever added: whoever can make the server write cannot make it forget.
CREATE TRIGGER audit_unchanged BEFORE UPDATE ON audit BEGIN
	SELECT RAISE(ABORT, 'audit rows are append-only');
END;
CREATE TRIGGER audit_kept BEFORE DELETE ON audit BEGIN
	SELECT RAISE(ABORT, 'audit rows are append-only');
END;
CREATE INDEX audit_run ON audit (run, id);
CREATE INDEX audit_actor ON audit (actor, id);
