#!/usr/bin/env bash
# Calls each deploy hook in RENDER_DEPLOY_HOOKS, one URL a line. The URLs are secrets: never printed.
set -euo pipefail
number=0
while read -r url; do
  [ -n "$url" ] || continue
  number=$((number + 1))
  curl --fail --silent --show-error --output /dev/null --retry 3 --max-time 60 --request POST --config - <<< "url = \"$url\"" \
    || { echo "hook $number failed" >&2; exit 1; }
  echo "hook $number called"
done <<< "${RENDER_DEPLOY_HOOKS:-}"
[ "$number" -gt 0 ] || { echo "RENDER_DEPLOY_HOOKS is empty" >&2; exit 1; }
