"""One way to a further seed: whoever draws by chance says what it draws, and adds nothing up by hand."""

import hashlib


def derive_seed(seed: int, *names: str | int) -> int:
    """The seed, below 2^62, of what is called so under another one. No two names share one, and a further name changes
    no other's."""
    digest = hashlib.sha256("/".join(map(str, (seed, *names))).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 2
