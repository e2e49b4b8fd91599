"""The process between a flow, or a step, and a Ray cluster: `python -P driver.py PARENT ADDRESS`.

A program of its own, with the standard library and Ray alone. In the flow's own process Ray would take its signals, its
logging and its exit. It reads requests from standard input and says on standard output what becomes of them, one JSON
object a line. When its input closes or its parent is gone it leaves the cluster, and Ray ends what it has started.

    in    {"task": ID, "module": MODULE, "told": …, "stays": BOOL, "cpus": N, "gpus": N, "memory": BYTES}    {"end": ID}
          with "group": [NAME, INDEX, SIZE]: so many begin together, each on another node
    out   {"ready": true} or {"error": TEXT}, once       {"task": ID, "state": STATE, "message": TEXT, "answer": …}

Ray repeats nothing by itself here: what is lost is told, and whoever asked for it asks again.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

_SECONDS_BETWEEN_LOOKS = 3.0
_hands: dict[str, Any] = {}  # in Ray's worker: our processes that stay for its next task, by what they may compute on


def work(module: str, told: Any, stays: bool) -> Iterator[dict[str, Any]]:
    """What Ray's worker does: hand `told` to a process of ours, `python -m MODULE`, which answers with one line. Torch
    is never loaded in Ray's process. Ours ends with it: its standard input closes. It goes to the worker by value, so
    it needs the standard library and Ray alone."""
    import json
    import os
    import socket
    import subprocess
    import sys

    import ray

    host = socket.gethostname()
    yield {"host": host}
    key = f"{module} {os.environ.get('CUDA_VISIBLE_DEVICES')}"
    for other in [name for name in _hands if name != key or not stays]:
        _hands.pop(other).stdin.close()
    hand = _hands.pop(key, None)
    if hand is None or hand.poll() is not None:
        kept = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}  # Ray's, by its cpus
        kept.setdefault("HALTER_NODE_ADDRESS", ray.util.get_node_ip_address())  # as other nodes reach this one
        command = [sys.executable, "-P", "-m", module]
        pipe = subprocess.PIPE
        hand = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=kept, start_new_session=True)
    try:
        hand.stdin.write(json.dumps(told).encode() + b"\n")
        hand.stdin.flush()
        line = hand.stdout.readline()
    except OSError:
        line = b""
    if line and stays:
        _hands[key] = hand
    else:
        hand.stdin.close()
        hand.wait()
    if not line:
        raise RuntimeError(
            f"its process on {host} ended with code {hand.returncode} and no answer; its last words are in the log of "
            "Ray's worker there"
        )
    yield {"answer": json.loads(line)}


class Driver:
    """What was asked for, and what became of it."""

    def __init__(self, ray: Any, out: Any) -> None:
        self._ray, self._out = ray, out
        self._lock = threading.Lock()
        self._running: dict[str, Any] = {}
        self._waiting: dict[str, tuple[dict[str, float], int]] = {}
        self._groups = Groups(ray)
        self._remote = ray.remote(max_retries=0)(work)

    def say(self, **what: Any) -> None:
        """One line."""
        with self._lock:
            self._out.write(json.dumps(what) + "\n")
            self._out.flush()

    def begin(self, asked: dict[str, Any]) -> None:
        """Ask Ray for a worker."""
        task = asked["task"]
        needs = {"CPU": asked["cpus"], "GPU": asked["gpus"], "memory": asked["memory"]}
        placed = {"num_cpus": needs["CPU"], "num_gpus": needs["GPU"], "memory": needs["memory"] or None}
        kept = {name: value for name, value in needs.items() if value}
        group = asked["group"]
        self._waiting[task] = (kept, group[2] if group else 1)
        if group:
            placed["scheduling_strategy"] = self._groups.place(group[0], group[1], group[2], kept)
        running = self._remote.options(num_returns="streaming", name=asked["name"], **placed).remote(
            asked["module"], asked["told"], asked["stays"]
        )
        self._running[task] = running
        threading.Thread(target=self._follow, args=(task, running, group), daemon=True).start()

    def end(self, task: str) -> None:
        """Nobody needs it any more: its worker is killed, and our process goes with that."""
        running = self._running.get(task)
        if running is not None:
            self._ray.cancel(running, force=True)

    def _follow(self, task: str, running: Any, group: Any) -> None:
        answer: Any = None
        state, message = "FAILED", "it ended without an answer"
        try:
            for each in running:
                told = self._ray.get(each)
                self._waiting.pop(task, None)
                if "host" in told:
                    self.say(task=task, state="RUNNING", message=told["host"])
                else:
                    answer, state, message = told["answer"], "COMPLETED", ""
        except self._ray.exceptions.TaskCancelledError:
            state, message = "CANCELLED", "it was cancelled in the cluster"
        except self._ray.exceptions.RayTaskError as error:
            state, message = "FAILED", f"{error.cause}"
        except Exception as error:  # whatever Ray raises: a worker, a node or the cluster is gone
            state, message = "CRASHED", f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        self._waiting.pop(task, None)
        self._running.pop(task, None)
        if group:
            self._groups.leave(group[0])
        self.say(task=task, state=state, message=message, answer=answer)

    def look(self) -> None:
        """Say of each that waits for what it waits."""
        for task, (needs, size) in list(self._waiting.items()):
            nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
            able = sum(all(node.get(name, 0) >= value for name, value in needs.items()) for node in nodes)
            self.say(task=task, state="SCHEDULED", message=waits_for(needs, able, len(nodes), size))


class Groups:
    """Tasks that begin together, each on another node: Ray keeps room for all of them at once, or for none."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._lock = threading.Lock()
        self._room: dict[str, list[Any]] = {}  # and how many of its tasks have not ended

    def place(self, name: str, index: int, size: int, needs: dict[str, float]) -> Any:
        """Where the task of a group with this number, from 0, is done."""
        with self._lock:
            if name not in self._room:
                self._room[name] = [self._ray.util.placement_group([needs] * size, strategy="STRICT_SPREAD"), size]
            room = self._room[name][0]
        strategies = self._ray.util.scheduling_strategies
        return strategies.PlacementGroupSchedulingStrategy(room, placement_group_bundle_index=index)

    def leave(self, name: str) -> None:
        """One of its tasks has ended; the room goes with the last one."""
        with self._lock:
            self._room[name][1] -= 1
            if self._room[name][1]:
                return
            room, _ = self._room.pop(name)
        with suppress(Exception):  # Ray's, where the cluster is away: what it held is away, too
            self._ray.util.remove_placement_group(room)


