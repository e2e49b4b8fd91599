"""Which network interface of this machine has an address."""

import socket
import struct
import sys

_GET_ADDRESS = 0x8915  # SIOCGIFADDR


def reached_through(address: str) -> str | None:
    """The name of the interface whose first IPv4 address this is; None where there is none, or the system does not
    tell."""
    if sys.platform != "linux":
        return None
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            try:
                told = fcntl.ioctl(asked.fileno(), _GET_ADDRESS, struct.pack("256s", name.encode()[:15]))
            except OSError:  # it has no such address
                continue
            if socket.inet_ntoa(told[20:24]) == address:
                return name
    return None
