"""The process that sends one message to people and ends; what it says of an address is its scheme.

python -m embviz_callback.delivery.alerts.sending_process VARIABLE < message.json
"""

import ipaddress
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from embviz_callback.delivery.alerts.people import LIMIT_EXIT, LIMIT_S

_MOST_ADDRESSES = 20
_STATUS = re.compile(r"\berror=(\d{3})\b")
_LOOPBACK = "localhost"


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads a message from standard input, and the addresses from the environment.

    Args:
        arguments: The name of the variable; None for those of this process.

    Returns:
        The exit status 0; what could not be reached stands on standard output, a JSON list of phrases.
    """
    (variable,) = sys.argv[1:] if arguments is None else arguments
    alarm = threading.Timer(LIMIT_S, os._exit, [LIMIT_EXIT])
    alarm.daemon = True
    alarm.start()
    message = json.load(sys.stdin)
    try:
        faults = deliver(os.environ.get(variable, "").split(), message)
    except Exception as error:  # noqa: BLE001 - its text may quote an address, so only its type is told
        faults = [type(error).__name__]
    sys.stdout.write(json.dumps(faults))
    return 0


def deliver(addresses: Sequence[str], message: Mapping[str, Any]) -> list[str]:
    """Sends a message to every address at once.

    Args:
        addresses: In Apprise's form.
        message: ``title``, ``text`` and ``type``; or ``check``, to send nothing and only look at the addresses.

    Returns:
        A phrase for each that was not reached: its place, its scheme, the type of an exception; with
        ``check`` for each that never gets anything.
    """
    import apprise

    asset = apprise.AppriseAsset(app_id="embviz", http_redirects=False)
    targets: dict[str, Any] = {}
    faults: list[str] = []
    for number, address in enumerate(addresses[:_MOST_ADDRESSES], start=1):
        server = apprise.Apprise.instantiate(address, asset=asset, suppress_exceptions=True)
        if server is None:
            faults.append(f"address {number} is not one that Apprise knows")
        elif not is_private(server, scheme_of(server, address)):
            faults.append(f"address {number} ({scheme_of(server, address)}) is not encrypted and gets nothing")
        else:
            targets[f"address {number} ({scheme_of(server, address)})"] = server
    return faults if message.get("check") else _send(targets, message)


def scheme_of(server: Any, address: str) -> str:
    """What may be said of an address.

    Args:
        server: Apprise's.
        address: Whatever else stands before its colon may be part of a secret.

    Returns:
        Its scheme if the service knows it, else the service's first.
    """
    known = [*_schemes(server.secure_protocol), *_schemes(server.protocol)]
    given = address.partition("://")[0].lower()
    return given if given in known else known[0]


def is_private(server: Any, scheme: str) -> bool:
    """Whether a message travels encrypted, or does not leave this machine.

    Args:
        server: Apprise's.
        scheme: Of its address.

    Returns:
        True for https and TLS in mail, and for any scheme to a loopback address.
    """
    if scheme in _schemes(server.secure_protocol) or getattr(server, "secure", False):
        return True
    host = f"{getattr(server, 'host', None) or ''}".strip("[]")
    if host == _LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _send(targets: Mapping[str, Any], message: Mapping[str, Any]) -> list[str]:
    import apprise

    reasons = _Reasons()
    apprise_log = logging.getLogger("apprise")
    apprise_log.addHandler(reasons)
    apprise_log.setLevel(logging.DEBUG)
    everybody = apprise.Apprise()
    for name, server in targets.items():
        server.notify = partial(reasons.of, name, server.notify)
        everybody.add(server)
    plain = apprise.NotifyFormat.TEXT
    everybody.notify(body=message["text"], title=message["title"], notify_type=message["type"], body_format=plain)
    return [f"{name}: {reasons.found[name]}" for name in targets if name in reasons.found]


class _Reasons(logging.Handler):
    """Why a message was not taken, from what Apprise logs while it handles an exception.

    Its words quote addresses; the type of the exception and the status of an answer do not.
    Apprise sends to each address in a thread, so that what is logged in one belongs together.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self._thread = threading.local()

    def of(self, name: str, notify: Callable[..., bool], **message: Any) -> bool:
        """Sends, and notes why not."""
        self._thread.reason = "refused"
        sent = notify(**message)
        if not sent:
            self.found[name] = self._thread.reason
        return sent

    def emit(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[0]
        status = _STATUS.search(record.getMessage())
        if error is not None:
            self._thread.reason = error.__name__
        elif status is not None:
            self._thread.reason = f"HTTP {status[1]}"


def _schemes(protocol: Any) -> tuple[str, ...]:
    return (protocol,) if isinstance(protocol, str) else tuple(protocol or ())


if __name__ == "__main__":
    sys.exit(main())
