#!/bin/bash
# Trackers of accelerate used by themselves, without an Accelerator: TensorBoard's starts, trackio's raises that the
# state is not initialised, and the same one starts once TensorBoard's has been started in the process. Whether a
# tracker works alone depends on which other one came first.
#
# accelerate 1.15.0, trackio 0.43.0, tensorboard 2.21.0, torch 2.13.0, Python 3.11. Source: accelerate/tracking.py.
# Methods of trackers for the main process alone go through a decorator that makes a PartialState as it runs; those of
# trackio and W&B are for every process and skip it, but write a debug message through accelerate's logger, which
# refuses without that state even where the message would not be shown.
# What avoids it: make `PartialState(cpu=True)` before any tracker.
#
# Seen:
#   trackio alone: RuntimeError: You must initialize the accelerate state by calling either `PartialState()` or …
#   tensorboard alone: started
#   trackio after tensorboard: started
#
# Ends with 0 while it is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 accelerate==1.15.0 trackio==0.43.0 tensorboard==2.21.0
export TRACKIO_DIR="$folder/trackio" FOLDER="$folder"
cat >"$folder/start.py" <<'PYTHON'
import contextlib
import io
import os
import sys

from accelerate import tracking


def started(name):
    if name == "tensorboard":
        tracker = tracking.TensorBoardTracker("run", os.environ["FOLDER"])
    else:
        tracker = tracking.TrackioTracker("project", name="run")
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            tracker.start()
            tracker.log({"loss": 0.5}, step=1)
            tracker.finish()
    except RuntimeError as error:
        return f"RuntimeError: {error}"
    return "started"


print([started(name) for name in sys.argv[1:]][-1])
PYTHON
cd "$folder"
alone=$(venv/bin/python start.py trackio 2>/dev/null)
board=$(venv/bin/python start.py tensorboard 2>/dev/null)
after=$(venv/bin/python start.py tensorboard trackio 2>/dev/null)
printf '%s\n' "trackio alone: $alone" "tensorboard alone: $board" "trackio after tensorboard: $after"
[[ $alone == "RuntimeError: You must initialize the accelerate state"* && $board == started && $after == started ]]
