#!/usr/bin/env bash
# Predict and run beside every OpenCV that people have, and predict without any, each in an environment of its own.
#   tests/opencv.sh MODEL.onnx PHOTOGRAPH [YUNET.onnx]
#
# MODEL is one for ONNX Runtime, the photograph has one face. Needs PyPI and a few minutes; prints a table, exits 1 where
# one of them differs from the others. Whatever was built is removed at the end.
set -euo pipefail

MODEL=$(realpath "$1") PICTURE=$(realpath "$2") YUNET=${3:+$(realpath "$3")}
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
WORK=$(mktemp -d)
trap 'rm -rf -- "$WORK"' EXIT
PYTHON=${PYTHON:-python3}

# The film is the photograph, half a second long; four of its pictures a second are judged.
FILM='
import sys, cv2
picture = cv2.imread(sys.argv[1])
film = cv2.VideoWriter(sys.argv[2], cv2.VideoWriter.fourcc(*"mp4v"), 30, picture.shape[1::-1])
for _ in range(15):
    film.write(picture)
film.release()
'
LAST='
import json, sys
last = json.loads(sys.stdin.read().splitlines()[-1])
said = ["{expression} {confidence:.2f}".format(**one) for one in last.get("predictions", [])[:1]]
print(last["judged"] if "judged" in last else last["faces"], *said)
'

failed=0
expect() { # WHAT WANTED FOUND
    if [[ $2 != "$3" ]]; then
        printf '  %s: %s was expected, and it is: %s\n' "$1" "$2" "$3"
        failed=1
    fi
}

printf '%-8s %-24s %-24s %-10s %s\n' OpenCV photograph film run yunet
for version in none 4.6.0.66 4.10.0.84 4.14.0.94 5.0.0.93; do
    "$PYTHON" -m venv "$WORK/$version"
    here=$WORK/$version/bin
    packages=("$ROOT" onnxruntime)
    [[ $version == none ]] || packages+=("opencv-python-headless==$version")
    [[ $version != 4.6.* && $version != 4.10.* ]] || packages+=('numpy<2') # what they were compiled for
    "$here/python" -m pip install --quiet --disable-pip-version-check "${packages[@]}"
    photograph=$("$here/lc2fer-predict" "$PICTURE" --model "$MODEL" --faces find 2>/dev/null | "$here/python" -c "$LAST")
    : "${wanted:=$photograph}"
    expect "$version, photograph" "$wanted" "$photograph"
    yunet=-
    if [[ -n $YUNET ]]; then
        yunet=$("$here/lc2fer-predict" "$PICTURE" --model "$MODEL" --faces find --face-model "$YUNET" 2>/dev/null |
            "$here/python" -c "$LAST")
        : "${wanted_yunet:=$yunet}"
        expect "$version, YuNet" "$wanted_yunet" "$yunet"
    fi
    if [[ $version == none ]]; then
        cp "$PICTURE" "$WORK/film.mp4"
        film=0
        "$here/lc2fer-predict" "$WORK/film.mp4" --model "$MODEL" >/dev/null 2>&1 || film=$?
        expect "$version, film's exit code" 3 "$film"
        printf '%-8s %-24s %-24s %-10s %s\n' "$version" "$photograph" "exit code $film" - "$yunet"
        continue
    fi
    "$here/python" -c "$FILM" "$PICTURE" "$WORK/film.mp4"
    film=$("$here/lc2fer-predict" "$WORK/film.mp4" --model "$MODEL" --every 0.25 2>/dev/null | "$here/python" -c "$LAST")
    expect "$version, film" "2 ${wanted#* }" "2 ${film#* }"
    run=$("$here/lc2fer-deploy" run "$MODEL" --source "$WORK/film.mp4" --every-frame --json --record "$WORK/$version.mp4" \
        2>/dev/null | "$here/python" -c "$LAST")
    expect "$version, run" 15 "$run"
    printf '%-8s %-24s %-24s %-10s %s\n' "$version" "$photograph" "$film" "$run pictures" "$yunet"
done
exit $failed
