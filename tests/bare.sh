#!/usr/bin/env bash
# A wheel where nothing is compiled: Debian bookworm with Python, pip and no compiler, of this kind of machine or arm64.
#   sudo tests/bare.sh amd64 dist/lc2fer-0.1.0-py3-none-manylinux_2_28_x86_64.whl out/C6-ort-int8-fused.onnx face.png [TREE]
#   sudo tests/bare.sh arm64 dist/lc2fer-0.1.0-py3-none-manylinux_2_28_aarch64.whl out/C6-ort-int8-fused.onnx face.png [TREE]
#
# Installs the wheel with ONNX Runtime as a user does and lets lc2fer-predict judge a picture of a face. It needs root,
# debootstrap, Debian's mirror and PyPI, for arm64 on x86 qemu-user-static, and 1 GB in TREE (default: /tmp/lc2fer-bare-ARCH,
# kept for the next time). LC2FER_QEMU_CPU=cortex-a76 is another processor for arm64.
set -euo pipefail

INCLUDE=ca-certificates,python3-venv
# shellcheck source=tests/tree.sh
source "$(dirname "${BASH_SOURCE[0]}")/tree.sh"

inside() {
    ready
    local files=("$WHEEL" "$MODEL" "${MODEL%.*}.json" "$FACE")
    rm -rf -- "$TREE/srv/lc2fer"
    mkdir "$TREE/srv/lc2fer"
    cp "${files[@]}" "$TREE/srv/lc2fer"
    say "$(there uname -m) without a compiler"
    if there sh -c 'command -v cc gcc g++ c++ clang++'; then die 1 "The tree has a compiler. None was expected."; fi
    say "pip install $(basename "$WHEEL") ($(stat -c %s "$WHEEL") bytes)"
    there python3 -m venv --clear /srv/venv
    there /srv/venv/bin/pip install --quiet --disable-pip-version-check "/srv/lc2fer/$(basename "$WHEEL")[jetson]"
    say "lc2fer-predict"
    there /srv/venv/bin/lc2fer-predict "/srv/lc2fer/$(basename "$FACE")" --model "/srv/lc2fer/$(basename "$MODEL")" --faces crop
    there /srv/venv/bin/python - <<'END'
from lc2fer import kernels
print(*(f"{precision} by {kernels.chosen('onnxruntime', precision)}" for precision in kernels.PRODUCTS), sep=", ")
print(kernels.library("onnxruntime", "int8"))
END
    [[ -z $(find "$TREE" -path "*/.cache/lc2fer/kernels" -print -quit) ]] || die 1 "Something was compiled. Nothing was expected to be."
    say "Passed."
}

if [[ ${1-} == --inside ]]; then
    ARCH=$2 TREE=$3 WHEEL=$4 MODEL=$5 FACE=$6
    keep_pip
    inside
    exit
fi
[[ $# -ge 4 && ($1 == amd64 || $1 == arm64) ]] || die 2 "amd64 or arm64, a wheel, a model and a picture were expected. See the first lines of this script."
for file in "$2" "$3" "${3%.*}.json" "$4"; do
    [[ -f $file ]] || die 2 "$file is missing. A wheel (make wheel), a model with its manifest, and a picture were expected. Make it."
done
ARCH=$1
needs_root
emulate
unshare --mount bash "${BASH_SOURCE[0]}" --inside "$1" "${5:-/tmp/lc2fer-bare-$1}" "$2" "$3" "$4"
