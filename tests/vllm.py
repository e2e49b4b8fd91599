"""A real vLLM server on the CPU for tests: `make test-vllm` installs it."""

from pathlib import Path

from models.samplers.config import VllmConfig

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ROOT / "build" / "vllm" / "bin" / "vllm"
MISSING = "vLLM is not here: make test-vllm installs it"
SAMPLER = "vllm-0.32.0"
VLLM = VllmConfig(
    command=(str(PROGRAM), "serve"),
    arguments=("--enforce-eager",),
    environment={
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    },
)
"""On a CPU it takes whole cores for each of its threads unless it is told not to, and memory for its cache."""


def in_group(group: int) -> list[int]:
    """The processes of a group that are at work."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it has just ended
            continue
        if int(of) == group and state != "Z":
            found.append(int(stat.parent.name))
    return sorted(found)


def command_of(pid: int) -> str:
    """What a process is called."""
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
