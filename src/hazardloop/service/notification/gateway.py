"""An SMS gateway that takes one HTTP request a message, described by a template."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote_plus

from hazardloop.service.notification.envelope import Envelope, Outcome
from hazardloop.service.notification.posting import post
from hazardloop.service.notification.services import SmsGateway

_PLACE: Final = re.compile(r"\{(phone|text|key)\}")


async def send_sms(
    gateway: SmsGateway, phone: str, envelope: Envelope, *, private: bool
) -> Outcome:
    """Hands the short form to the gateway. Raises PostFailed."""
    values = {"phone": phone, "text": envelope.short, "key": envelope.key}
    answer = await post(
        filled(gateway.url, values, "form"),
        filled(gateway.body, values, gateway.quoting).encode(),
        {name: filled(text, values, "form") for name, text in gateway.headers.items()},
        private=private,
    )
    text = answer.body.decode("utf-8", "replace")
    taken = 200 <= answer.status < 300 and re.search(gateway.accepted, text) is not None
    return Outcome(taken, f"{answer.status} {text}").without(phone)


def _in_json(text: str) -> str:
    return json.dumps(text)[1:-1]


_QUOTES: Final[Mapping[str, Callable[[str], str]]] = {"form": quote_plus, "json": _in_json}


def filled(template: str, values: dict[str, str], quoting: str) -> str:
    """`template` with the values in their places, each quoted for where it stands."""
    quote = _QUOTES[quoting]
    return _PLACE.sub(lambda match: quote(values[match[1]]), template)
