package project

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// member is a candidate with all it is made from.
type member struct {
	candidate
	closure
	state   string // backendIdentity, once asked for
	reasons []string
	more    int // further files that touch it
}

// maxReasons is how many files are named for one project.
const maxReasons = 10

func (m *member) because(reason string) {
	switch {
	case slices.Contains(m.reasons, reason):
	case len(m.reasons) < maxReasons:
		m.reasons = append(m.reasons, reason)
	default:
		m.more++
	}
}

// why are the reasons, with a count of those left out.
func (m *member) why() []string {
	if m.more == 0 {
		return m.reasons
	}
	return append(slices.Clone(m.reasons), fmt.Sprintf("and %d more", m.more))
}

// index finds the projects that a file belongs to, by looking at the file's directories rather than at every project.
type index struct {
	t       *tree
	members []*member
	own     map[string][]int       // by directory: the projects that are planned
	sorted  []string               // the directories of own
	skipped map[string][]int       // by directory: those that are not
	modules map[string][]moduleUse // by module directory
	files   map[string][]read
	globs   []read
	owners  map[string]bool // directories that files belong to: those with configuration, and modules that are missing
}

// moduleUse is one project's use of a module.
type moduleUse struct {
	member int
	via    string
}

// read is one project's dependency on a path or glob.
type read struct {
	member int
	dependency
}

func newIndex(t *tree, members []*member) *index {
	x := &index{t: t, members: members, own: map[string][]int{}, skipped: map[string][]int{}, modules: map[string][]moduleUse{}, files: map[string][]read{}, owners: map[string]bool{}}
	for _, dir := range t.configDirs() {
		x.owners[dir] = true
	}
	for i, m := range members {
		x.owners[m.dir] = true
		if m.candidate.skipped == "" {
			x.own[m.dir] = append(x.own[m.dir], i)
		} else {
			x.skipped[m.dir] = append(x.skipped[m.dir], i)
		}
		for _, u := range m.modules {
			x.owners[u.dir] = true
			x.modules[u.dir] = append(x.modules[u.dir], moduleUse{i, u.via})
		}
		for _, d := range m.files {
			x.files[d.path] = append(x.files[d.path], read{i, d})
		}
		for _, d := range m.globs {
			x.globs = append(x.globs, read{i, d})
		}
		if m.entry != nil {
			for _, f := range relative(m.dir, slices.Concat(m.entry.VarFiles, slices.DeleteFunc(slices.Clone(m.entry.BackendConfig), isPair))) {
				x.files[f] = append(x.files[f], read{i, dependency{f, "is given to"}})
			}
			for _, p := range relative(m.dir, m.entry.WhenModified) {
				x.globs = append(x.globs, read{i, dependency{p, "matches when_modified of"}})
			}
		}
	}
	x.sorted = sortedKeys(x.own)
	x.followLinks()
	return x
}

// followLinks makes what a symlink leads to a dependency of the projects that the symlink belongs to.
func (x *index) followLinks() {
	for _, link := range sortedKeys(x.t.links) {
		if x.t.failed() {
			return
		}
		target, err := x.t.resolve(link)
		if err != nil {
			continue
		}
		d := dependency{target, "a symlink leads to"}
		seen := map[int]bool{}
		for _, i := range x.below(link) {
			seen[i] = true
		}
		for _, u := range x.modules[x.owner(link)] {
			seen[u.member] = true
		}
		for _, i := range sortedKeys(seen) {
			x.files[target] = append(x.files[target], read{i, d})
			x.members[i].files = append(x.members[i].files, d)
		}
	}
}

// below are the projects in whose directory a path lies. Nested projects take what is theirs.
func (x *index) below(name string) []int {
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		if members := x.own[dir]; len(members) > 0 {
			return members
		}
		if dir == "." {
			return nil
		}
	}
}

// owner is the nearest directory with configuration that a path lies in.
func (x *index) owner(name string) string {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if x.owners[dir] {
			return dir
		}
	}
	return "."
}

// touch gives every project that a change touches its reason.
func (x *index) touch(c Change) {
	x.touchPath(c.Path, c)
	if c.Old != "" && c.Old != c.Path {
		x.touchPath(c.Old, c)
	}
}

