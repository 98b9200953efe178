#!/bin/sh
# Run by the Makefile: `install.sh STAMP MEGABYTES WHAT FILE…` installs the packages of the requirements FILEs into
# .venv, which it creates first if there is no working one, and touches STAMP. Errors that a user can fix are one
# sentence.
set -eu
stamp=$1 megabytes=$2 what=$3
shift 3
for file; do set -- "$@" --requirement "$file" && shift; done
# Without a network, pip cannot install from its own cache, but it can from a folder of wheels.
wheels=${XDG_CACHE_HOME:-${HOME:-.venv}/.cache}/todo-service

fail() {
    echo "$*" >&2
    exit 1
}

pip() {
    command=$1
    shift
    .venv/bin/python -m pip "$command" --disable-pip-version-check --no-deps --require-hashes --progress-bar off "$@"
}

# Sets the variable python.
find_python() {
    if [ "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- python3 python3.14 python3.13 python3.12 python3.11; fi
    bare='' tried="$*"
    for python; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            "$python" -c 'import venv; from ensurepip import bootstrap' 2>/dev/null && break
            bare=${bare:-$python}
        fi
        python=
    done
    [ ! "$python" ] || return 0
    [ ! "$bare" ] || fail "$bare lacks its venv module: on Debian and Ubuntu, apt install ${bare##*/}-venv brings it."
    example='install it, or name one, for example PYTHON=/opt/python/bin/python3'
    fail "Python 3.11 or newer is needed (tried: $tried): $example."
}

check_disk() {
    free=$(df -Pk . | sed -n '2s/.* \([0-9][0-9]*\)  *[0-9]*% .*/\1/p')
    [ "${free:-$((megabytes * 1000))}" -ge $((megabytes * 1000)) ] ||
        fail "The disk is full: .venv needs $megabytes MB here, and $((free / 1000)) MB are free."
}

make_venv() {
    # By its own name: if a system upgrade changes python3, .venv keeps its Python, or make notices that it is gone.
    python=$("$python" -c 'import os, sys; print(os.path.realpath(sys.executable))')
    if ! said=$("$python" -m venv --clear .venv 2>&1); then
        fail ".venv could not be made: $(echo "$said" | tail -n 1)"
    fi
}

# Reads pip's output; prints the packages' names as they appear, and one sentence for a failure.
report() {
    line='' reason='' offline=''
    while read -r word rest; do
        case "$word $rest" in
            "Collecting "*)
                line="$line ${rest%%=*}" offline=''
                printf ' %s' "${rest%%=*}"
                [ ${#line} -lt 80 ] || { echo && line=''; }
                ;;
            *Retrying*)
                [ "$offline" ] || echo "No answer from where the packages are. Trying again."
                offline=yes
                ;;
            "ERROR: "*) reason=$rest ;;
            "failed ")
                advice='connect to the network, where need be with HTTPS_PROXY and PIP_CERT'
                [ ! "$offline" ] || fail "The packages could not be downloaded: $advice."
                fail "The packages could not be installed: $reason"
                ;;
        esac
    done
    [ ! "$line" ] || echo
}

from_wheels() {
    pip install --no-index --find-links "$wheels" "$@" >/dev/null 2>&1
}

[ -w . ] || fail "$PWD is not writable for you ($(id -un)): put the clone into a folder of yours."
[ ! -e .venv ] || [ -w .venv ] || fail "$PWD/.venv is not writable for you ($(id -un)): remove it, and it is made anew."
python=''
[ -e .venv/run.stamp ] && .venv/bin/python -m pip --version >/dev/null 2>&1 || find_python
check_disk
echo "Installing $what."
[ ! "$python" ] || make_venv
mkdir -p "$wheels" 2>/dev/null && [ -w "$wheels" ] || wheels=.venv/wheels
if ! from_wheels "$@"; then
    { pip download --dest "$wheels" "$@" 2>&1 || echo failed; } | report
    echo "Unpacking them."
    # With the network: if a package has no wheel for this machine, pip builds one.
    from_wheels "$@" || { pip install "$@" 2>&1 || echo failed; } | report
fi
touch "$stamp"
