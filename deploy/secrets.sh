#!/bin/sh
# Writes passwords of your own for docker-compose.yml into .secrets/, as `make secrets`.
set -eu
cd "$(dirname "$0")/.."
[ ! -e .secrets ] || { echo ".secrets is there already; move it away first" >&2; exit 1; }
password() { head -c 32 /dev/urandom | base64 | tr -d '+/=\n'; }
redis=$(password)
# The folder keeps others on this machine out; in containers, other users must read the files.
mkdir -m 700 .secrets
umask 022
for name in redis_acl redis_url; do sed "s/local-only/$redis/" "deploy/secrets/$name" > ".secrets/$name"; done
for name in scratch_flower_auth grafana_password; do sed "s/local-only/$(password)/" "deploy/secrets/$name" > ".secrets/$name"; done
: > .secrets/alert_app_password
echo "Made .secrets/. To use it, put this line into .env:"
echo "SECRETS=./.secrets"
