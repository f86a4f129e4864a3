#!/bin/sh
# Runs the whole red-team suite: as whoever calls it and, when that is root, once more as an ordinary user.
# Usage: tools/redteam.sh [-test.run PATTERN …]     PLANLATCH_REDTEAM_USER names the ordinary user (default nobody).
set -eu
cd "$(dirname "$0")/.."
user=${PLANLATCH_REDTEAM_USER:-nobody}
stage=$(mktemp -d "${TMPDIR:-/tmp}/planlatch-redteam-XXXXXX")
clear() { chmod -R u+w "$stage" 2>/dev/null || true; rm -rf "$stage"; }
trap clear EXIT
trap 'exit 130' INT TERM

# Everything that the suite needs, where an ordinary user can read it: the tests, the helper, the tool and the host.
mkdir -p "$stage/redteam" "$stage/tools" "$stage/cache"
go test -c -o "$stage/redteam/redteam.test" ./redteam
CGO_ENABLED=0 go build -o "$stage/planlatch-shim" ./cmd/planlatch-shim
cp tools/build.sh "$stage/tools/"
for name in tofu terraform gitea git-lfs; do
	cp -R "tools/$name" "$stage/tools/"
	built=$(sh tools/build.sh $name)
	cp -R "$(dirname "${built#* }")" "$stage/cache/"
done
chmod -R a+rX "$stage"

# play runs the suite with nothing of the caller's environment but what is said here.
play() { # name command…
	name=$1
	shift
	mkdir -p "$stage/$name/tmp"
	[ "$name" = "$(id -un)" ] || chown -R "$name" "$stage/$name"
	echo "=== the red-team suite as $name" >&2
	: >"$stage/$name.log" # tail must find it, however late the suite starts
	(cd "$stage/redteam" && "$@" env -i PATH="$PATH" LANG=C.UTF-8 HOME="$stage/$name" TMPDIR="$stage/$name/tmp" USER="$name" \
		PLANLATCH_TOOLS="$stage/cache" PLANLATCH_REDTEAM=whole PLANLATCH_REDTEAM_SHIM="$stage/planlatch-shim" \
		./redteam.test -test.v -test.timeout 90m $words 2>&1; echo "exit $?") >"$stage/$name.log" &
	tail -n +1 -f --pid=$! "$stage/$name.log" | grep --line-buffered -v '^=== ' || true
	wait $!
	grep -q '^exit 0$' "$stage/$name.log"
}

words=$*
failed=0
play "$(id -un)" || failed=1
if [ "$(id -u)" = 0 ]; then
	play "$user" setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups || failed=1
else
	echo "not root: the suite ran as $(id -un) alone" >&2
fi
exit $failed
