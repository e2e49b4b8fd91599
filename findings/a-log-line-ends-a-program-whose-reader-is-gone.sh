#!/bin/bash
# Prefect's logging to the terminal, through rich, in a program whose output goes to another program that has ended: the
# next log line ends it with SystemExit(1), out of the middle of whatever it computes. Python's own StreamHandler meets
# the same BrokenPipeError, tells it on the error stream and goes on. A worker of Prefect reads what its flow runs print,
# so a flow run that outlives its worker (kill -9 of that alone) dies at its next line.
#
# prefect 3.9.1, rich 15.0.0, Python 3.11. Source: rich/console.py, Console.on_broken_pipe, which sets the console quiet
# and raises SystemExit(1); prefect/logging/handlers.py, PrefectConsoleHandler.emit, which holds back Exception, and
# SystemExit is none.
# What avoids it: hold SystemExit back where you log; the console is quiet from then on.
#
# Seen:
#   logging.StreamHandler: to its end
#   PrefectConsoleHandler: SystemExit(1) at a later line
#   PrefectConsoleHandler, SystemExit held back: to its end
#
# Ends with 0 while it is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ -n "${VENV:-}" ]; then
  python=$VENV/bin/python
else
  python3 -m venv "$folder/venv"
  python=$folder/venv/bin/python
  "$python" -m pip install --quiet --disable-pip-version-check prefect==3.9.1 rich==15.0.0
fi
cat >"$folder/lines.py" <<'PYTHON'
import logging
import sys
import time

from prefect.logging.handlers import PrefectConsoleHandler

how, told = sys.argv[1:]
handler = logging.StreamHandler() if how == "plain" else PrefectConsoleHandler()
logger = logging.getLogger("lines")
logger.addHandler(handler)
logger.setLevel(logging.INFO)
with open(told, "w") as file:
    for number in range(8):
        try:
            logger.info("line %d", number)
        except SystemExit as error:
            if how != "held":
                file.write(f"SystemExit({error.code}) at a later line" if number > 0 else "SystemExit at once")
                sys.exit()
        time.sleep(0.2)
    file.write("to its end")
PYTHON
changed=0
for how in plain prefect held; do
  "$python" "$folder/lines.py" "$how" "$folder/$how" 2>&1 | head -n 1 >/dev/null || true
  told=$(cat "$folder/$how")
  case $how in
    prefect) expected="SystemExit(1) at a later line" ;;
    *) expected="to its end" ;;
  esac
  echo "$how: $told"
  [ "$told" = "$expected" ] || changed=1
done
exit $changed
