-- What a run costs must not grow with the runs that its repository or its project had before it.
CREATE INDEX runs_unsaved ON runs (repo, created) WHERE unsaved;
CREATE INDEX runs_merges ON runs (project, kind, id) WHERE kind = 'merge';
CREATE INDEX runs_applied ON runs (project, state, id) WHERE state = 'applied';
