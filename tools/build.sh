#!/bin/sh
# Builds the pinned test programs into a cache that is keyed by what they are built from, so that a second call costs nothing.
# Usage: tools/build.sh [tofu|terraform|provider-time|gitea|versitygw|git-lfs|golangci-lint|govulncheck|cyclonedx-gomod]…   prints one line "name path" per program.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${PLANLATCH_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/planlatch/tools}
[ $# -gt 0 ] || set -- tofu terraform provider-time gitea versitygw git-lfs

build() { # name package cgo goflags…
	name=$1 package=$2 cgo=$3
	shift 3
	key=$(cat "$here/$name/go.mod" "$here/$name/go.sum" | sha256sum | cut -c1-16)
	out=$cache/$name-$key
	if [ ! -e "$out/done" ]; then
		mkdir -p "$cache"
		exec 9>"$cache/$name.lock" # packages are tested at once, and each asks for its programs
		if command -v flock >/dev/null 2>&1; then flock 9; fi
	fi
	if [ ! -e "$out/done" ]; then
		echo "building $name (once; a few minutes)" >&2
		rm -rf "$out.new"
		mkdir -p "$out.new"
		(cd "$here/$name" && GOWORK=off CGO_ENABLED=$cgo go build -trimpath -mod=readonly -buildvcs=false "$@" -o "$out.new/$name" "$package")
		if [ "$name" = gitea ]; then # its pages are read from disk: the module is served without its front-end build
			module=$(cd "$here/$name" && GOWORK=off go list -m -f '{{.Dir}}' code.gitea.io/gitea)
			for folder in templates options public; do
				[ ! -d "$module/$folder" ] || cp -R "$module/$folder" "$out.new/$folder"
			done
			chmod -R u+w,a+rX "$out.new"
		fi
		touch "$out.new/done"
		rm -rf "$out"
		mv "$out.new" "$out"
	fi
	echo "$name $out/$name"
}

for name in "$@"; do
	case $name in
	tofu) build tofu github.com/opentofu/opentofu/cmd/tofu 0 -ldflags '-s -w -X github.com/opentofu/opentofu/version.dev=no' ;;
	terraform) build terraform github.com/hashicorp/terraform 0 -ldflags '-s -w' ;; # 1.5.7, the last release under the MPL
	provider-time) build provider-time github.com/hashicorp/terraform-provider-time 0 -ldflags '-s -w' ;; # v0.14.2
	gitea) build gitea code.gitea.io/gitea 1 -tags 'sqlite sqlite_unlock_notify' -ldflags '-s -w' ;;
	versitygw) build versitygw github.com/versity/versitygw/cmd/versitygw 0 -ldflags '-s -w' ;;
	git-lfs) build git-lfs github.com/git-lfs/git-lfs/v3 0 -ldflags '-s -w' ;;
	golangci-lint) build golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint 0 -ldflags '-s -w' ;;
	govulncheck) build govulncheck golang.org/x/vuln/cmd/govulncheck 0 -ldflags '-s -w' ;;
	cyclonedx-gomod) build cyclonedx-gomod github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod 0 -ldflags '-s -w' ;;
	*) echo "tools/build.sh: unknown program $name (tofu, terraform, provider-time, gitea, versitygw, git-lfs, golangci-lint, govulncheck, cyclonedx-gomod)" >&2; exit 2 ;;
	esac
done
