#!/usr/bin/env bash
# liblc2fer under AddressSanitizer with UndefinedBehaviorSanitizer, then under ThreadSanitizer: tests/native/check.c with
# every kind of instructions that this processor has, in int8 and in float32. Takes some minutes.
#   PYTHON=.venv/bin/python tests/native/sanitize.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
FOLDER=$(mktemp -d)
trap 'rm -rf -- "$FOLDER"' EXIT
"${PYTHON:-python3}" tests/fakes/tiny_lc2.py "$FOLDER"
for kind in address,undefined thread; do
    echo "== $kind"
    flags="-fsanitize=$kind -fno-sanitize-recover=all -g -O1"
    cmake -S native -B "$FOLDER/$kind" -DCMAKE_BUILD_TYPE=None -DLC2FER_EXAMPLES=OFF \
        -DCMAKE_C_FLAGS="$flags" -DCMAKE_CXX_FLAGS="$flags" -DCMAKE_SHARED_LINKER_FLAGS=-Wl,--allow-shlib-undefined >"$FOLDER/log"
    cmake --build "$FOLDER/$kind" --target static -j"$(nproc)" >>"$FOLDER/log" || {
        cat "$FOLDER/log"
        exit 1
    }
    # shellcheck disable=SC2086 # flags are words
    gcc -std=c11 $flags -Inative tests/native/check.c "$FOLDER/$kind/liblc2fer.a" -lm -pthread -lstdc++ -o "$FOLDER/check-$kind"
    for precision in int8 fp32; do
        for instructions in $("${PYTHON:-python3}" -c 'from lc2fer import kernels; print(*kernels.here("onnxruntime"))'); do
            printf '%s %s: ' "$precision" "$instructions"
            LC2FER_CPU=$instructions "$FOLDER/check-$kind" "$FOLDER/tiny-$precision.lc2"
        done
    done
done
