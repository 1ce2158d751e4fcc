#!/usr/bin/env bash
# Measures the four backbones of the mission on this machine's GPU, and one real suite: one command,
# offline, without TensorFlow.
#
#     scripts/measure_on_gpu.sh RESULTS [OPTION OF `bench measure` ...]
#
# Carry to the machine: this repository; the image cache of a machine that has run the suite
# ($BENCH_CACHE_DIR, its folder images/); weights ($BENCH_WEIGHTS_DIR). Keras and a backend must be
# importable ($KERAS_BACKEND: jax by default, or torch or tensorflow); $PYTHON is the interpreter.
# Rows appear as they are measured: run it again after an interruption, and it goes on.
set -euo pipefail
results=$(realpath -m "${1:?usage: $0 RESULTS [OPTION OF bench measure ...]}")
shift
cd "$(dirname "$0")/.."
export KERAS_BACKEND=${KERAS_BACKEND:-jax}
bench=("${PYTHON:-python3}" -m bench)
suite=${SUITE:-suites/real_small.toml}

# Exit code 1 means that some row has no result, out of memory say: the others are worth going on.
incomplete=0
go() {
    local code=0
    "${bench[@]}" "$@" || code=$?
    if [ "$code" -gt 1 ]; then exit "$code"; fi
    if [ "$code" -eq 1 ]; then incomplete=1; fi
}

go doctor
incomplete=0
go measure MobileNetV2 EfficientNetV2B0 ResNet50 ConvNeXtTiny \
    --batch-size 32 --batch-size 256 --batch-size largest \
    --mode default --mode best --results "$results" "$@"
go run "$suite" --only MobileNetV2 --only tf_flowers --workers auto --results "$results"
exit "$incomplete"
