package run_test

import (
	"time"

	"github.com/planlatch/planlatch/run"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func a(state run.State) run.Run {
	return run.Run{
		ID: "01A", Repo: 1, Revision: 7, Pull: 5, Project: 3, Label: "network", Kind: run.KindChange, State: state, Epoch: 4,
		Settings: run.Settings{Apply: run.ApplyBeforeMerge, Lock: run.LockApply},
	}
}

func snapshot(runs ...run.Run) run.Snapshot {
	return run.Snapshot{Now: now, Runs: runs, Slots: map[run.ProjectID]run.ID{}, Holds: map[run.ProjectID]run.PullID{}}
}

var owner = run.Owner{Node: "n1", Deadline: now.Add(time.Hour)}

var open = []run.Gate{{Name: run.GatePlanned, Holds: true}}
