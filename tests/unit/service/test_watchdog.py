"""What the watchdog makes of answers, whom it tells, and what it says to systemd."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from hazardloop.service import systemd
from hazardloop.service.errors import SettingsWrong
from hazardloop.service.settings import Settings
from hazardloop.service.watchdog import (
    Answer,
    Outside,
    ask,
    envelope_of,
    is_fine,
    read_watchers,
)

WITHIN_S = 90.0
NOTHING = Answer(None, "does not answer")


def test_it_gives_the_path_its_full_time_and_then_tells_once() -> None:
    outside = Outside(0.0)
    outside.see(NOTHING, 80.0)
    assert outside.news(NOTHING, WITHIN_S, WITHIN_S) == ""
    assert outside.news(NOTHING, WITHIN_S + 1, WITHIN_S) == "broken"
    outside.told = True
    assert outside.news(NOTHING, 1_000.0, WITHIN_S) == ""


def test_time_counts_from_the_newest_canary_of_which_it_was_told() -> None:
    outside = Outside(0.0)
    outside.see(Answer(20.0, ""), 100.0)
    outside.see(Answer(50.0, ""), 110.0)
    assert outside.news(NOTHING, 80.0 + WITHIN_S, WITHIN_S) == ""
    assert outside.news(NOTHING, 80.1 + WITHIN_S, WITHIN_S) == "broken"


def test_an_answer_whose_canary_is_too_old_is_no_all_clear() -> None:
    outside = Outside(0.0, told=True)
    for age_s, news in ((None, ""), (WITHIN_S + 1, ""), (3.0, "over")):
        answer = Answer(age_s, "")
        outside.see(answer, 500.0)
        assert outside.news(answer, 500.0, WITHIN_S) == news
        assert is_fine(answer, WITHIN_S) == (news == "over")


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'"ok"', b"{}", b'{"heartbeat_age_s": []}']
)
@pytest.mark.parametrize("status", [200, 404, 503])
def test_what_is_no_answer_of_ours_says_nothing_of_canaries(status: int, body: bytes) -> None:
    with answering(status, body) as url:
        answer = ask(url)
    assert answer.age_s is None
    assert "something else" in answer.words


def test_a_refusal_says_which_part_it_is() -> None:
    body = b"""{"heartbeat_age_s": 7.5, "checks": [
        {"name": "spool", "ok": true, "detail": "ok"},
        {"name": "worker", "ok": false, "detail": "silent for 12 s: start it again"}]}"""
    with answering(503, body) as url:
        assert ask(url) == Answer(7.5, "worker: silent for 12 s: start it again")


def test_nobody_there_is_an_answer_too(free_port: int) -> None:
    answer = ask(f"http://127.0.0.1:{free_port}")
    assert answer.age_s is None
    assert "does not answer" in answer.words


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "channels: Field required"),
        ("channels: []", "at least 1 item"),
        ("channels: [{kind: pigeon}]", "channels.0"),
        ("channels: [{kind: webhook, url: 'https://x.example/a', secret: hush}]", "channels.0"),
        ("channels: [", "no YAML in line"),
        ("people: 3", "channels: Field required"),
    ],
)
def test_a_file_that_is_not_in_order_is_refused_without_its_secrets(
    tmp_path: Path, text: str, complaint: str
) -> None:
    file = tmp_path / "watchdog.yaml"
    file.write_text(text)
    with pytest.raises(SettingsWrong, match=complaint) as refused:
        read_watchers(file)
    assert str(file) in str(refused.value)
    assert "hush" not in str(refused.value)


def test_a_file_that_is_not_there_is_refused_and_none_is_nobody(tmp_path: Path) -> None:
    with pytest.raises(SettingsWrong, match="No such file"):
        read_watchers(tmp_path / "none.yaml")
    assert read_watchers(None) == ()


@pytest.mark.parametrize(("language", "word"), [("zh-CN", "探针"), ("en", "canary")])
@pytest.mark.parametrize("news", ["broken", "over"])
def test_it_says_where_since_when_and_why(language: str, word: str, news: str) -> None:
    settings = Settings.model_validate(
        {"lang": language, "watchdog_url": "https://alarm.example.org"}
    )
    told = envelope_of(news, Answer(None, "database: does not answer"), 95.4, settings)
    for wanted in (word, "https://alarm.example.org", "database: does not answer"):
        assert wanted in told.text
    assert ("95 " in told.text) == (news == "broken")
    assert told.facts["watchdog"] == news
    assert told.title in told.short


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_systemd_hears_what_is_said_where_it_listens(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    systemd.notify("READY=1")
    name = str(tmp_path / "notify") if kind == "path" else f"@{tmp_path.name}-notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name[1:] if kind == "abstract" else name)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        systemd.notify("WATCHDOG=1\nSTATUS=well")
        assert listener.recv(200) == b"WATCHDOG=1\nSTATUS=well"
