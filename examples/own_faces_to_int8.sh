#!/usr/bin/env bash
# A folder of faces, one subfolder a class, to an INT8 model that was proven on them: FOLDER OUT [more for lc2fer-train]
set -euo pipefail
data=$1 out=$2
shift 2
lc2fer-train --config C6 --data "$data" --init bundled --recipe finetune --out "$out" "$@"
lc2fer-export --config C6 --target onnx-int8 --weights "$out/C6.safetensors" --data "$data" --out "$out"
