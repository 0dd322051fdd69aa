"""Words to systemd: that the server answers, and that it is about to end (the protocol of sd_notify)."""

import contextlib
import os
import socket


def notify(state: str) -> bool:
    """Send one state, such as `READY=1` or `STOPPING=1`, to the service manager; return whether there is one.

    A manager that cannot be reached is not the server's fault: it goes on without.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(state.encode(), address)
        return True
    return False
