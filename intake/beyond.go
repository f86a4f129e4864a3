package intake

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/planlatch/planlatch/git"
	"github.com/planlatch/planlatch/run"
)

// patience is how long the projects of one pull request may take to be found. The largest repositories take seconds; one that is made to
// take longer must not keep others waiting.
const patience = 2 * time.Minute

// errPatience ends a search for projects.
var errPatience = errors.New("its projects could not be found in " + patience.String())

// beyond is what to tell the pull request of an error that is its own doing: what is in it is more than is taken here, or no tree that git
// writes. ok is false for every other error.
func beyond(err error) (p run.Problem, ok bool) {
	if errors.Is(err, errPatience) {
		return run.Problem{Message: errPatience.Error(), Fix: "list them in planlatch.yaml, leave directories out with discover.ignore, or split the repository"}, true
	}
	limit, ok := errors.AsType[*git.LimitError](err)
	if !ok {
		return p, false
	}
	p = run.Problem{File: limit.Path, Message: limit.What, Fix: limit.Fix}
	if at, ok := errors.AsType[*fs.PathError](err); ok && p.File == "" {
		p.File = fmt.Sprintf("%.200s", at.Path)
	}
	return p, true
}