def waits_for(needs: dict[str, float], able: int, nodes: int, size: int = 1) -> str:
    """For what a task waits, of which so many of the nodes are able to do it; or `size` of them, which begin together,
    each on a node of its own."""
    words = {"CPU": "cpus {:g}", "GPU": "gpus {:g}", "memory": "memory_gb {:g}"}
    parts = [
        words[name].format(value / 1e9 if name == "memory" else value) for name, value in needs.items() if name in words
    ]
    wanted = ", ".join(parts) or "a worker"
    if size > 1:
        wanted += f" on each of {size} nodes"
        could = f"{wanted}, which {able} of its {nodes} nodes could give"
        return f"{could}, busy now" if able >= size else f"{could}: it waits until others join, or ask for less"
    if not able:
        return f"{wanted}, which none of its {nodes} nodes has: it waits until one that has joins, or ask for less"
    return f"{wanted}, which {able} of its {nodes} nodes {'has' if able == 1 else 'have'}, busy now"


def main() -> None:
    """Until standard input closes."""
    parent, address = int(sys.argv[1]), sys.argv[2]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the flow, which says what is to end
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever Ray prints must not mix with the answers
    try:
        import ray
        import ray.util.scheduling_strategies

        ray.init(address=address, log_to_driver=False, configure_logging=False, namespace="halter")
    except Exception as error:  # many kinds of it, by what is wrong
        out.write(json.dumps({"error": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"}) + "\n")
        return
    driver = Driver(ray, out)
    driver.say(ready=True)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            with suppress(Exception):  # Ray's, where the cluster is away: what waits there hears of that by itself
                driver.look()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    for line in sys.stdin:
        asked = json.loads(line)
        if "end" in asked:
            driver.end(asked["end"])
        else:
            driver.begin(asked)
    ray.shutdown()
    os._exit(0)  # threads that still wait for Ray would be waited for


if __name__ == "__main__":
    main()
