#!/usr/bin/env bash
# The steps of action.yml: measure what the checkout exports, judge it by rules. Settings come as GATE_* variables.
# Exit code 0: the gate passed. 1: a rule failed. 4: too few images to tell. Others: as lc2fer-bench.
set -euo pipefail

out="${GATE_OUT:-lc2fer-gate}"
data="${GATE_DATA:-synthetic}"

if [[ -n "${GATE_DATA_URL:-}" ]]; then
  # The address is a secret: it is passed by standard input, so that no log and no list of processes shows it.
  data="$(mktemp -d)"
  trap 'rm -rf "$data"' EXIT
  printf 'url = "%s"\n' "$GATE_DATA_URL" | curl --fail --silent --show-error --location --config - | tar -xz -C "$data"
fi

read -ra configs <<<"${GATE_CONFIGS:-C6}"
read -ra targets <<<"${GATE_TARGETS:-torch onnx-fp32 onnx-int8 openvino-fp16 openvino-int8}"
measure=(--configs "${configs[@]}" --targets "${targets[@]}")
measure+=(--data "$data" --out "$out")
# The rules judge accuracy: latency on a shared runner would be noise, so it is sampled as little as possible.
measure+=(--launches 1 --runs 30 --seconds 0)
if [[ -n "${GATE_WEIGHTS:-}" ]]; then measure+=(--weights "$GATE_WEIGHTS"); fi
if [[ -n "${GATE_LIMIT:-}" ]]; then measure+=(--limit "$GATE_LIMIT"); fi
lc2fer-bench "${measure[@]}"

judge=(gate "$out/report.json")
if [[ -n "${GATE_RULES:-}" ]]; then judge+=(--rules "$GATE_RULES"); fi
if [[ -n "${GATE_BASELINE:-}" ]]; then judge+=(--baseline "$GATE_BASELINE"); fi
if [[ -n "${GITHUB_STEP_SUMMARY:-}" ]]; then judge+=(--summary "$GITHUB_STEP_SUMMARY"); fi
lc2fer-bench "${judge[@]}"
