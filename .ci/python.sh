#!/usr/bin/env bash
# Prints a Python that really runs and can make virtual environments: python.sh 3.10 | python.sh newer
# Looks at PATH, at pyenv's versions (its shims may answer nothing) and at what uv has; downloads nothing.
set -euo pipefail

works() { # works INTERPRETER MINOR: prints the interpreter, or the one behind it where it is a virtual environment's
    "$1" -c '
import sys, venv, ensurepip
from pathlib import Path
minor = int(sys.argv[1])
if sys.version_info[:2] != (3, minor):
    sys.exit(1)
base = Path(sys.base_prefix, "bin", f"python3.{minor}")
print(base if sys.prefix != sys.base_prefix and base.exists() else sys.executable)' "$2" 2>/dev/null
}

candidates() { # candidates MINOR
    local versions="${PYENV_ROOT:-$HOME/.pyenv}/versions"
    type -ap "python3.$1" python3 python || true
    if [ -d "$versions" ]; then
        find "$versions" -maxdepth 1 -name "3.$1.*[0-9]" | sort -rV | sed "s|\$|/bin/python3.$1|"
    fi
    if command -v uv >/dev/null; then
        UV_PYTHON_DOWNLOADS=never uv python find --no-project "3.$1" 2>/dev/null || true
    fi
}

find_python() { # find_python MINOR
    local candidate
    while read -r candidate; do
        if works "$candidate" "$1"; then
            return 0
        fi
    done < <(candidates "$1")
    return 1
}

case "${1:-}" in
3.10) find_python 10 ;;
newer) find_python 13 || find_python 12 || find_python 11 ;;
*)
    echo "usage: $0 3.10 | newer" >&2
    exit 2
    ;;
esac
