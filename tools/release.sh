#!/bin/sh
# Builds what a release consists of into dist/: for each platform an archive and its bill of materials (CycloneDX), and one list of checksums.
# The same commit and the same Go give the same bytes, wherever they are built. Signs the list if KEY names a key of gpg.
# Usage: tools/release.sh [os/arch]…      default: linux/amd64 linux/arm64
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
version=${VERSION:-$(git describe --tags --always --dirty)}
dist=${DIST:-$root/dist}
[ $# -gt 0 ] || set -- linux/amd64 linux/arm64
case $version in
*[!A-Za-z0-9._-]* | '') echo "release: version \"$version\" must be letters, digits, dots and dashes" >&2; exit 2 ;;
*-dirty) echo "release: the tree has changes that are in no commit; nobody could build this again" >&2; exit 2 ;;
esac
for tool in tar gzip sha256sum; do
	command -v $tool >/dev/null || { echo "release: $tool is missing" >&2; exit 2; }
done
# Everything in an archive is as old as the commit.
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}"
bom=$(sh tools/build.sh cyclonedx-gomod | cut -d' ' -f2)

rm -rf "$dist"
mkdir -p "$dist"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for platform in "$@"; do
	os=${platform%/*} arch=${platform#*/}
	name=planlatch_${version}_${os}_${arch}
	mkdir -p "$work/$name/deploy"
	# The build id of the linker depends on paths of this machine, and nothing reads it.
	for program in planlatch planlatch-shim; do
		GOOS=$os GOARCH=$arch CGO_ENABLED=0 GOWORK=off GOFLAGS= go build -trimpath -mod=readonly -buildvcs=false \
			-ldflags "-s -w -buildid= -X github.com/planlatch/planlatch/app.Version=$version" -o "$work/$name/$program" "./cmd/$program"
	done
	# What lies in the programs is read from the programs themselves. Both are of one module; the larger one has all of it. No network: what was
	# built lies here, and our own module is nowhere else yet, which the tool warns of.
	GOPROXY=off "$bom" bin -json -licenses -std -noserial -version "$version" -output "$work/bom.json" "$work/$name/planlatch" 2>"$work/bom.log" ||
		{ cat "$work/bom.log" >&2; exit 1; }
	sed 's/"timestamp": "[^"]*"/"timestamp": "'"$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)"'"/' "$work/bom.json" >"$dist/$name.cdx.json"
	cp "$dist/$name.cdx.json" "$work/$name/planlatch.cdx.json"
	cp LICENSE README.md CHANGELOG.md "$work/$name/"
	cp deploy/planlatch.service deploy/server.yaml "$work/$name/deploy/"
	chmod -R u=rwX,go=rX "$work/$name"
	tar --create --file - --directory "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --format=ustar "$name" |
		gzip --no-name --best >"$dist/$name.tar.gz"
done
(cd "$dist" && sha256sum -- * >"$work/SHA256SUMS" && mv "$work/SHA256SUMS" SHA256SUMS)
if [ -n "${KEY:-}" ]; then
	gpg --batch --yes --local-user "$KEY" --armor --output "$dist/SHA256SUMS.asc" --detach-sign "$dist/SHA256SUMS"
fi
cat "$dist/SHA256SUMS"
