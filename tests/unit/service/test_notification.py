"""What goes out: words in both languages, robots and webhooks as they want it, and where never."""

import asyncio
import json
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazardloop.alarms.alarm import Stage, Tier, Verdict
from hazardloop.alarms.notices import NoticeKind
from hazardloop.service.errors import SettingsWrong
from hazardloop.service.notification import posting, robots
from hazardloop.service.notification.carrying import SENDERS, Carrier
from hazardloop.service.notification.channels import Channel, channel_of, target_of
from hazardloop.service.notification.envelope import Envelope
from hazardloop.service.notification.posting import Answer, PostFailed
from hazardloop.service.notification.services import Services, read_services
from hazardloop.service.notification.wording import (
    LISTED,
    Facts,
    Speaker,
    catalogue,
    envelope_of,
)
from tests.receivers import HttpReceiver, http_receiver

SHANGHAI = ZoneInfo("Asia/Shanghai")
AT = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)
GAS = Facts(
    7,
    "dispatched",
    Tier.RED,
    due_at=AT,
    case_id="c",
    alarm_id="a",
    enterprise="示范化工",
    device="GD-1",
    location="3号罐区东侧",
    rule_name={"zh": "可燃气体浓度高", "en": "Combustible gas high"},
    guidance={"zh": "切断气源", "en": "Cut off gas"},
    value=62.4,
    limit=50.0,
    unit="%{LEL}",
    direction="high",
    raised_at=AT,
)
PLACE = re.compile(r"\{(\w+)\}")


def flat(language: str) -> dict[str, str]:
    return {
        f"{section}.{name}": text
        for section, texts in catalogue(language).items()
        for name, text in texts.items()
    }


@pytest.mark.parametrize(
    ("unit", "sign"),
    [("%{LEL}/min", "%LEL/min"), ("[ppm].min", "ppm·min"), ("Cel/h", "°C/h"), ("m/s", "m/s")],
)
def test_what_is_worked_out_of_readings_has_the_unit_that_people_write(
    unit: str, sign: str
) -> None:
    assert Speaker("zh-CN", SHANGHAI).value(replace(GAS, unit=unit)).count(f" {sign}") == 2


def test_both_languages_say_the_same_things_with_the_same_values() -> None:
    chinese, english = flat("zh-CN"), flat("en")
    assert list(chinese) == list(english)
    assert all(text.strip() for text in (*chinese.values(), *english.values()))
    differing = [
        key for key, text in chinese.items()
        if set(PLACE.findall(text)) != set(PLACE.findall(english[key]))
    ]  # fmt: skip
    assert differing == []
    for section, names in (
        ("kind", NoticeKind), ("ask", NoticeKind), ("stage", Stage), ("verdict", Verdict)
    ):  # fmt: skip
        assert {str(name) for name in names} <= set(catalogue("en")[section])


def test_a_message_says_what_where_how_much_by_when_and_what_to_do() -> None:
    chinese = envelope_of([GAS], Speaker("zh-CN", SHANGHAI), "HL-1-2", "http://x/l/t")
    assert chinese.title == "【红色·重大】报警交办：示范化工 3号罐区东侧 GD-1"
    assert chinese.text.splitlines() == [
        "报警：可燃气体浓度高",
        "地点：示范化工 3号罐区东侧 GD-1",
        "数值：62.4 %LEL，限值 50 %LEL",
        "发生：2026-11-22 09:00:00",
        "请于 2026-11-22 09:00:00 前签收并核实处置。",
        "处置提示：切断气源",
        "办理：http://x/l/t",
    ]
    english = envelope_of([GAS], Speaker("en", SHANGHAI), "HL-1-2", None)
    assert "Value: 62.4 %LEL, limit 50 %LEL" in english.text
    assert english.text.endswith("Log in to act.")
    assert len(chinese.short) < 140
    assert chinese.short.endswith("http://x/l/t")
    drill = Facts(8, "overdue", Tier.BLUE, drill=True, found_late=True)
    assert envelope_of([drill], Speaker("zh-CN", SHANGHAI), "k", None).title.startswith(
        "【演练】【补报】"
    )


def test_many_notices_are_one_list_the_worst_first_without_a_link() -> None:
    several = [
        Facts(n, "dispatched", Tier.BLUE, enterprise=f"企业{n % 5}", raised_at=AT)
        for n in range(30)
    ]
    envelope = envelope_of([*several, GAS], Speaker("zh-CN", SHANGHAI), "k", "http://x/l/t")
    lines = envelope.text.splitlines()
    assert envelope.title.startswith("【红色·重大】31 条通知")
    assert lines[0].startswith("1. 【红色·重大】")
    assert lines[-1] == f"另有 {31 - LISTED} 条，请登录平台查看。"
    assert "http" not in envelope.text
    assert (len(envelope.facts["notices"]), envelope.facts["more"]) == (31, 0)
    flood = envelope_of(several * 100, Speaker("en", SHANGHAI), "k", None)
    assert (len(flood.facts["notices"]), flood.facts["more"]) == (500, 2_500)


