# shellcheck shell=bash
# Debian trees to run things in, of this machine's kind or another's under qemu's emulation: sourced by arm64.sh, bare.sh.
# They set TREE, ARCH (Debian's: amd64, arm64), INCLUDE (packages) and PIP (pip's settings, as `keep_pip` finds them).

say() { printf '\n== %s\n' "$*"; }

die() { # CODE TEXT
    echo "$2" >&2
    exit "$1"
}

MIRROR=${LC2FER_MIRROR:-http://deb.debian.org/debian}
HANDLERS=/proc/sys/fs/binfmt_misc
HANDLER=/usr/lib/binfmt.d/qemu-aarch64.conf # of qemu-user-static: how the kernel knows arm64 programs
PIP=()

is_foreign() { [[ $ARCH == arm64 && $(uname -m) != aarch64 ]]; }

emulate() { # the kernel starts arm64 programs by qemu; taken back at the end if nobody had set it up before
    is_foreign || return 0
    [[ -e $HANDLERS/register ]] || mount -t binfmt_misc binfmt_misc "$HANDLERS"
    [[ ! -e $HANDLERS/qemu-aarch64 ]] || return 0
    [[ -e $HANDLER ]] || die 3 "$HANDLER is missing. qemu's user-mode emulation was expected. Run: sudo apt-get install qemu-user-static"
    cat "$HANDLER" >"$HANDLERS/register"
    trap 'echo -1 >"$HANDLERS/qemu-aarch64"' EXIT
}

keep_pip() { # this machine's settings that a tree has to have as well
    mapfile -t PIP < <(env | grep -E '^(PIP_(INDEX_URL|EXTRA_INDEX_URL|TRUSTED_HOST|DEFAULT_TIMEOUT)|https?_proxy|no_proxy)=' || true)
}

there() { # COMMAND...: run in the tree, with pip's settings of this machine and no others
    # A Cortex-A72 has no arithmetic in half precision, which qemu computes so slowly that nothing would end.
    env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        QEMU_CPU="${LC2FER_QEMU_CPU:-cortex-a72}" PIP_CERT=/etc/ssl/certs/ca-certificates.crt "${PIP[@]}" chroot "$TREE" "$@"
}

make_tree() {
    say "A Debian tree in $TREE"
    [[ ! -e $TREE || -e $TREE/lc2fer-$ARCH ]] || die 2 "$TREE is not a tree of this script. A new folder was expected. Name another."
    rm -rf -- "$TREE"
    mkdir -p "$TREE"
    touch "$TREE/lc2fer-$ARCH"
    debootstrap --arch="$ARCH" --variant=minbase --foreign --include="$INCLUDE" bookworm "$TREE" "$MIRROR"
    mount_kernel
    there /debootstrap/debootstrap --second-stage
    echo "deb $MIRROR bookworm main" >"$TREE/etc/apt/sources.list"
    touch "$TREE/complete"
}

mount_kernel() { # in this script's own mount namespace: gone when it ends, however it ends
    mountpoint -q "$TREE/proc" || mount -t proc proc "$TREE/proc"
    mountpoint -q "$TREE/sys" || mount --rbind /sys "$TREE/sys" # ONNX Runtime counts processors there
    mountpoint -q "$TREE/dev" || mount --rbind /dev "$TREE/dev"
    is_foreign || return 0
    mkdir -p "$TREE/srv"
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

ready() { # the tree, made if it is not there
    [[ -e $TREE/complete ]] || make_tree
    mount_kernel
    borrow
}

needs_root() {
    [[ $(id -u) -eq 0 ]] || die 2 "This user may not change roots. Root was expected. Run it with sudo."
    command -v debootstrap >/dev/null || die 3 "debootstrap is not here. It makes the tree. Run: sudo apt-get install debootstrap"
}
