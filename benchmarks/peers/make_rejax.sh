#!/bin/sh
# rejax wants gymnax 0.0.9, so it gets a virtual environment of its own.
set -eu
room=$(dirname "$0")/rejax-venv
python3 -m venv "$room"
"$room/bin/pip" install --quiet rejax "gymnax==0.0.9"
