#!/bin/sh
# Makes sure that the commands named as arguments exist: installs the Debian packages of the same names when run as root on
# Debian, fails otherwise and says what to do. A command that comes from a package of another name is `command:package`.
set -u

missing=
for tool in "$@"; do
    command -v "${tool%%:*}" >/dev/null 2>&1 || missing="$missing ${tool##*:}"
done
[ -z "$missing" ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    # shellcheck disable=SC2086 # a list of names
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing && exit 0
fi
echo "make: the tests need:$missing (Debian: apt-get install$missing); SYSTEM=0 leaves those tests out" >&2
exit 1
