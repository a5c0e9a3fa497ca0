#!/bin/sh
# Debian's RabbitMQ, without the service that its package starts.
set -eu
[ "$(id -u)" = 0 ] || exec sudo "$0"
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod 755 "$policy"
  trap 'rm "$policy"' EXIT
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends rabbitmq-server > /dev/null
# not after the next start of the machine either
! command -v systemctl > /dev/null || systemctl disable --quiet rabbitmq-server epmd.service epmd.socket
