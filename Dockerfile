# Builds a small image with planlatch, its helper, git, the sandbox's parts and the pinned tofu inside.
# Build: docker build -t planlatch .      Run: see deploy/compose.yaml, which has the settings that make "sandbox: required" work.

# By digest, so that what is built today is built from the same again; each is the index of all platforms. A mirror: --build-arg GO_IMAGE=….
ARG GO_IMAGE=docker.io/library/golang:1.26.8-bookworm@sha256:a688600ca24f8a4d3ca77f95b0dd40704a9fc787c826660eb7ba0b641b8b175d
ARG BASE_IMAGE=docker.io/library/debian:12.12-slim@sha256:d5d3f9c23164ea16f31852f95bd5959aad1c5e854332fe00f7b3a20fcc9f635c

FROM ${GO_IMAGE} AS build
ENV CGO_ENABLED=0 GOFLAGS=-buildvcs=false
WORKDIR /src

# tofu changes least and takes longest, so it has a layer of its own.
COPY tools/build.sh tools/build.sh
COPY tools/tofu tools/tofu
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
	mkdir -p /out && cp "$(PLANLATCH_TOOLS=/tools sh tools/build.sh tofu | cut -d' ' -f2)" /out/tofu

COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG VERSION=development
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
	go build -trimpath -ldflags "-s -w -buildid= -X github.com/planlatch/planlatch/app.Version=${VERSION}" -o /out/ ./cmd/planlatch ./cmd/planlatch-shim

FROM ${BASE_IMAGE}
RUN apt-get update \
	&& apt-get install -y --no-install-recommends bubblewrap ca-certificates git openssh-client slirp4netns \
	&& rm -rf /var/lib/apt/lists/* \
	&& useradd --uid 10001 --home-dir /var/lib/planlatch --create-home --shell /usr/sbin/nologin planlatch \
	&& chmod 0700 /var/lib/planlatch
COPY --from=build /out/planlatch /out/planlatch-shim /out/tofu /usr/local/bin/
COPY LICENSE /usr/share/doc/planlatch/LICENSE
USER 10001:10001
VOLUME /var/lib/planlatch
EXPOSE 8090
# The end of process 1 ends every execution with it, so a stop waits for applies: give it the time (docs/operating.md, Stopping).
ENTRYPOINT ["/usr/local/bin/planlatch"]
CMD ["serve", "--config", "/etc/planlatch/server.yaml"]
