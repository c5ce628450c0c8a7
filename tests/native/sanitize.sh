#!/usr/bin/env bash
# liblc2fer in plain C++ under AddressSanitizer with UndefinedBehaviorSanitizer, then under ThreadSanitizer:
# tests/native/check.c in int8 and in float32. Takes a minute or two of a core.
#   PYTHON=.venv/bin/python tests/native/sanitize.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
FOLDER=$(mktemp -d)
trap 'rm -rf -- "$FOLDER"' EXIT
"${PYTHON:-python3}" tests/fakes/tiny_lc2.py "$FOLDER"
for kind in address,undefined thread; do
    flags="-fsanitize=$kind -fno-sanitize-recover=all -g1 -O1"
    cmake -S native -B "$FOLDER/$kind" -DCMAKE_BUILD_TYPE=None -DLC2FER_EXAMPLES=OFF -DLC2FER_GENERIC_ALONE=ON \
        -DCMAKE_C_FLAGS="$flags" -DCMAKE_CXX_FLAGS="$flags" >"$FOLDER/log"
    cmake --build "$FOLDER/$kind" --target static -j"$(nproc)" >>"$FOLDER/log" 2>&1 || {
        cat "$FOLDER/log"
        exit 1
    }
    # shellcheck disable=SC2086 # flags are words
    gcc -std=c11 $flags -Inative tests/native/check.c "$FOLDER/$kind/liblc2fer.a" -lm -pthread -o "$FOLDER/check-$kind"
    for precision in int8 fp32; do
        printf '%s %s: ' "$kind" "$precision"
        "$FOLDER/check-$kind" "$FOLDER/tiny-$precision.lc2"
    done
done