@pytest.mark.parametrize(
    ("status", "body", "taken"),
    [
        pytest.param(200, b'{"errcode":0,"errmsg":"ok"}', True, id="WeCom and DingTalk say 0"),
        pytest.param(200, b'{"StatusCode":0}', True, id="so does an old Feishu robot"),
        pytest.param(200, b'{"errcode":310000,"errmsg":"keywords not in content"}', False,
                     id="200 with a code of its own is a refusal"),
        pytest.param(200, b"{}", False, id="an answer that says nothing is none"),
        pytest.param(200, b"<html>", False, id="a page is none either"),
        pytest.param(200, b"[0]", False, id="nor a list"),
        pytest.param(500, b'{"code":0}', False, id="nor an error"),
    ],
)  # fmt: skip
def test_a_robot_took_a_message_when_it_says_so(status: int, body: bytes, taken: bool) -> None:
    assert robots.judged(Answer(status, body)).taken is taken


@given(st.binary(max_size=300), st.integers(100, 599))
def test_no_answer_of_a_robot_breaks_anything(body: bytes, status: int) -> None:
    outcome = robots.judged(Answer(status, body)).without("x", None, "")
    assert len(outcome.answer) <= 500
    assert "\x00" not in outcome.answer


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fd00::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1",
    ],
)  # fmt: skip
def test_no_private_address_is_public(address: str) -> None:
    assert not posting.is_public(address)


def test_public_ones_are() -> None:
    assert posting.is_public("8.8.8.8")
    assert posting.is_public("2001:4860:4860::8888")


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as http:
        yield http


async def test_private_networks_are_not_spoken_to_whatever_the_address_looks_like(
    receiver: HttpReceiver,
) -> None:
    port = receiver.port
    for url in (
        f"https://127.0.0.1:{port}/", f"https://localhost:{port}/", f"https://2130706433:{port}/",
        f"https://[::ffff:127.0.0.1]:{port}/", "https://169.254.169.254/latest/meta-data/",
        f"http://127.0.0.1:{port}/",
    ):  # fmt: skip
        with pytest.raises(PostFailed) as refused:
            await posting.post(url, b"x", {})
        assert re.search("private network|plain http|not known", str(refused.value)), url
    assert receiver.posts == []


async def test_a_name_is_looked_up_once_so_it_cannot_turn_private_in_between(
    receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def rebinding(host: str, *rest: Any, **more: Any) -> list[Any]:
        asked.append(host)
        address = "8.8.8.8" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, receiver.port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with pytest.raises((PostFailed, TimeoutError)):
        async with asyncio.timeout(0.2):  # nobody answers there
            await posting.post(f"https://rebind.test:{receiver.port}/", b"x", {})
    assert "rebind.test" not in asked[1:]
    assert receiver.posts == []


async def test_a_redirect_is_an_answer_and_long_answers_are_cut(receiver: HttpReceiver) -> None:
    receiver.answers["/moved"] = (302, f"{receiver.url}/inner".encode())
    answer = await posting.post(f"{receiver.url}/moved", b"x", {}, private=True)
    assert answer.status == 302
    assert receiver.at("/inner") == []
    receiver.answers["/long"] = (200, b"y" * 5_000_000)
    answer = await posting.post(f"{receiver.url}/long", b"x", {}, private=True)
    assert len(answer.body) <= posting.MOST_BYTES
    with pytest.raises(PostFailed, match="does not allow"):
        await posting.post(f"{receiver.url}/", b"x", {"X": "a\r\nHost: b"}, private=True)


async def test_nothing_that_a_receiver_does_raises() -> None:
    hook = {"kind": "webhook", "url": "", "secret": "correct-horse"}
    carrier = Carrier(Services(), private=True)
    envelope = Envelope("k", "t", "x", "s")
    for said in (b"", b"garbage\r\n\r\n", b"HTTP/1.1 999 x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent"):
        with socket.create_server(("127.0.0.1", 0)) as server:
            threading.Thread(target=_say_once, args=(server, said), daemon=True).start()
            hook["url"] = f"http://127.0.0.1:{server.getsockname()[1]}/"
            outcome = await carrier.carry("webhook", hook, envelope)
            assert not outcome.taken, said
    for kind, target in (
        ("mail", {"address": "a@b.cn"}), ("sms", {"phone": "13800000"}), ("wecom", {"user": "x1"}),
    ):  # fmt: skip
        outcome = await carrier.carry(kind, target, envelope)
        assert (outcome.taken, "the site has no" in outcome.answer) == (False, True)
    assert not (await carrier.carry("pigeon", {}, envelope)).taken


def _say_once(server: socket.socket, said: bytes) -> None:
    connection, _ = server.accept()
    connection.recv(65_536)
    connection.sendall(said)
    connection.close()


def test_every_kind_of_channel_has_a_sender_and_comes_back_from_the_table() -> None:
    assert set(SENDERS) == set(Channel.__args__)  # type: ignore[attr-defined]
    kept = {"url": "https://x.example/h", "secret": "correct-horse"}
    assert target_of(channel_of("webhook", kept)) == kept


def test_a_file_of_services_that_is_wrong_says_where_and_keeps_its_secrets(tmp_path: Path) -> None:
    file = tmp_path / "services.yaml"
    assert read_services(None) == Services()
    for text, said in (
        ("mail: smtp://user:hunter22@host", "mail"),
        ("mail: [", "no YAML"),
        ("fax: x", "fax"),
        ("sms: {url: 'http://x', body: 'y', accepted: '('}", "no regular expression"),
    ):
        file.write_text(text)
        with pytest.raises(SettingsWrong, match=said) as wrong:
            read_services(file)
        assert "hunter22" not in str(wrong.value)
    with pytest.raises(SettingsWrong, match="No such file"):
        read_services(tmp_path / "none.yaml")
    file.write_text(json.dumps({"mail": "mailtos://u:p@host?from=a@b.cn"}))
    assert read_services(file).mail is not None
