#!/bin/sh
# Keeps what this version writes, for later versions to open: sh upgrade/keep.sh NAME, at a release. See testdata/README.md.
set -eu
cd "$(dirname "$0")/.."
[ $# = 1 ] || { echo "usage: sh upgrade/keep.sh NAME" >&2; exit 2; }
PLANLATCH_KEEP_VERSION=$1 go test -count=1 -timeout 15m -run TestKeepThisVersion ./upgrade
ls -l "upgrade/testdata/$1"*
