#!/usr/bin/env bash
# Builds, proves and chooses the engines of bundles with the Jetson at its fastest, and brings its power mode back.
#   sudo build-engines.sh [BUNDLE...]   (files, or the folders that they were unpacked to; default: where this script lies)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
deploy=${LC2FER_DEPLOY:-$here/../venv/bin/lc2fer-deploy} # as install.sh puts them
[[ -n ${LC2FER_DEPLOY-} || -x $deploy ]] || deploy=lc2fer-deploy

if [[ ${1-} == --help || ($# -eq 0 && ! -e $here/bundle.json) ]]; then
    echo "Usage: build-engines.sh [BUNDLE...]" >&2
    exit 2
fi
(($#)) || set -- "$here"
command -v "$deploy" >/dev/null || {
    echo "$deploy is not here. LC2FER was expected. Run install.sh first, or name it: LC2FER_DEPLOY=/opt/lc2fer/bin/lc2fer-deploy" >&2
    exit 3
}
trap 'bash "$here/max-performance.sh" off' EXIT
trap 'exit 130' INT TERM
bash "$here/max-performance.sh" on
for bundle in "$@"; do
    "$deploy" build "$bundle"
done