func (x *index) touchPath(name string, c Change) {
	named := map[int]bool{} // the nearest reason is enough
	say := func(i int, reason string) {
		if !named[i] {
			named[i] = true
			x.members[i].because(reason)
		}
	}
	owner := x.owner(name)
	for _, i := range slices.Concat(x.below(name), x.skipped[owner]) {
		say(i, name+" "+happened(name, c))
	}
	x.touchPins(name, say, c)
	for _, u := range x.modules[owner] {
		way := ""
		if u.via != "" {
			way = " (through " + u.via + ")"
		}
		say(u.member, fmt.Sprintf("uses %s%s, where %s %s", owner, way, strings.TrimPrefix(name, owner+"/"), happened(name, c)))
	}
	for at := name; at != "."; at = path.Dir(at) {
		for _, r := range x.files[at] {
			say(r.member, readReason(name, c, r.reason, x.members[r.member]))
		}
	}
	for i, r := range x.globs {
		if i%1000 == 999 && x.t.failed() {
			return
		}
		if matchGlob(r.path, name) {
			say(r.member, readReason(name, c, r.reason, x.members[r.member]))
		}
	}
}

// readReason speaks of a file outside the project: "shared/policy.json changed, which is read by infra/network".
func readReason(name string, c Change, how string, m *member) string {
	if how == "a symlink leads to" {
		return fmt.Sprintf("%s %s, where a symlink leads", name, happened(name, c))
	}
	return fmt.Sprintf("%s %s, which %s %s", name, happened(name, c), how, m.label)
}

// touchPins handles the version files above a project.
func (x *index) touchPins(name string, say func(int, string), c Change) {
	if !isVersionFile(path.Base(name)) {
		return
	}
	dir := path.Dir(name)
	for i, m := range x.members {
		if x.t.failed() {
			return
		}
		if m.dir == dir || !within(dir, m.dir) {
			continue
		}
		p, ok := x.t.pin(m.dir, "", "")
		gone := c.Kind == Deleted || c.Old == name
		if gone || ok && p.file == name {
			say(i, name+" "+happened(name, c)+", which pins its tool")
		}
	}
}

// happened says what became of a path.
func happened(name string, c Change) string {
	switch c.Kind {
	case Added:
		return "was added"
	case Deleted:
		return "was deleted"
	case Renamed:
		if name == c.Old {
			return "was moved to " + c.Path
		}
		return "was moved from " + c.Old
	case Modified, TypeChanged:
	}
	return "changed"
}

// inputs are the paths whose objects tell whether a project would be planned the same way again. "!dir" takes a nested project out. The
// root of the repository stands for not knowing better.
func (x *index) inputs(m *member) []string {
	const most = 300
	if m.unsure {
		return []string{"."}
	}
	paths := []string{m.dir}
	known := func(p string) bool {
		return slices.ContainsFunc(paths, func(dir string) bool { return within(dir, p) })
	}
	used := map[string]bool{}
	add := func(p string) {
		used[p] = true
		if !known(p) {
			paths = append(paths, p)
		}
	}
	for _, u := range m.modules {
		add(u.dir)
	}
	for _, d := range m.files {
		if _, ok := x.t.exists(d.path); ok {
			add(d.path)
		}
	}
	globs := m.globs
	if m.entry != nil {
		for _, p := range relative(m.dir, m.entry.WhenModified) {
			globs = append(globs, dependency{path: p})
		}
		for _, f := range relative(m.dir, slices.Concat(m.entry.VarFiles, slices.DeleteFunc(slices.Clone(m.entry.BackendConfig), isPair))) {
			add(f)
		}
	}
	for _, g := range globs {
		dir, _ := doublestar.SplitPattern(g.path)
		add(dir)
	}
	if p, ok := x.t.pin(m.dir, "", ""); ok {
		add(p.file)
	}
	if len(paths) > most {
		return []string{"."}
	}
	return append(paths, x.nested(m, used)...)
}

// nested lists the projects below a project's directory, as exclusions, unless something of theirs is used.
func (x *index) nested(m *member, used map[string]bool) []string {
	var out []string
	taken := map[string]bool{}
	dirs := x.sorted
	if m.dir != "." { // those below it stand together
		from, _ := slices.BinarySearch(dirs, m.dir+"/")
		to, _ := slices.BinarySearch(dirs, m.dir+"0") // the byte after a slash
		dirs = dirs[from:to]
	}
	for _, dir := range dirs {
		if x.t.failed() {
			return nil
		}
		inside := false
		for at := path.Dir(dir); at != "." && !inside; at = path.Dir(at) {
			inside = taken[at]
		}
		if dir == m.dir || inside {
			continue
		}
		needed := false
		for p := range used {
			needed = needed || within(dir, p) || within(p, dir)
		}
		if !needed {
			taken[dir] = true
			out = append(out, "!"+dir)
		}
	}
	return out
}
