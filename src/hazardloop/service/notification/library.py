"""Mail, WeCom applications, SMS and other services by way of apprise."""

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from apprise import Apprise, AppriseAsset, NotifyFormat
from apprise.plugins.base import NotifyBase

from hazardloop.service.notification.envelope import Envelope, Outcome

WITHIN_S: Final = 15.0
"""For one message; the sockets below have shorter limits of their own."""
_THREADS: Final = ThreadPoolExecutor(max_workers=8, thread_name_prefix="apprise")
_ASSET: Final = AppriseAsset(
    app_id="HazardLoop", app_desc="HazardLoop", http_redirects=False, async_mode=False
)


class _Said(logging.Handler):
    """Keeps what apprise logs, by thread: it returns only whether it went well."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._lines: dict[int, list[str]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Adds a line to those of its thread, if somebody listens there."""
        lines = self._lines.get(threading.get_ident())
        if lines is not None:
            lines.append(record.getMessage())

    def listen(self) -> list[str]:
        """The lines of this thread from now on."""
        return self._lines.setdefault(threading.get_ident(), [])

    def stop(self) -> None:
        """No more of this thread."""
        self._lines.pop(threading.get_ident(), None)


_SAID: Final = _Said()
_APPRISE: Final = logging.getLogger("apprise")
_APPRISE.addHandler(_SAID)
_APPRISE.setLevel(logging.INFO)
_APPRISE.propagate = False  # its lines may hold addresses


async def tell(url: str, envelope: Envelope, *, short: bool = False) -> Outcome:
    """Sends by the service that `url` names. TimeoutError: it did not end in time."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(WITHIN_S):
        return await loop.run_in_executor(_THREADS, _told, url, envelope, short)


def _told(url: str, envelope: Envelope, short: bool) -> Outcome:
    lines = _SAID.listen()
    try:
        service = Apprise.instantiate(url, asset=_ASSET, suppress_exceptions=True)
        if not isinstance(service, NotifyBase):
            return Outcome(False, "apprise cannot make sense of the address: " + " ".join(lines))
        service.redirects = False
        service.verify_certificate = True
        service.socket_connect_timeout = 4.0
        taken = service.notify(
            title="" if short else envelope.title,
            body=envelope.short if short else f"{envelope.text}\n[{envelope.key}]",
            body_format=NotifyFormat.TEXT,
        )
        return Outcome(bool(taken), " ".join(lines))
    finally:
        _SAID.stop()
