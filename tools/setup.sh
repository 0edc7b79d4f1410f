#!/bin/sh
# Makes .venv with the exact versions of requirements.lock. Runs again only when the lock or pyproject.toml changed.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

python=$(command -v python3 || command -v python || true)
[ -n "$python" ] || { say "Python 3.11.4 or newer is needed, and there is none. Install it, then run this again."; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11, 4))' || {
    say "Python 3.11.4 or newer is needed; $python is $("$python" -V 2>&1). Install a newer one and put it first on PATH."
    exit 1
}

if command -v uv >/dev/null 2>&1; then
    uv=uv
else
    uv=.bootstrap/bin/uv
    if [ ! -x "$uv" ]; then
        say "Fetching uv, the installer ..."
        "$python" -m venv .bootstrap || {
            say "python3 -m venv does not work. On Debian or Ubuntu: sudo apt-get install python3-venv"
            rm -rf .bootstrap
            exit 1
        }
        .bootstrap/bin/python -m pip install --quiet --disable-pip-version-check uv
    fi
fi

say "Installing the versions of requirements.lock into .venv (about 6 GB with PyTorch's CUDA libraries) ..."
[ -x .venv/bin/python ] || "$uv" venv --quiet --python "$python" .venv
"$uv" pip sync --quiet --python .venv requirements.lock
"$uv" pip install --quiet --python .venv --no-deps --editable .
touch .venv/ready
say "Ready: .venv/bin/python is $(.venv/bin/python -V)."
