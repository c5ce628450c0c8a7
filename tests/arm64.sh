#!/usr/bin/env bash
# A bundle on arm64 without a Jetson: Debian bookworm (Python 3.11, OpenCV 4.6 with GStreamer) under qemu's emulation.
#   sudo tests/arm64.sh out/C6.bundle face.mp4 [TREE]         # tests/fakes/video.py draws the video
#
# Installs the bundle by its own install.sh, as docs/jetson.md says, and has doctor, verify (ONNX Runtime) and run
# answer there. It needs root, debootstrap, qemu-user-static, Debian's mirror and PyPI, 3 GB in TREE (default:
# /tmp/lc2fer-arm64, kept for the next time) and half an hour. On an arm64 machine nothing is emulated. No time that it
# prints means anything, and it says nothing of TensorRT, CUDA, cameras, or of Python 3.10 and 3.12, which JetPacks have.
set -euo pipefail

ARCH=arm64 INCLUDE=ca-certificates
# shellcheck source=tests/tree.sh
source "$(dirname "${BASH_SOURCE[0]}")/tree.sh"

expect() { # PATTERN WHAT: among what install.sh said
    grep -qE "$1" "$TREE/srv/said" || die 1 "Expected $2. It did not happen: see above."
}

inside() {
    ready
    local hash
    hash=$(sha256sum <"$BUNDLE" | cut -d' ' -f1)
    cp "$BUNDLE" "$TREE/srv/C6.bundle"
    cp "$VIDEO" "$TREE/srv/face.mp4"
    say "install.sh on $(there uname -m)"
    tar -xOf "$BUNDLE" install.sh >"$TREE/srv/install.sh"
    if [[ -e $TREE/opt/lc2fer/current ]]; then there bash /srv/install.sh --uninstall; fi
    there bash -s -- /srv/C6.bundle --sha256 "$hash" --packages <"$TREE/srv/install.sh" 2>&1 | tee "$TREE/srv/said" # doctor and verify too
    expect '^OpenCV +ok .*with GStreamer' "that doctor finds Debian's OpenCV"
    expect '^ONNX Runtime +ok ' "that doctor finds the bundle's ONNX Runtime"
    expect '"models":.*"passed":true' "that verify passes"
    expect '^Installed\.' "that install.sh ends well"
    say "run"
    there bash -c 'exec /opt/lc2fer/bin/lc2fer-deploy run /opt/lc2fer/current/model/*-ort-int8.onnx --source /srv/face.mp4 --every-frame --json' >"$TREE/srv/scenes"
    python3 - "$TREE/srv/scenes" <<'END'
import collections, json, sys

*events, document = map(json.loads, open(sys.argv[1]))
scenes = [event for event in events if event["event"] == "scene"]
seen = [scene["faces"][0]["expression"] for scene in scenes if scene["faces"]]
print(json.dumps(next(scene for scene in scenes if scene["faces"])))
print(json.dumps(document))
print(f"{len(scenes)} pictures, {len(seen)} with a face: {dict(collections.Counter(map(str, seen)))}")
if len(seen) < len(scenes) / 2 or not any(seen):
    sys.exit("run found too few faces, or named no expression. A face in most pictures of the video was expected.")
END
    say "Passed."
}

if [[ ${1-} == --inside ]]; then
    TREE=$2 BUNDLE=$3 VIDEO=$4
    keep_pip
    inside
    exit
fi
[[ $# -ge 2 ]] || die 2 "A bundle and a video were expected. Run: tests/arm64.sh out/C6.bundle face.mp4 [TREE]"
for file in "$1" "$2"; do
    [[ -f $file ]] || die 2 "$file is missing. A bundle and a video were expected. Run: lc2fer-deploy bundle; tests/fakes/video.py"
done
needs_root
emulate
unshare --mount bash "${BASH_SOURCE[0]}" --inside "${3:-/tmp/lc2fer-arm64}" "$1" "$2"
