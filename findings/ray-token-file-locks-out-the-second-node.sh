#!/bin/bash
# A file ~/.ray/auth_token decides what two commands of one release do with RAY_AUTH_MODE unset, and they do not agree:
# `ray start --head` finds it and asks everybody for the token, `ray start --address` does not look and brings none, so
# that a second node of the same user on the same machine is refused. Such a file need not be anybody's wish: `ray.init()`
# without an address writes one, and stays silent about the next `ray start`.
#
# ray 2.60.0, Python 3.11, Linux. Source: ray/scripts/scripts.py, `start`, where only the branch of the head calls
# maybe_enable_token_auth_if_token_available. What avoids it: RAY_AUTH_MODE, said on every machine.
#
# Seen:
#   no token file: the second node joins
#   ray.init() leaves a token file
#   a token file: the second node is refused
#   a token file, RAY_AUTH_MODE=token: the second node joins
#
# Ends with 0 while it is so, and with 1 when it has changed. In a network namespace without another interface than
# loopback it is harmless: unshare -n -r, with loopback up.
set -euo pipefail
folder=$(mktemp -d /tmp/rt-XXXXXX)
started=()
finish() {
  for group in "${started[@]}"; do kill -9 -- "-$group" 2>/dev/null || true; done
  rm -rf "$folder"
}
trap finish EXIT
if [ -n "${VENV:-}" ]; then
  python=$VENV/bin/python
else
  python3 -m venv "$folder/venv"
  python=$folder/venv/bin/python
  "$python" -m pip install --quiet --disable-pip-version-check ray==2.60.0
fi
export RAY_USAGE_STATS_ENABLED=0 HOME=$folder/home
unset RAY_AUTH_MODE RAY_AUTH_TOKEN RAY_AUTH_TOKEN_PATH
mkdir "$HOME"
begin() {  # name, options of `ray start`
  local name=$1
  shift
  : >"$folder/$name.log"
  setsid "$python" -m ray.scripts.scripts start "$@" --block --node-ip-address 127.0.0.2 --num-cpus 1 --num-gpus 0 \
    --object-store-memory 100000000 --min-worker-port 0 --max-worker-port 0 --disable-usage-stats >"$folder/$name.log" 2>&1 &
  started+=("$!")
  for _ in $(seq 120); do
    if grep -q "Ray runtime started" "$folder/$name.log" || ! kill -0 "$!" 2>/dev/null; then return; fi
    sleep 0.5
  done
}
two_nodes() {  # name, port: whether the second one joins
  begin "$1-head" --head --port "$2" --include-dashboard=false --ray-client-server-port "$(($2 + 1))" --temp-dir "$folder/$1"
  begin "$1-second" --address "127.0.0.2:$2"
  if grep -q "Ray runtime started" "$folder/$1-second.log"; then echo "the second node joins"; else echo "the second node is refused"; fi
  for group in "${started[@]}"; do kill -9 -- "-$group" 2>/dev/null || true; done
  started=()
  sleep 2
}
changed=0
expect() {
  echo "$1: $2"
  [ "$2" = "$3" ] || changed=1
}
expect "no token file" "$(two_nodes a 26379)" "the second node joins"
"$python" -c 'import ray; ray.init(num_cpus=1, num_gpus=0, object_store_memory=100000000, include_dashboard=False, _temp_dir="'"$folder/i"'"); ray.shutdown()' >"$folder/init.log" 2>&1 || true
if [ -s "$HOME/.ray/auth_token" ]; then echo "ray.init() leaves a token file"; else echo "ray.init() leaves none"; changed=1; fi
mkdir -p "$HOME/.ray"
[ -s "$HOME/.ray/auth_token" ] || printf 'a-token-of-nobody' >"$HOME/.ray/auth_token"
expect "a token file" "$(two_nodes b 26479)" "the second node is refused"
export RAY_AUTH_MODE=token
expect "a token file, RAY_AUTH_MODE=token" "$(two_nodes c 26579)" "the second node joins"
exit "$changed"
