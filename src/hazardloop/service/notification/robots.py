"""Group robots of WeCom, DingTalk, Feishu and Lark, and signed webhooks.

apprise knows these robots too, but takes HTTP 200 for success: they answer 200 also to a wrong
token, a missing keyword or a limit reached, and say so in the body. Here the body is read.
"""

import base64
import hashlib
import hmac
import json
from typing import Any, Final
from urllib.parse import urlencode

from hazardloop.service.notification.channels import Robot, Webhook
from hazardloop.service.notification.envelope import Envelope, Outcome
from hazardloop.service.notification.posting import Answer, post
from hazardloop.service.notification.services import Robots

JSON: Final = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "HazardLoop"}
CODES: Final = ("errcode", "code", "StatusCode")
"""Where a robot says how it went; 0 = taken."""


async def tell_robot(
    robot: Robot, envelope: Envelope, at: Robots, now_s: int, *, private: bool
) -> Outcome:
    """Puts the message into the group; raises PostFailed."""
    url, body = request_of(robot, envelope, at, now_s)
    answer = await post(url, json.dumps(body, ensure_ascii=False).encode(), JSON, private=private)
    return judged(answer).without(robot.token, robot.secret)


def request_of(
    robot: Robot, envelope: Envelope, at: Robots, now_s: int
) -> tuple[str, dict[str, Any]]:
    """Address and body as the robot wants them, signed where it has a secret."""
    text = f"{envelope.title}\n{envelope.text}\n[{envelope.key}]"
    if robot.kind == "wecom_robot":
        body = {"msgtype": "text", "text": {"content": _cut(text, 2_048)}}
        return f"{at.wecom}?{urlencode({'key': robot.token})}", body
    if robot.kind == "dingtalk_robot":
        query = {"access_token": robot.token}
        if robot.secret:
            stamp = str(now_s * 1_000)
            query |= {"timestamp": stamp, "sign": _dingtalk_sign(robot.secret, stamp)}
        body = {"msgtype": "text", "text": {"content": _cut(text, 18_000)}}
        return f"{at.dingtalk}?{urlencode(query)}", body
    body = {"msg_type": "text", "content": {"text": _cut(text, 18_000)}}
    if robot.secret:
        body |= {"timestamp": str(now_s), "sign": _feishu_sign(robot.secret, str(now_s))}
    return f"{at.feishu if robot.kind == 'feishu_robot' else at.lark}{robot.token}", body


def _cut(text: str, most_bytes: int) -> str:
    return text.encode()[:most_bytes].decode(errors="ignore")


def _dingtalk_sign(secret: str, stamp: str) -> str:
    """Source: DingTalk, custom robots, security settings."""
    digest = hmac.new(secret.encode(), f"{stamp}\n{secret}".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def _feishu_sign(secret: str, stamp: str) -> str:
    """Source: Feishu, custom bots, signature verification: the text is the key, of nothing."""
    digest = hmac.new(f"{stamp}\n{secret}".encode(), b"", hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def judged(answer: Answer) -> Outcome:
    """What a robot said: taken if the status is 200 and its own code is 0."""
    text = answer.body.decode("utf-8", "replace")
    said = f"{answer.status} {text}"
    try:
        document = json.loads(text)
    except ValueError:
        return Outcome(False, said)
    if answer.status != 200 or not isinstance(document, dict):
        return Outcome(False, said)
    code = next((document[name] for name in CODES if name in document), None)
    return Outcome(code == 0, said)


async def call_webhook(
    webhook: Webhook, envelope: Envelope, now_s: int, *, private: bool
) -> Outcome:
    """Posts the facts, signed; any 2xx is taken. Raises PostFailed."""
    body = json.dumps(
        {"key": envelope.key, "title": envelope.title, "text": envelope.text}
        | dict(envelope.facts),
        ensure_ascii=False,
    ).encode()
    headers = (
        JSON | signed_headers(webhook.secret, body, now_s) | {"X-HazardLoop-Delivery": envelope.key}
    )
    answer = await post(webhook.url, body, headers, private=private)
    text = answer.body.decode("utf-8", "replace")
    return Outcome(200 <= answer.status < 300, f"{answer.status} {text}").without(webhook.secret)


def signed_headers(secret: str, body: bytes, now_s: int) -> dict[str, str]:
    """Time and signature: HMAC-SHA256 over `TIME.BODY`, so that neither can be changed nor replayed
    for long.
    """
    signature = hmac.new(secret.encode(), f"{now_s}.".encode() + body, hashlib.sha256).hexdigest()
    return {
        "X-HazardLoop-Timestamp": str(now_s),
        "X-HazardLoop-Signature": f"v1={signature}",
    }
