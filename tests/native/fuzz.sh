#!/usr/bin/env bash
# Fuzzes the reader of .lc2 files with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer:
#   PYTHON=.venv/bin/python tests/native/fuzz.sh [SECONDS [FOLDER]]      # default: 60 s, a folder that is removed
# Needs clang++ (or what CLANG names). Exit code 0: nothing was found; what is found lies in FOLDER/found.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
SECONDS_TO_RUN=${1:-60}
if [[ -n ${2:-} ]]; then
    FOLDER=$2
else
    FOLDER=$(mktemp -d)
    trap 'rm -rf -- "$FOLDER"' EXIT
fi
CLANG=${CLANG:-$(compgen -c clang++ | grep -E '^clang\+\+(-[0-9]+)?$' | sort -Vr | head -1)}
[[ -n $CLANG ]] || {
    echo "There is no clang++. One with libFuzzer was expected. Run: apt-get install clang, or name one in CLANG." >&2
    exit 3
}
mkdir -p "$FOLDER"/{corpus,found}
FLAGS=(-std=c++17 -O1 -g -fno-omit-frame-pointer -fno-rtti -ffp-contract=off -Ilc2fer -DLC2FER_WITHOUT_BF16
    '-DLC2FER_VERSION="fuzz"' -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined)
# Plain C++ alone, so that the sanitizers see all of it.
if [[ ! -x $FOLDER/fuzz ]]; then
    "$CLANG" "${FLAGS[@]}" -DLC2FER_GENERIC_ALONE tests/native/fuzz.cpp native/{api,network,threads}.cpp \
        lc2fer/kernels/{dispatch,variants/generic}.cpp -pthread -o "$FOLDER/fuzz"
fi
"${PYTHON:-python3}" tests/fakes/tiny_lc2.py "$FOLDER/corpus"
"$FOLDER/fuzz" -max_total_time="$SECONDS_TO_RUN" -max_len=65536 -rss_limit_mb=2048 -timeout=120 -print_final_stats=1 \
    -artifact_prefix="$FOLDER/found/" "$FOLDER/corpus"
