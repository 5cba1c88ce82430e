"""Brokers that refuse us, and those that we refuse: each is named with its reason."""

import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from hazardloop.ingest import packets
from tests.brokers import Broker, mosquitto, nats
from tests.integration.subscription.asking import (
    gather,
    subscription,
    until,
)
from tests.worlds import PATIENCE_S


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, certificates for localhost and for a worker, and a stranger's authority."""
    home = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=home, check=True, capture_output=True)

    for authority in ("ca", "stranger"):
        openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *(
                "-subj",
                f"/CN={authority}",
                "-keyout",
                f"{authority}.key",
                "-out",
                f"{authority}.pem",
            ),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )
    for name in ("localhost", "worker"):
        (home / f"{name}.ext").write_text(f"subjectAltName=DNS:{name}\n")
        openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"),
            *("-keyout", f"{name}.key", "-out", f"{name}.csr"),
        )
        openssl(
            *("x509", "-req", "-days", "2", "-in", f"{name}.csr", "-extfile", f"{name}.ext"),
            *("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", f"{name}.pem"),
        )
    for key in home.glob("*.key"):
        key.chmod(0o644)
    return home


class TestTls:
    """mqtts:// trusts the given authority only, and can show a certificate of its own."""

    def server(self, home: Path) -> tuple[Path, Path, Path]:
        return home / "ca.pem", home / "localhost.pem", home / "localhost.key"

    async def test_messages_come_over_tls(self, certificates: Path, tmp_path: Path) -> None:
        with mosquitto(tmp_path, tls=self.server(certificates)) as broker:
            ca_file = certificates / "ca.pem"
            async with (
                subscription(broker.url, ca_file=ca_file) as worker,
                subscription(broker.url, ca_file=ca_file, client_id="other") as other,
            ):
                assert await worker.subscribed(PATIENCE_S)
                assert await other.subscribed(PATIENCE_S)
                assert other._connection is not None
                topic, payload = "hl/v1/E/G/event", b"x" * 400_000
                other._connection.send(packets.publish(topic, payload, qos=1, packet_id=1))
                assert (await gather(worker, 1))[0] == [payload]

    async def test_an_unknown_authority_is_refused_with_the_reason(
        self, certificates: Path, tmp_path: Path
    ) -> None:
        with mosquitto(tmp_path, tls=self.server(certificates)) as broker:
            for trusted in (certificates / "stranger.pem", None):
                async with subscription(broker.url, ca_file=trusted) as worker:
                    failed = await until(worker, lambda state: state.last_error is not None)
            assert "certificate verify failed" in str(failed.last_error)
            assert not failed.connected

    async def test_a_certificate_for_another_host_is_refused(
        self, certificates: Path, tmp_path: Path
    ) -> None:
        tls = (certificates / "ca.pem", certificates / "worker.pem", certificates / "worker.key")
        with mosquitto(tmp_path, tls=tls) as broker:
            async with subscription(broker.url, ca_file=certificates / "ca.pem") as worker:
                failed = await until(worker, lambda state: state.last_error is not None)
        assert "ostname mismatch" in str(failed.last_error)

    async def test_a_client_certificate_is_shown(self, certificates: Path, tmp_path: Path) -> None:
        tls = self.server(certificates)
        shown = {"cert_file": certificates / "worker.pem", "key_file": certificates / "worker.key"}
        with mosquitto(tmp_path, tls=tls, require_client_certificate=True) as broker:
            async with subscription(broker.url, ca_file=certificates / "ca.pem") as worker:
                failed = await until(worker, lambda state: state.last_error is not None)
                assert failed.connections == 0
            ca_file = certificates / "ca.pem"
            async with subscription(broker.url, ca_file=ca_file, **shown) as worker:
                assert await worker.subscribed(PATIENCE_S)


class TestRefusals:
    """A broker that says no is named with its reason, and asked again."""

    @pytest.mark.parametrize("start", [mosquitto, nats])
    async def test_a_wrong_password_is_visible_and_the_right_one_works(
        self, start: Callable[..., AbstractContextManager[Broker]], tmp_path: Path
    ) -> None:
        with start(tmp_path, users={"worker": "right"}) as broker:
            wrong = subscription(broker.url, username="worker", password="wrong")
            async with wrong as worker:
                failed = await until(worker, lambda state: state.generation >= 2)
            assert "refused the login: not authorized" in str(failed.last_error)
            with_url = broker.url.replace("://", "://worker:right@")
            async with subscription(with_url) as worker:
                assert await worker.subscribed(PATIENCE_S)

    async def test_a_broker_of_3_1_1_refuses_mqtt_5_with_that_reason(self, tmp_path: Path) -> None:
        with nats(tmp_path) as broker:
            async with subscription(broker.url, protocol=5) as worker:
                failed = await until(worker, lambda state: state.last_error is not None)
        assert "unacceptable protocol version" in str(failed.last_error)
