#!/bin/bash
# `ray start --node-ip-address` with an address of loopback listens on all interfaces. 127.0.0.1 is exchanged for the
# outer address of the machine; 127.0.0.2 is kept, and its servers are bound to all addresses all the same. Only where
# the node's address is 127.0.0.1 itself are they bound to it, which RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 brings about,
# a variable for other systems; with it a second node is refused. Whoever reaches a port can run what they like.
#
# ray 2.60.0, Python 3.11, Linux. Source: ray/_private/services.py, resolve_ip_for_localhost and get_node_ip_address.
# What avoids it: a firewall, a network namespace, or the variable where one node is enough.
#
# Seen:
#   127.0.0.2: listens on all interfaces
#   127.0.0.1, RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0: listens on loopback alone
#   a second node, RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0: refused
#
# Ends with 0 while it is so, and with 1 when it has changed. In a network namespace without another interface than
# loopback it is harmless: unshare -n -r.
set -euo pipefail
folder=$(mktemp -d /tmp/ray-XXXXXX)
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
export RAY_USAGE_STATS_ENABLED=0
begin() {  # name, variable, options of `ray start`
  local name=$1 variable=$2
  shift 2
  env "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=$variable" setsid "$python" -m ray.scripts.scripts start "$@" --block \
    --num-cpus 1 --num-gpus 0 --object-store-memory 100000000 --disable-usage-stats >"$folder/$name.log" 2>&1 &
  started+=("$!")
  for _ in $(seq 120); do
    if grep -q "Ray runtime started" "$folder/$name.log" || ! kill -0 "$!" 2>/dev/null; then return; fi
    sleep 0.5
  done
}
listens() {  # where Ray's C++ servers of this machine listen
  if ss -ltnp | grep -E '"(raylet|gcs_server)"' | grep -qE '(\*|0\.0\.0\.0|\[::\]):[0-9]+ '; then
    echo "listens on all interfaces"
  else
    echo "listens on loopback alone"
  fi
}
end() {
  kill -9 -- "-${started[-1]}" 2>/dev/null || true
  sleep 2
}
changed=0
begin other 1 --head --node-ip-address 127.0.0.2 --port 26379 --include-dashboard=false --ray-client-server-port 26380 \
  --temp-dir "$folder/a"
told=$(listens)
echo "127.0.0.2: $told"
[ "$told" = "listens on all interfaces" ] || changed=1
end
begin one 0 --head --node-ip-address 127.0.0.1 --port 26381 --include-dashboard=false --ray-client-server-port 26382 \
  --temp-dir "$folder/b"
told=$(listens)
echo "127.0.0.1, RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0: $told"
[ "$told" = "listens on loopback alone" ] || changed=1
begin second 0 --address 127.0.0.1:26381 --node-ip-address 127.0.0.1
told=$(grep -q "Multi-node Ray clusters are not supported" "$folder/second.log" && echo refused || echo "not refused")
echo "a second node, RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0: $told"
[ "$told" = "refused" ] || changed=1
exit $changed
