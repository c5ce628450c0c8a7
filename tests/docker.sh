#!/usr/bin/env bash
# docker/cpu.Dockerfile without Docker: built by buildah in chroot isolation, then run as docker/compose.yaml says.
#   sudo tests/docker.sh FILE [TREE]                     # FILE: what happened, as JSON
#
# A Debian bookworm with Python 3.11 stands in for the base image, python:3.11-slim. The container's user is not root,
# has no capabilities and cannot gain any, its root is read-only, and it has a network of its own; the camera is a film.
# compose.yaml's health check is asked until it answers, with the token and with another. It needs root, buildah,
# debootstrap, util-linux, this project's Python with PyYAML and OpenCV, Debian's mirror and PyPI, 8 GB, and half an hour.
# TREE (default: /tmp/lc2fer-docker) and the image lc2fer:cpu are kept for the next time.
set -euo pipefail

HERE=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
ARCH=amd64 INCLUDE=ca-certificates,python3,python3-pip,python3-venv,python-is-python3
# shellcheck source=tests/tree.sh
source "$HERE/tree.sh"

BASE=docker.io/library/python:3.11-slim IMAGE=localhost/lc2fer:cpu
PYTHON=${PYTHON:-python3}
VOLUMES=()

settings() { # this machine's pip settings, which a base has to have as well, and the folders that they name
    echo "[global]"
    local name value
    for name in index-url extra-index-url find-links; do
        value=$("$PYTHON" -m pip config get "global.$name" 2>/dev/null) || continue
        echo "$name = $value"
    done
}

folders() { # of those settings that are on this machine's disk
    settings | tr ' ' '\n' | sed -n 's,^file://,,; s,/simple$,,; s,^\(/.*\),\1,p'
}

base() {
    [[ -n $(buildah images --quiet "$BASE" 2>/dev/null) ]] && return
    unshare --mount bash "${BASH_SOURCE[0]}" --tree "$TREE"
    say "The base image's stand-in"
    local made
    made=$(buildah from scratch)
    buildah copy --quiet "$made" "$TREE" /
    buildah commit --quiet "$made" "$BASE"
    buildah rm "$made"
}

build() {
    say "buildah bud, chroot isolation"
    local folder
    for folder in $(folders); do VOLUMES+=(--volume "$folder:$folder:ro"); done
    buildah bud --isolation chroot --pull-never "${VOLUMES[@]}" -f "$HERE/../docker/cpu.Dockerfile" \
        --ignorefile "$HERE/../docker/cpu.Dockerfile.dockerignore" -t "$IMAGE" "$HERE/.."
}

case ${1-} in
--tree) # in a mount namespace of its own
    TREE=$2
    ready
    rm -f "$TREE"/usr/lib/python3*/EXTERNALLY-MANAGED # as in the base image: pip is Python's own
    settings >"$TREE/etc/pip.conf"
    exit
    ;;
esac
[[ $# -ge 1 ]] || die 2 "A file for what happened was expected. Run: sudo tests/docker.sh FILE [TREE]"
needs_root
command -v buildah >/dev/null || die 3 "buildah is not here. It builds the image. Run: sudo apt-get install buildah"
TREE=${2:-/tmp/lc2fer-docker}
base
build
container=$(buildah from --pull-never "$IMAGE")
trap 'buildah umount "$container" >/dev/null; buildah rm "$container" >/dev/null' EXIT
root=$(buildah mount "$container")
say "As compose.yaml has it"
unshare --net --mount --pid --fork --kill-child "$PYTHON" "$HERE/container.py" "$root" "$1"
