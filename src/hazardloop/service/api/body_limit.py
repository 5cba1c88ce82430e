"""Refuses bodies that are larger than any of ours, before they fill the memory."""

from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES: Final = 1_000_000
MOST_FILE_BYTES: Final = 22_000_000
"""Of a body with a file in it; the route refuses files over 20 MiB more politely."""
FILES: Final = "/evidence"
"""How the address of a route that takes files ends."""


class BodyLimit:
    """Counts what `app` reads of a request's body; too much is 413."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes everything on, as long as it is not too much."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = MOST_FILE_BYTES if scope["path"].endswith(FILES) else MOST_BYTES
        taken = _announced(scope)
        read = 0

        async def counted() -> Message:
            nonlocal read
            if taken > most:
                raise HTTPException(413, f"the body is {taken} bytes long, allowed are {most}")
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise HTTPException(413, f"the body is longer than the allowed {most} bytes")
            return message

        await self._app(scope, counted, send)


def _announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:18])
    return 0
