-- {{id}} and {{bytes}} differ between the engines; all else is common. Times are microseconds since 1970 in UTC, 0 for none, so that both
-- engines keep and compare them alike. pull = 0 means "no pull request".
CREATE TABLE repos (
	id {{id}},
	host TEXT NOT NULL,
	host_id TEXT NOT NULL,
	name TEXT NOT NULL,
	default_branch TEXT NOT NULL,
	named BIGINT NOT NULL,
	UNIQUE (host, host_id)
);
CREATE INDEX repos_name ON repos (host, name);

CREATE TABLE pulls (
	id {{id}},
	repo BIGINT NOT NULL REFERENCES repos (id),
	number BIGINT NOT NULL,
	state TEXT NOT NULL,
	draft BOOLEAN NOT NULL,
	fork BOOLEAN NOT NULL,
	title TEXT NOT NULL,
	url TEXT NOT NULL,
	author TEXT NOT NULL,
	head_sha TEXT NOT NULL,
	head_branch TEXT NOT NULL,
	base_branch TEXT NOT NULL,
	merge_commit TEXT NOT NULL,
	merged_by TEXT NOT NULL,
	frozen {{bytes}},
	updated BIGINT NOT NULL,
	UNIQUE (repo, number)
);
CREATE INDEX pulls_open ON pulls (repo, head_sha) WHERE state = 'open';

CREATE TABLE revisions (
	id {{id}},
	repo BIGINT NOT NULL REFERENCES repos (id),
	pull BIGINT NOT NULL,
	branch TEXT NOT NULL,
	origin TEXT NOT NULL, -- "pull 7" or "branch main": what makes a revision unique beside its commits
	head TEXT NOT NULL,
	base TEXT NOT NULL,
	tree TEXT NOT NULL,
	kind TEXT NOT NULL,
	problems TEXT NOT NULL,
	selection TEXT NOT NULL,
	notes TEXT NOT NULL,
	created BIGINT NOT NULL,
	UNIQUE (repo, origin, head, base, kind)
);
CREATE INDEX revisions_pull ON revisions (pull, kind, id);
CREATE INDEX revisions_branch ON revisions (repo, branch, kind);
CREATE INDEX revisions_head ON revisions (head);

CREATE TABLE projects (
	id {{id}},
	repo BIGINT NOT NULL REFERENCES repos (id),
	dir TEXT NOT NULL,
	workspace TEXT NOT NULL,
	label TEXT NOT NULL,
	identity TEXT NOT NULL,
	UNIQUE (repo, dir, workspace)
);

CREATE TABLE runs (
	id TEXT NOT NULL PRIMARY KEY,
	repo BIGINT NOT NULL REFERENCES repos (id),
	revision BIGINT NOT NULL REFERENCES revisions (id),
	pull BIGINT NOT NULL,
	project BIGINT NOT NULL REFERENCES projects (id),
	label TEXT NOT NULL,
	dir TEXT NOT NULL,
	work TEXT NOT NULL,
	kind TEXT NOT NULL,
	cause TEXT NOT NULL,
	actor TEXT NOT NULL,
	ordinal BIGINT NOT NULL,
	settings TEXT NOT NULL,
	state TEXT NOT NULL CHECK (state IN ('queued', 'planning', 'planned', 'unchanged', 'confirmed', 'applying', 'applied', 'failed',
		'interrupted', 'canceled', 'superseded')),
	live BOOLEAN NOT NULL, -- not in a final state
	waiting BIGINT NOT NULL CHECK (waiting IN (0, 1, 2)), -- 1 for an apply, 2 for a plan, 0 for nothing: the head of the fair order
	epoch BIGINT NOT NULL CHECK (epoch > 0),
	reason TEXT NOT NULL,
	node TEXT NOT NULL,
	execution TEXT NOT NULL,
	attempt BIGINT NOT NULL,
	deadline BIGINT NOT NULL,
	stop TEXT NOT NULL,
	stop_why TEXT NOT NULL,
	reviewed TEXT NOT NULL,
	tool TEXT NOT NULL,
	partial BOOLEAN NOT NULL,
	posted BIGINT NOT NULL,
	inputs_digest TEXT NOT NULL,
	plan_digest TEXT NOT NULL,
	effect_digest TEXT NOT NULL,
	policy_digest TEXT NOT NULL,
	blobs TEXT NOT NULL,
	counts TEXT NOT NULL,
	unsaved BOOLEAN NOT NULL,
	no_backend BOOLEAN NOT NULL,
	created BIGINT NOT NULL,
	started BIGINT NOT NULL,
	planned BIGINT NOT NULL,
	confirmed BIGINT NOT NULL,
	confirmed_by TEXT NOT NULL,
	apply_started BIGINT NOT NULL,
	finished BIGINT NOT NULL,
	moved BIGINT NOT NULL, -- when the row was last written
	UNIQUE (revision, project, cause)
);
-- The fair order; project and pull ride along so that a run of a busy project is skipped without reading its row.
CREATE INDEX runs_waiting ON runs (waiting, ordinal, created, id, project, pull) WHERE waiting > 0;
CREATE INDEX runs_running ON runs (node) WHERE state IN ('planning', 'applying');
CREATE INDEX runs_pull ON runs (pull, live);
CREATE INDEX runs_project ON runs (project, created);
CREATE INDEX runs_repo ON runs (repo, created);
CREATE INDEX runs_state ON runs (state, created);
CREATE INDEX runs_created ON runs (created, id);

