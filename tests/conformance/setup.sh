# Sourced by `run` and `million`: finds or installs python3, node and amqp-tools, and the clients in their pinned versions under target/conformance.
# Sets `here` (this folder) and `cache`; the working directory becomes the repository's root.
cd "$(dirname "$0")/../.."
here=$PWD/tests/conformance
cache=${CARGO_TARGET_DIR:-$PWD/target}/conformance
mkdir -p "$cache"

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# Installs Debian packages unless a command is there already: need COMMAND PACKAGE...
need() {
    command -v "$1" >/dev/null && return
    as_root apt-get -qq update && as_root apt-get -qq install -y --no-install-recommends "${@:2}" >/dev/null
}

# Runs a command unless its inputs are those of the last time: fresh STAMP INPUT COMMAND...
fresh() {
    local stamp=$cache/$1.installed input=$2
    cmp -s "$input" "$stamp" && return
    "${@:3}" && cp "$input" "$stamp"
}

need python3 python3 python3-venv
need node nodejs npm
need npm npm
need amqp-publish amqp-tools

make_venv() {
    python3 -m venv --clear "$cache/venv" 2>/dev/null || { as_root apt-get -qq update && as_root apt-get -qq install -y python3-venv >/dev/null && python3 -m venv --clear "$cache/venv"; }
    "$cache/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/python/requirements.txt"
}
make_node_modules() {
    mkdir -p "$cache/node" && cp "$here"/node/package*.json "$cache/node/"
    npm ci --prefix "$cache/node" --silent --no-audit --no-fund
}
fresh python "$here/python/requirements.txt" make_venv
fresh node "$here/node/package-lock.json" make_node_modules

export CONFORMANCE_CACHE=$cache
export PYTHONDONTWRITEBYTECODE=1
