#!/usr/bin/env bash
# A bundle on arm64 without a Jetson: Debian bookworm (Python 3.11, OpenCV 4.6 with GStreamer) under qemu's emulation.
#   sudo tests/arm64.sh out/C6.bundle face.mp4 [TREE]         # tests/fakes/video.py draws the video
#
# Installs the bundle by its own install.sh, as docs/jetson.md says, and has doctor, verify (ONNX Runtime) and run
# answer there. It needs root, debootstrap, qemu-user-static, Debian's mirror and PyPI, 3 GB in TREE (default:
# /tmp/lc2fer-arm64, kept for the next time) and half an hour. On an arm64 machine nothing is emulated. No time that it
# prints means anything, and it says nothing of TensorRT, CUDA, cameras, or of Python 3.10 and 3.12, which JetPacks have.
set -euo pipefail

say() { printf '\n== %s\n' "$*"; }

die() { # CODE TEXT
    echo "$2" >&2
    exit "$1"
}

MIRROR=${LC2FER_MIRROR:-http://deb.debian.org/debian}
HANDLERS=/proc/sys/fs/binfmt_misc
HANDLER=/usr/lib/binfmt.d/qemu-aarch64.conf # of qemu-user-static: how the kernel knows arm64 programs

emulate() { # the kernel starts arm64 programs by qemu; taken back at the end if nobody had set it up before
    [[ $(uname -m) != aarch64 ]] || return 0
    [[ -e $HANDLERS/register ]] || mount -t binfmt_misc binfmt_misc "$HANDLERS"
    [[ ! -e $HANDLERS/qemu-aarch64 ]] || return 0
    [[ -e $HANDLER ]] || die 3 "$HANDLER is missing. qemu's user-mode emulation was expected. Run: sudo apt-get install qemu-user-static"
    cat "$HANDLER" >"$HANDLERS/register"
    trap 'echo -1 >"$HANDLERS/qemu-aarch64"' EXIT
}

there() { # COMMAND...: run in the tree, with pip's settings of this machine and no others
    # A Cortex-A72 has no arithmetic in half precision, which qemu computes so slowly that nothing would end.
    env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        QEMU_CPU=cortex-a72 PIP_CERT=/etc/ssl/certs/ca-certificates.crt "${PIP[@]}" chroot "$TREE" "$@"
}

make_tree() {
    say "A Debian tree in $TREE"
    [[ ! -e $TREE || -e $TREE/lc2fer-arm64 ]] || die 2 "$TREE is not a tree of this script. A new folder was expected. Name another."
    rm -rf -- "$TREE"
    mkdir -p "$TREE"
    touch "$TREE/lc2fer-arm64"
    debootstrap --arch=arm64 --variant=minbase --foreign --include=ca-certificates bookworm "$TREE" "$MIRROR"
    mount_kernel
    there /debootstrap/debootstrap --second-stage
    echo "deb $MIRROR bookworm main" >"$TREE/etc/apt/sources.list"
    touch "$TREE/complete"
}

mount_kernel() { # in this script's own mount namespace: gone when it ends, however it ends
    mountpoint -q "$TREE/proc" || mount -t proc proc "$TREE/proc"
    mountpoint -q "$TREE/sys" || mount --rbind /sys "$TREE/sys" # ONNX Runtime counts processors there
    mountpoint -q "$TREE/dev" || mount --rbind /dev "$TREE/dev"
    [[ $(uname -m) != aarch64 ]] || return 0
    # qemu shows this machine's x86 processors, at which ONNX Runtime's reader of them crashes: a Cortex-A72's instead.
    for ((processor = 0; processor < $(nproc); processor++)); do
        printf '%s\t: %s\n' processor $processor Features "fp asimd aes pmull sha1 sha2 crc32" \
            "CPU implementer" 0x41 "CPU architecture" 8 "CPU variant" 0x0 "CPU part" 0xd08 "CPU revision" 3
        echo
    done >"$TREE/srv/cpuinfo"
    mount --bind "$TREE/srv/cpuinfo" "$TREE/proc/cpuinfo"
}

borrow() { # this machine's name server and certificates
    cp --remove-destination /etc/resolv.conf "$TREE/etc/resolv.conf"
    cp /etc/ssl/certs/ca-certificates.crt "$TREE/etc/ssl/certs/ca-certificates.crt"
}

expect() { # PATTERN WHAT: among what install.sh said
    grep -qE "$1" "$TREE/srv/said" || die 1 "Expected $2. It did not happen: see above."
}

inside() {
    [[ -e $TREE/complete ]] || make_tree
    mount_kernel
    borrow
    local hash
    hash=$(sha256sum <"$BUNDLE" | cut -d' ' -f1)
    cp "$BUNDLE" "$TREE/srv/C6.bundle"
    cp "$VIDEO" "$TREE/srv/face.mp4"
    say "install.sh on $(there uname -m)"
    tar -xOf "$BUNDLE" install.sh >"$TREE/srv/install.sh"
    if [[ -e $TREE/opt/lc2fer/current ]]; then there bash /srv/install.sh --uninstall; fi
    there bash -s -- /srv/C6.bundle --sha256 "$hash" --packages <"$TREE/srv/install.sh" | tee "$TREE/srv/said" # doctor and verify too
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
    mapfile -t PIP < <(env | grep -E '^(PIP_(INDEX_URL|EXTRA_INDEX_URL|TRUSTED_HOST|DEFAULT_TIMEOUT)|https?_proxy|no_proxy)=' || true)
    inside
    exit
fi
[[ $# -ge 2 ]] || die 2 "A bundle and a video were expected. Run: tests/arm64.sh out/C6.bundle face.mp4 [TREE]"
for file in "$1" "$2"; do
    [[ -f $file ]] || die 2 "$file is missing. A bundle and a video were expected. Run: lc2fer-deploy bundle; tests/fakes/video.py"
done
[[ $(id -u) -eq 0 ]] || die 2 "This user may not change roots. Root was expected. Run it with sudo."
command -v debootstrap >/dev/null || die 3 "debootstrap is not here. It makes the tree. Run: sudo apt-get install debootstrap"
emulate
unshare --mount bash "${BASH_SOURCE[0]}" --inside "${3:-/tmp/lc2fer-arm64}" "$1" "$2"
