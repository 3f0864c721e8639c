#!/bin/sh
# Makes the virtual environment of a peer, as in: sh benchmarks/peers/make.sh rejax
# PYTHON names the interpreter, python3 by default; Python 3.11 is what the versions were tried with.
set -eu
cd "$(dirname "$0")"
if [ ! -f "${1:-}.txt" ]; then
    echo "usage: sh make.sh NAME, where NAME is one of: $(ls ./*.txt | sed 's|./||; s|\.txt||' | tr '\n' ' ')" >&2
    exit 2
fi
"${PYTHON:-python3}" -m venv --clear "$1-venv"
"$1-venv/bin/pip" install --quiet --requirement "$1.txt"
