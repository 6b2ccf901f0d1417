#!/usr/bin/env bash
# clang-format over the whole tree, clang-tidy over FILE... (all sources without arguments: an hour of one core). Both of Debian 12,
# version 14: apt-get install clang-format-14 clang-tidy-14. Exit 0 only if nothing was found.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
git ls-files '*.cpp' '*.h' | xargs clang-format-14 --dry-run -Werror
cmake --preset dev -DCMAKE_EXPORT_COMPILE_COMMANDS=ON > /dev/null
if [ $# -eq 0 ]; then
  mapfile -t files < <(git ls-files 'src/*.cpp' 'tests/*.cpp' 'fuzz/*.cpp')
else
  files=("$@")
fi
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -I{} sh -c 'clang-tidy-14 -p build/dev --quiet --extra-arg=-Wno-unknown-warning-option "$1" 2>/dev/null || { echo "$1" >&2; exit 255; }' - {}
echo "clang-format and clang-tidy: ${#files[@]} files, nothing found"
