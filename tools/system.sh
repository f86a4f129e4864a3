#!/bin/sh
# Installs the system packages that tests need and that are missing; says exactly what to install where it cannot. Quick when all is there.
set -eu

missing=
need() { # package test-that-it-is-there
	if ! eval "$2" >/dev/null 2>&1; then missing="$missing $1"; fi
}
need git 'command -v git'
need bubblewrap 'command -v bwrap'
need slirp4netns 'command -v slirp4netns'
need postgresql 'command -v initdb || ls /usr/lib/postgresql/*/bin/initdb'
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
	root=
elif sudo -n true 2>/dev/null; then
	root=sudo
else
	root=none
fi
if [ "$root" = none ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "tests need these packages (Debian names):$missing" >&2
	echo "install them, on Debian or Ubuntu with:" >&2
	echo "  sudo apt-get install --no-install-recommends$missing" >&2
	exit 1
fi
echo "installing:$missing" >&2
export DEBIAN_FRONTEND=noninteractive
$root apt-get update -q >&2
# shellcheck disable=SC2086 # a list of words
$root apt-get install -q -y --no-install-recommends $missing >&2
