package project

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// LockFile is the name of the tools' dependency lock file.
const LockFile = ".terraform.lock.hcl"

// Lock is one provider that a lock file selects.
type Lock struct {
	Host        string // registry.opentofu.org, with its port if it has one
	Namespace   string
	Type        string
	Version     string   // exact
	Constraints string   // what the code asked for when it was selected
	Hashes      []string // checksums of the packages that may be used, each with its scheme: h1:…, zh:…
}

// Address is how the tools name the provider: host/namespace/type.
func (l Lock) Address() string { return l.Host + "/" + l.Namespace + "/" + l.Type }

// The parts of a lock become paths, and text of configurations that we write.
var (
	lockHost = regexp.MustCompile(`^[a-z0-9]+(-+[a-z0-9]+)*(\.[a-z0-9]+(-+[a-z0-9]+)*)*(:[0-9]{1,5})?$`)
	lockName = regexp.MustCompile(`^[a-z0-9]+([_-]+[a-z0-9]+)*$`)
	lockRule = regexp.MustCompile(`^[0-9A-Za-z.,<>=!~ +*-]*$`)
	lockHash = regexp.MustCompile(`^[a-z0-9]{1,8}:[A-Za-z0-9+/=]{1,128}$`)
)

const (
	maxLockBytes = 1 << 20
	maxLocks     = 1000
)

var lockSchema = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "provider", LabelNames: []string{"address"}}}}

var lockBody = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "version", Required: true}, {Name: "constraints"}, {Name: "hashes"}}}

// ReadLocks reads a lock file. What it does not know is an error, so that a file that it returns can be written again without loss but for
// comments and order.
func ReadLocks(src []byte) ([]Lock, error) {
	if len(src) > maxLockBytes {
		return nil, fmt.Errorf("%s is larger than %d bytes", LockFile, maxLockBytes)
	}
	file, diags := parseNative(src, LockFile)
	if diags.HasErrors() {
		return nil, diags
	}
	content, diags := file.Body.Content(lockSchema)
	if diags.HasErrors() {
		return nil, diags
	}
	if len(content.Blocks) > maxLocks {
		return nil, fmt.Errorf("%s has more than %d providers", LockFile, maxLocks)
	}
	var locks []Lock
	for _, b := range content.Blocks {
		l, err := readLock(b)
		if err != nil {
			return nil, fmt.Errorf("%s line %d: %w", LockFile, b.DefRange.Start.Line, err)
		}
		if slices.ContainsFunc(locks, func(o Lock) bool { return o.Address() == l.Address() }) {
			return nil, fmt.Errorf("%s line %d: %s is there twice", LockFile, b.DefRange.Start.Line, l.Address())
		}
		locks = append(locks, l)
	}
	return locks, nil
}

func readLock(b *hcl.Block) (Lock, error) {
	var l Lock
	parts := strings.Split(b.Labels[0], "/")
	if len(parts) != 3 || !lockHost.MatchString(parts[0]) || !lockName.MatchString(parts[1]) || !lockName.MatchString(parts[2]) {
		return l, fmt.Errorf("%.100q is not the whole address of a provider", b.Labels[0])
	}
	l.Host, l.Namespace, l.Type = parts[0], parts[1], parts[2]
	body, diags := b.Body.Content(lockBody)
	if diags.HasErrors() {
		return l, diags
	}
	var err error
	if l.Version, err = lockText(body.Attributes["version"]); err != nil {
		return l, err
	}
	if v, err := version.NewSemver(l.Version); err != nil || v.String() != l.Version {
		return l, fmt.Errorf("%.100q is not a version", l.Version)
	}
	if a := body.Attributes["constraints"]; a != nil {
		if l.Constraints, err = lockText(a); err != nil {
			return l, err
		}
		if !lockRule.MatchString(l.Constraints) {
			return l, fmt.Errorf("%.100q is not a version constraint", l.Constraints)
		}
	}
	if a := body.Attributes["hashes"]; a != nil {
		l.Hashes, err = lockHashes(a)
	}
	return l, err
}

func lockText(a *hcl.Attribute) (string, error) {
	v, diags := a.Expr.Value(nil)
	if diags.HasErrors() || v.IsNull() || !v.IsKnown() || v.Type() != cty.String {
		return "", fmt.Errorf("%s is not a text", a.Name)
	}
	return v.AsString(), nil
}

func lockHashes(a *hcl.Attribute) ([]string, error) {
	items, diags := hcl.ExprList(a.Expr)
	if diags.HasErrors() {
		return nil, diags
	}
	var hashes []string
	for _, item := range items {
		v, diags := item.Value(nil)
		if diags.HasErrors() || v.IsNull() || !v.IsKnown() || v.Type() != cty.String || !lockHash.MatchString(v.AsString()) {
			return nil, fmt.Errorf("%s has something that is not a checksum", a.Name)
		}
		hashes = append(hashes, v.AsString())
	}
	return hashes, nil
}

// WriteLocks writes a lock file as the tools do.
func WriteLocks(locks []Lock) []byte {
	var b strings.Builder
	b.WriteString("# This file is maintained automatically by \"init\".\n# Manual edits may be lost in future updates.\n")
	for _, l := range slices.SortedFunc(slices.Values(locks), func(a, b Lock) int { return strings.Compare(a.Address(), b.Address()) }) {
		fmt.Fprintf(&b, "\nprovider %q {\n  version = %q\n", l.Address(), l.Version)
		if l.Constraints != "" {
			fmt.Fprintf(&b, "  constraints = %q\n", l.Constraints)
		}
		if len(l.Hashes) > 0 {
			b.WriteString("  hashes = [\n")
			for _, h := range slices.Sorted(slices.Values(l.Hashes)) {
				fmt.Fprintf(&b, "    %q,\n", h)
			}
			b.WriteString("  ]\n")
		}
		b.WriteString("}\n")
	}
	return []byte(b.String())
}
