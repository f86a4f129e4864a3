#!/bin/sh
# Runs the demo with the tofu of this machine if it is new enough, else with the pinned one, which is built once.
set -eu
cd "$(dirname "$0")/.."
if [ -z "${PLANLATCH_TOFU:-}" ]; then
	case $(TF_CLI_CONFIG_FILE=/dev/null CHECKPOINT_DISABLE=1 tofu version 2>/dev/null | head -n 1) in
	"OpenTofu v1.1"[2-9].* | "OpenTofu v1."[2-9][0-9].*) PLANLATCH_TOFU=$(command -v tofu) ;;
	*) PLANLATCH_TOFU=$(sh tools/build.sh tofu | cut -d' ' -f2) ;;
	esac
	export PLANLATCH_TOFU
fi
exec go run ./cmd/planlatch demo "$@"
