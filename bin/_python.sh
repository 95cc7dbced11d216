# Sourced by the scripts beside it: sets $python to a Python 3.11 or newer and $root to the project's directory.
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
python=
for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "This needs Python 3.11 or newer and none was found: install one (for instance from python.org) and run it again." >&2
    exit 1
fi
