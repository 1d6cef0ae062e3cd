#!/bin/sh
# Install requirements.lock for one kind of device: `install.sh cuda` or `install.sh cpu INDEX`, where INDEX is the package
# index of PyTorch's CPU builds (pytorch.org, "Get Started", shows its address): PyPI has only the CUDA build for Linux.
set -eu
case "$1" in
  cuda)
    pip install --require-hashes -r requirements.lock
    ;;
  cpu)
    torch=$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' requirements.lock)
    vision=$(sed -n 's/^torchvision==\([0-9.]*\).*/\1/p' requirements.lock)
    [ -n "${2:-}" ] || { echo "DEVICE=cpu needs --build-arg TORCH_INDEX=<index of PyTorch's CPU builds>" >&2; exit 1; }
    pip install --index-url "$2" "torch==$torch" "torchvision==$vision"
    # The other locked packages, hashes and all: each entry runs from its name to the line before the next one.
    awk '/^[A-Za-z0-9]/ {keep = $0 !~ /^(torch|torchvision|triton|nvidia-[a-z0-9-]*|cuda-[a-z0-9-]*)==/} keep' requirements.lock > others.lock
    pip install --require-hashes --no-deps -r others.lock
    ;;
  *)
    echo "DEVICE=$1: choose cuda or cpu" >&2
    exit 1
    ;;
esac
