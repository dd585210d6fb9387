#!/usr/bin/env bash
# Makes one virtual environment: venv.sh FOLDER 3.10|newer EXTRAS [EXTRAS without Lava]
# Where 3.10 is wanted and absent, the newest Python from 3.11 on is taken, without Lava.
set -euo pipefail
here="$(dirname "$0")"
folder="$1" lane="$2" extras="$3"

if ! python="$("$here/python.sh" "$lane")"; then
    if [ "$lane" = newer ] || ! python="$("$here/python.sh" newer)"; then
        echo "No Python from 3.10 to 3.13 with venv was found: install one, then run make again." >&2
        exit 1
    fi
    echo "No Python 3.10 was found, and Lava needs it: going on with $("$python" -V), without Lava."
    extras="${4:-$extras}"
fi
case "$extras" in *train*) time="some minutes, torch is large" ;; *) time="about a minute" ;; esac
echo "Setting up $folder with $("$python" -V) ($time) ..."
if [ "$("$folder/bin/python" -c 'import sys; print(sys.version_info[:2])' 2>&1)" != \
    "$("$python" -c 'import sys; print(sys.version_info[:2])')" ]; then
    "$python" -m venv --clear "$folder"
fi
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".${extras:+[$extras]}"
touch "$folder/.ready"
