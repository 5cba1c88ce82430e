"""The secret with which a gateway logs in at the broker: random, shown once, kept as hashes."""

import base64
import hashlib
import secrets
from dataclasses import dataclass
from typing import Final

import bcrypt

SECRET_BYTES: Final = 32
BCRYPT_COST: Final = 4
"""The secret is random, so nothing is gained by a slow hash, and a broker that restarts must let
thousands of gateways in within seconds."""
PBKDF2_ROUNDS: Final = 101
"""What mosquitto_passwd uses."""


@dataclass(frozen=True, slots=True)
class GatewaySecret:
    """A new secret, and what may be stored of it."""

    password: str
    """256 random bits in URL-safe base64; never stored, never logged."""
    bcrypt: str
    """As NATS and EMQX check it."""
    pbkdf2: str
    """As Mosquitto checks it: $7$rounds$salt$hash, PBKDF2-HMAC-SHA512."""


def new_gateway_secret() -> GatewaySecret:
    """A fresh secret from the operating system's generator, with its hashes."""
    return hashed(secrets.token_urlsafe(SECRET_BYTES))


def hashed(password: str) -> GatewaySecret:
    """`password` with the hashes that brokers check it by, freshly salted."""
    return GatewaySecret(
        password=password,
        bcrypt=bcrypt.hashpw(password.encode(), bcrypt.gensalt(BCRYPT_COST)).decode(),
        pbkdf2=_mosquitto(password, secrets.token_bytes(12)),
    )


def matches(pbkdf2: str, password: str) -> bool:
    """Whether `pbkdf2`, as Mosquitto keeps it, is of `password`."""
    salt = base64.b64decode(pbkdf2.split("$")[3])
    return secrets.compare_digest(_mosquitto(password, salt), pbkdf2)


def _mosquitto(password: str, salt: bytes) -> str:
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, PBKDF2_ROUNDS)
    told = (base64.b64encode(part).decode() for part in (salt, digest))
    return "$".join(("", "7", str(PBKDF2_ROUNDS), *told))
