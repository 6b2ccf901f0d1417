# Sourced by ./demo and ./test: installs the Debian packages that are missing and configures build/release. Says what it
# does; does nothing when there is nothing to do.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
[ -t 1 ] && [ -z "${NO_COLOR:-}" ] || say() { printf '==> %s\n' "$*"; }

# install_packages PACKAGE...: those that are missing, as root or through sudo.
install_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  say "installing ${#missing[@]} Debian packages: ${missing[*]}"
  local root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "these packages need root, and there is no sudo" >&2; exit 1; }
    root=(sudo)
  fi
  "${root[@]}" apt-get update -qq
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

build_packages=(g++ cmake ninja-build ccache pkg-config libfmt-dev libspdlog-dev nlohmann-json3-dev libsimdjson-dev libcli11-dev
  libavformat-dev libavcodec-dev libavutil-dev libswresample-dev libswscale-dev libjpeg62-turbo-dev libpng-dev libwebp-dev
  libboost1.81-dev libcurl4-openssl-dev zlib1g-dev libzstd-dev libgtest-dev libgmock-dev)
# What the tests of the chat page need.
browser_packages=(chromium chromium-driver fonts-dejavu-core)

configure() {
  if [ ! -f build/release/build.ninja ]; then
    say "configuring build/release"
    cmake --preset release > build-configure.log 2>&1 || { cat build-configure.log; exit 1; }
    rm -f build-configure.log
  fi
}

# build TARGET...: ninja's progress line on a terminal, silence but for errors otherwise.
build() {
  say "building $* (a few minutes the first time)"
  local jobs
  jobs=$(nproc)
  # A compiler takes up to 1.5 GB: small machines get fewer jobs.
  local by_memory=$(( $(awk '/MemAvailable/ {print $2}' /proc/meminfo) / 1500000 + 1 ))
  [ "$jobs" -gt "$by_memory" ] && jobs=$by_memory
  local quiet=(--quiet)
  [ -t 1 ] && quiet=()
  NINJA_STATUS='[%f/%t, %es] ' ninja -C build/release -j "$jobs" "${quiet[@]}" "$@" || { echo "the build failed" >&2; exit 1; }
}
