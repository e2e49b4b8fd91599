#!/usr/bin/env bash
# Prefect 3.8.8 with SQLAlchemy 2.1 plans no run, and nothing that a user looks at says so.
#
# Versions   prefect 3.8.8 and 3.9.1, each with SQLAlchemy 2.1.9 and aiosqlite 0.22.1 (3.8.8 needs fastapi below 0.151).
# Source     prefect/server/models/deployments.py, `_insert_scheduled_flow_runs`: the runs go in by an insert of many
#            rows through the ORM's session. prefect 3.8.8 asks for sqlalchemy>=2.0,<3.0, so that pip installs 2.1.
# Behaviour  SQLAlchemy 2.1 refuses that insert, on every pass of the scheduler. The error is in the server's log alone;
#            the deployment stays READY and its schedule active, in the UI and the API, and no scheduled run ever exists.
#            With 3.9.1 the same program finds the runs of the next hour within seconds.
# Seen       3.8.8: 0 runs planned, schedule active: True, errors in the server's log: more than 0
#            3.9.1: 60 or more runs planned, schedule active: True
# Ends with 0 where this is what happens, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cat > "$folder/plan.py" <<'PYTHON'
"""A deployment with an every-minute schedule on a server of this process; how many runs are planned after a while."""
import os, subprocess, sys, time, urllib.request, json
port, log = sys.argv[1], open(sys.argv[2], "wb")
url = f"http://127.0.0.1:{port}/api"
server = subprocess.Popen([sys.executable, "-m", "prefect", "server", "start", "--port", port], stdout=log, stderr=log)
def ask(path, **content):
    request = urllib.request.Request(f"{url}/{path}", json.dumps(content).encode(), {"Content-Type": "application/json"})
    return json.loads(urllib.request.urlopen(request, timeout=60).read())
try:
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5)
            break
        except OSError:
            time.sleep(0.5)
    flow = ask("flows/", name="nightly")
    schedule = {"schedule": {"cron": "* * * * *", "timezone": "UTC"}, "active": True}
    made = ask("deployments/", name="nightly", flow_id=flow["id"], schedules=[schedule])
    deadline = time.monotonic() + 150  # the scheduler looks every minute, and every five seconds at what is new
    while not (planned := ask("flow_runs/count", flow_runs={"state": {"type": {"any_": ["SCHEDULED"]}}})):
        if time.monotonic() > deadline:
            break
        time.sleep(2)
    print(planned, made["schedules"][0]["active"])
finally:
    server.terminate()
    server.wait(30)
PYTHON

plan() {  # VERSION PORT: prints the count of planned runs and whether the schedule is active
  python3 -m venv "$folder/$1"
  "$folder/$1/bin/python" -m pip install --quiet --disable-pip-version-check "prefect==$1" "sqlalchemy==2.1.9" "fastapi<0.151" "aiosqlite==0.22.1" 1>&2
  env PREFECT_HOME="$folder/home-$1" PREFECT_LOGGING_SERVER_LEVEL=ERROR PREFECT_SERVER_ANALYTICS_ENABLED=false DO_NOT_TRACK=1 \
    "$folder/$1/bin/python" "$folder/plan.py" "$2" "$folder/$1.log"
}

old=$(plan 3.8.8 42881)
new=$(plan 3.9.1 42891)
errors=$(grep -c "ERROR" "$folder/3.8.8.log" || true)
echo "3.8.8: ${old% *} runs planned, schedule active: ${old#* }, errors in the server's log: $errors"
grep -m1 -E "^sqlalchemy|^[A-Za-z_.]*Error" "$folder/3.8.8.log" | cut -c1-300 || true
echo "3.9.1: ${new% *} runs planned, schedule active: ${new#* }"
[ "$old" = "0 True" ] && [ "$errors" -gt 0 ] && [ "${new% *}" -gt 0 ] && [ "${new#* }" = "True" ]
