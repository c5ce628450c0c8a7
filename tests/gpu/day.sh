#!/usr/bin/env bash
# What a GPU is wanted for, part by part. tests/gpu/README.md has the commands.
#
#     bash tests/gpu/day.sh FOLDER [part ...]
#
# FOLDER gets each part's log and results; `faces.npz` is expected in it, and `whole.npz` for that part
# (tests/gpu/packed.py makes them). A part that fails or takes too long does not end the others. REHEARSE=1 takes tiny
# sizes, on a CPU.
set -u
here=$(cd "$(dirname "$0")" && pwd)
folder=$1
shift
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
python=${PYTHON:-python3}
scale=${SCALE:-1} # of the seconds for weights
rehearse=${REHEARSE:-}
export PYTHONUNBUFFERED=1 PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
if [ -n "$rehearse" ]; then
    export CUDA_VISIBLE_DEVICES='' OMP_NUM_THREADS=1
fi

seconds() { # of a part: seconds times the scale, as a whole number
    awk -v whole="$1" -v scale="$scale" 'BEGIN { printf "%d", whole * scale }'
}

part() { # name, time limit in seconds, command
    local name=$1 limit=$2
    shift 2
    echo "$(date +%T) $name: begins, at most $limit s"
    timeout --kill-after=5 "$limit" "$@" >"$folder/$name.log" 2>&1
    local code=$?
    echo "$(date +%T) $name: ended with $code; $(tail -n 1 "$folder/$name.log" | cut -c 1-300)"
}

cohort() { # name, time limit, seconds to train, faces, folder of weights, further flags
    local name=$1 limit=$2 clock=$3 faces=$4 weights=$5
    shift 5
    local small=()
    if [ -n "$rehearse" ]; then
        small=(--batch 16 --sizes 20 32 --no-compile --no-bf16 --judge 1)
    fi
    part "$name" "$limit" "$python" "$here/cohort.py" --packed "$folder/$faces.npz" --out "$folder/$weights" \
        --log "$name.csv" --seconds "$clock" "$@" "${small[@]}"
}

arm() { # name, further flags of lc2fer-train
    local name=$1
    shift
    local length=(--size 48 --epochs "${ARM_EPOCHS:-60}" --patience 999 --batch 128 --compile --precision bf16 --judge-every 4)
    if [ -n "$rehearse" ]; then
        length=(--size 24 --epochs 2 --batch 16)
    fi
    part "arm-$name" 240 "$python" "$here/arm.py" "$folder/faces.npz" --config C6 --data packed \
        --out "$folder/arms/$name" --recipe best --lr 4e-3 --targets votes --label-smoothing 0 "${length[@]}" "$@"
}

teachers=(C7 C5)
students=(C6:0 C6:1 C6:2 C8:0 C5:0)
whole=(C6:1 C8:0 C5:0)
drawn=0.65 # share of the time from which procedural faces are among the others
if [ -n "$rehearse" ]; then
    teachers=(C8)
    students=(C8:0 C8:1)
    whole=(C8:0)
    drawn=1
fi
taught=()
for config in "${teachers[@]}"; do
    taught+=("$folder/weights/$config-9/$config.safetensors")
done

for wanted in "${@:-memory}"; do
    case $wanted in
    depthwise) part depthwise 60 "$python" "$here/depthwise.py" "$folder" ${rehearse:+--rehearse} ;;
    memory)
        part memory 60 "$python" "$here/memory.py" cuda
        part memory-pycuda 60 "$python" "$here/memory.py" pycuda
        ;;
    throughput)
        part throughput 150 "$python" "$here/throughput.py" "$folder/throughput.json" --seconds "${THROUGHPUT:-80}" \
            ${rehearse:+--rehearse}
        ;;
    arms) # each in a process of its own, at once
        arm base-0 --seed 0 &
        arm base-1 --seed 1 &
        arm erase --erase 0.25 &
        arm ema --ema 0.999 &
        arm drop-path --drop-path 0.05 &
        arm faces --augment faces &
        arm muon --optimizer muon &
        arm labels --targets labels --label-smoothing 0.1 &
        wait
        ;;
    teachers)
        # shellcheck disable=SC2086 # flags
        cohort teachers 900 "$(seconds 150)" faces weights --members "${teachers[@]/%/:9}" --drawn "$drawn" \
            --wait "$folder/go-teachers" ${TEACHER_FLAGS:-}
        ;;
    students)
        # shellcheck disable=SC2086 # flags
        cohort students 900 "$(seconds 330)" faces weights --members "${students[@]}" --teachers "${taught[@]}" \
            --drawn "$drawn" --wait "$folder/go-students" ${STUDENT_FLAGS:-}
        ;;
    whole) # what was chosen with faces.npz, once more with most of D^v: whole.npz
        # shellcheck disable=SC2086 # flags
        cohort whole 900 "$(seconds 330)" whole weights-whole --members "${whole[@]}" --teachers "${taught[@]}" \
            --drawn "$drawn" --keep last --wait "$folder/go-whole" ${STUDENT_FLAGS:-}
        ;;
    processes) part processes 120 "$python" "$here/processes.py" "$folder/processes" ;;
    *)
        echo "There is no part $wanted. Expected depthwise, memory, throughput, arms, teachers, students, whole or processes." >&2
        exit 2
        ;;
    esac
done
