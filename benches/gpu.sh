#!/usr/bin/env bash
# The train-step table on a GPU: TESLA on `wgpu`, and beside it PyTorch where Python has torch with CUDA.
#
#   benches/gpu.sh [TESLA]           writes docs/gpu.md, with the device's name
#   benches/gpu.sh --try [TESLA]     takes a software renderer too, to see that this works, and writes nothing
#
# TESLA is `target/release/tesla` if not said; PYTHON says which Python. Where there is no GPU it says so and ends
# well.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

software=0
if [ "${1:-}" = --try ]; then
    software=1
    shift
fi
tesla="${1:-target/release/tesla}"
python="${PYTHON:-python3}"
rounds=5
rows=16384
if [ ! -x "$tesla" ]; then
    echo "\`$tesla\` is not there: run \`cargo build --release\` first" >&2
    exit 1
fi

devices="$("$tesla" devices 2>/dev/null)"
gpu="$(grep '^wgpu' <<<"$devices" | grep -v '(Cpu, ' | head -n 1 || true)"
if [ -z "$gpu" ] && [ "$software" = 1 ]; then
    gpu="$(grep '^wgpu' <<<"$devices" | head -n 1 || true)"
    rounds=1
    rows=512
fi
if [ -z "$gpu" ]; then
    echo "no GPU here: nothing was measured"
    exit 0
fi
choice="${gpu%% *}"
name="$(sed 's/^[^ ]* *//' <<<"$gpu")"
if ! command -v "$python" >/dev/null; then
    echo "$choice is $name, but Python is not there to run the table" >&2
    exit 0
fi
peer=none
if "$python" -c 'import numpy, torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    peer=cuda
fi

echo "$choice: $name; PyTorch: $peer"
found="$(mktemp)"
trap 'rm -f -- "$found"' EXIT
"$python" benches/peers/train_step.py mlp256 mlp64 cnn64 --tesla "$tesla" --device "$choice" \
    --torch-device "$peer" --rounds "$rounds" --rows "$rows" --json "$found"
if [ "$software" = 1 ]; then
    echo "a try: docs/gpu.md is as it was"
    exit 0
fi
"$python" benches/peers/all.py --gpu-page "$found" --device "$name"
echo "docs/gpu.md is written"
