# Sourced by the other scripts: leaves $venv with everything installed, whatever the machine had.
# Does nothing, quickly, when that is already so.

venv=$PWD/.venv

say() { printf '%s\n' "$*" >&2; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else say "This needs root, and there is no sudo: run it as root."; return 77
  fi
}

apt_install() {
  command -v apt-get >/dev/null || { say "Please install: $*"; return 69; }
  say "Installing with apt-get: $*"
  # One stale index is the usual cause of a failed install, so refresh it then and only then.
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null 2>&1 && return
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
}

# Usage: need COMMAND PACKAGE
need() { PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null || apt_install "$2"; }

need python3 python3
need ip iproute2
need nft nftables
need iperf3 iperf3
need ping iputils-ping

python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  say "MultiWANBond needs Python 3.11 or newer; this is $(python3 --version)."
  exit 69
}
# Debian splits ensurepip from python3; without it `venv` makes an environment without pip.
python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv

stamp=$venv/.installed-from
wanted=$(cksum <pyproject.toml)
if [ ! -x "$venv/bin/python" ] || [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
  say "Setting up $venv (once; about half a minute)"
  python3 -m venv "$venv"
  install_package() { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -e '.[dev]'; }
  # Where python-pytun or zfec have no wheel (ARM), pip must compile: only then is a compiler needed.
  install_package || { apt_install build-essential python3-dev libffi-dev && install_package; } || {
    say "pip could not install the Python packages; its message is above."
    exit 69
  }
  printf '%s' "$wanted" >"$stamp"
fi

# Compiled where a compiler and Python's headers are at hand; without them the same is done by
# Python, at more processor time per gigabyte, so neither is installed for it.
source=multiwanbond/native/run_cipher.c
if [ ! "$venv/.compiled-from" -nt "$source" ]; then
  "$venv/bin/python" -m multiwanbond.native.build || :
  touch "$venv/.compiled-from"
fi
