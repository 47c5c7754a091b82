#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# consumers.sh SOURCE BUILD HOW: builds real programs with lockbyfile, as its users would, and
# runs them. HOW is
#   installed        from the tree that BUILD installs: find_package, pkg-config, C
#   add_subdirectory from SOURCE, by FetchContent
#   shared           like installed, from a build of the shared library of its own
set -eu
source=$1 build=$2 how=$3
here=$source/tests/consumers
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
unset LOCKBYFILE_DIR CXXFLAGS CFLAGS LDFLAGS

run() {  # PROGRAM
  (cd "$scratch" && LD_LIBRARY_PATH=${libdir:-} "$1")
}

installed() {  # BUILD [COMPONENT]
  prefix=$scratch/prefix
  cmake --install "$1" --prefix "$prefix" ${2:+--component "$2"} >"$scratch/log"
  libdir=$(dirname "$(find "$prefix" -name 'liblockbyfile.*' | head -n 1)")

  cmake -S "$here/find_package" -B "$scratch/find_package" -G Ninja \
    -DCMAKE_PREFIX_PATH="$prefix" >"$scratch/log"
  cmake --build "$scratch/find_package" >"$scratch/log" || { cat "$scratch/log"; exit 1; }
  run "$scratch/find_package/consumer"
  run "$scratch/find_package/consumer_in_c"

  export PKG_CONFIG_PATH="$libdir/pkgconfig"
  pkg() { pkg-config "$@" lockbyfile; }
  [ "$(pkg --variable=prefix | xargs realpath)" = "$(realpath "$prefix")" ]
  # shellcheck disable=SC2046  # words on purpose
  c++ -std=c++20 -Wall -Werror $(pkg --cflags) "$here/consumer.cpp" -o "$scratch/by_pkg_config" \
    $(pkg --libs)
  run "$scratch/by_pkg_config"
  # shellcheck disable=SC2046
  cc -std=c99 -Wall -Werror -pedantic $(pkg --cflags) "$here/consumer.c" -o "$scratch/in_c" $(pkg --libs)
  run "$scratch/in_c"
}

case $how in
  installed) installed "$build" ;;
  add_subdirectory)
    cmake -S "$here/add_subdirectory" -B "$scratch/build" -G Ninja -DLOCKBYFILE_SOURCE="$source" \
      >"$scratch/log"
    cmake --build "$scratch/build" --target consumer >"$scratch/log" || { cat "$scratch/log"; exit 1; }
    run "$scratch/build/consumer"
    ;;
  shared)
    cmake -S "$source" -B "$scratch/shared" -G Ninja -DBUILD_SHARED_LIBS=ON \
      -DLOCKBYFILE_LIBRARY_ONLY=ON -DCMAKE_BUILD_TYPE=Release >"$scratch/log"
    cmake --build "$scratch/shared" >"$scratch/log" || { cat "$scratch/log"; exit 1; }
    installed "$scratch/shared"
    readelf -d "$scratch/in_c" | grep -q 'NEEDED.*liblockbyfile\.so\.'
    # A handler for SIGBUS stays behind, so the code must: in each module that may be unloaded.
    for module in "$scratch"/shared/src/liblockbyfile.so "$build"/lockbyfile-etcd-engine.so \
      "$build"/python/lockbyfile/_lockbyfile*.so; do
      [ ! -e "$module" ] || readelf -d "$module" | grep -q NODELETE || { echo "$module" >&2; exit 1; }
    done
    ;;
esac
