# Sourced after setup.sh. Usage: vendor PYTHON DIRECTORY FINAL [BIN]
# Leaves in DIRECTORY the package with all that it needs, compiled for PYTHON, as it will lie in
# FINAL; and in BIN/mwb the command. Nothing of it points into this clone: the service runs as a
# user who may not enter somebody's home, and a virtual environment cannot be moved.

vendor() (
  python=$1 directory=$2 final=$3 bin=$4
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    say "MultiWANBond needs Python 3.11 or newer; $python is $("$python" --version 2>&1)."
    return 69
  }
  # What pip brings is kept until something of this changes: our own files are not in the sum.
  sum=$({ "$python" -VV; uname -m; cat pyproject.toml multiwanbond/__init__.py; } | cksum | tr -d ' ')
  kept=$PWD/build/packages-$sum
  if [ ! -d "$kept" ]; then
    say "Collecting Python packages in $kept (once; about half a minute)"
    rm -rf build/packages-* "$kept.new"
    fetch() {
      "$venv/bin/python" -m pip --python "$python" install --quiet --disable-pip-version-check \
        --no-compile --no-warn-script-location --target "$kept.new" .
    }
    fetch || { apt_install build-essential python3-dev libffi-dev && fetch; } || {
      say "pip could not collect the Python packages; its message is above."
      return 69
    }
    # Commands of others, their manuals, and half of zstandard that only PyPy uses (12 MB).
    rm -rf "$kept.new"/bin "$kept.new"/share "$kept.new"/multiwanbond "$kept.new"/zstandard/_cffi.*
    mv "$kept.new" "$kept"
  fi
  mkdir -p "$directory" "$bin"
  cp -R "$kept"/. "$directory"
  cp -R multiwanbond "$directory"
  # Compiled here and now, so that nobody who runs it leaves files that no package knows of; never
  # compared with the source again, which the package alone changes.
  find "$directory" -name __pycache__ -prune -exec rm -rf {} +
  "$python" -m compileall -q --invalidation-mode unchecked-hash -s "$directory" -p "$final" "$directory"
  sed -e "s|@python@|$python|" -e "s|@lib@|$final|" deploy/mwb.in >"$bin/mwb"
  chmod -R u=rwX,go=rX "$directory"
  chmod 755 "$bin/mwb"
)