-- The primary key is the mutual exclusion.
CREATE TABLE slots (
	project BIGINT NOT NULL PRIMARY KEY REFERENCES projects (id),
	run TEXT NOT NULL REFERENCES runs (id)
);
CREATE TABLE holds (
	project BIGINT NOT NULL PRIMARY KEY REFERENCES projects (id),
	pull BIGINT NOT NULL REFERENCES pulls (id),
	since BIGINT NOT NULL
);
CREATE INDEX holds_pull ON holds (pull);

CREATE TABLE nodes (
	id TEXT NOT NULL PRIMARY KEY,
	name TEXT NOT NULL,
	seen BIGINT NOT NULL
);

CREATE TABLE findings (
	id {{id}},
	run TEXT NOT NULL REFERENCES runs (id),
	rule_set TEXT NOT NULL,
	rule TEXT NOT NULL,
	level TEXT NOT NULL,
	detail TEXT NOT NULL
);
CREATE INDEX findings_run ON findings (run, id);

CREATE TABLE overrides (
	id {{id}},
	pull BIGINT NOT NULL REFERENCES pulls (id),
	project BIGINT NOT NULL REFERENCES projects (id),
	rule_set TEXT NOT NULL,
	rule TEXT NOT NULL,
	resource TEXT NOT NULL,
	value TEXT NOT NULL,
	effect TEXT NOT NULL,
	policy TEXT NOT NULL,
	actor TEXT NOT NULL,
	reason TEXT NOT NULL,
	at BIGINT NOT NULL
);
CREATE INDEX overrides_pull ON overrides (pull, id);

CREATE TABLE deliveries (
	host TEXT NOT NULL,
	id TEXT NOT NULL,
	event {{bytes}},
	received BIGINT NOT NULL,
	outcome TEXT NOT NULL,
	PRIMARY KEY (host, id)
);

CREATE TABLE postings (
	id {{id}},
	kind TEXT NOT NULL,
	repo BIGINT NOT NULL REFERENCES repos (id),
	pull BIGINT NOT NULL,
	subject TEXT NOT NULL,
	run TEXT NOT NULL,
	body TEXT NOT NULL,
	wanted BIGINT NOT NULL,
	posted BIGINT NOT NULL,
	digest TEXT NOT NULL,
	external TEXT NOT NULL,
	attempts BIGINT NOT NULL,
	next_at BIGINT NOT NULL,
	dead BOOLEAN NOT NULL,
	error TEXT NOT NULL,
	UNIQUE (kind, repo, subject)
);
CREATE INDEX postings_due ON postings (next_at, id) WHERE wanted > posted;

-- Every comment that was ever ours, also after a posting got a new one.
CREATE TABLE comments (
	repo BIGINT NOT NULL,
	comment TEXT NOT NULL,
	PRIMARY KEY (repo, comment)
);

CREATE TABLE logs (
	run TEXT NOT NULL REFERENCES runs (id),
	phase TEXT NOT NULL,
	upto BIGINT NOT NULL,
	PRIMARY KEY (run, phase)
);
CREATE TABLE log_chunks (
	run TEXT NOT NULL REFERENCES runs (id),
	phase TEXT NOT NULL,
	upto BIGINT NOT NULL,
	body {{bytes}} NOT NULL,
	PRIMARY KEY (run, phase, upto)
);

CREATE TABLE audit (
	id {{id}},
	at BIGINT NOT NULL,
	actor TEXT NOT NULL,
	action TEXT NOT NULL,
	repo BIGINT NOT NULL,
	pull BIGINT NOT NULL,
	run TEXT NOT NULL,
	outcome TEXT NOT NULL,
	detail TEXT NOT NULL
);
CREATE INDEX audit_repo ON audit (repo, id);
CREATE INDEX audit_pull ON audit (pull, id);

CREATE TABLE pauses (
	selector TEXT NOT NULL PRIMARY KEY,
	actor TEXT NOT NULL,
	reason TEXT NOT NULL,
	at BIGINT NOT NULL
);

CREATE TABLE marks (
	name TEXT NOT NULL PRIMARY KEY,
	value TEXT NOT NULL
);

-- When a job of Every was last asked for.
CREATE TABLE periods (
	kind TEXT NOT NULL,
	subject TEXT NOT NULL,
	at BIGINT NOT NULL,
	PRIMARY KEY (kind, subject)
);

-- Jobs that were asked for while they ran, and so must run once more.
CREATE TABLE wakes (
	job BIGINT NOT NULL PRIMARY KEY
);
