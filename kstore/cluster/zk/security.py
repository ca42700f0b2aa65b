"""How a broker shows ZooKeeper who it is, and who may touch the znodes that it makes. Values only, without kazoo.

With `set_acl` a znode belongs to whoever made it, and everybody may read it unless it holds secrets; the root of the
old consumers is everybody's (ZkData.defaultAcls).
"""

from typing import NamedTuple

# The configurations of users and brokers hold passwords, delegation tokens are some (ZkData.SensitiveRootPaths).
SENSITIVE = ("/config/users", "/config/brokers", "/delegation_token")
EVERYBODYS = "/consumers"


class Tls(NamedTuple):
    """PEM files. `keystore` holds the key and its certificates, `truststore` those that are believed (None: the
    system's)."""

    keystore: str | None = None
    password: str | None = None
    truststore: str | None = None
    check_hostname: bool = True


class Login(NamedTuple):
    """SASL with DIGEST-MD5, as ZooKeeper's DigestLoginModule has it."""

    username: str
    password: str


class Security(NamedTuple):
    tls: Tls | None = None
    login: Login | None = None
    set_acl: bool = False


NOTHING = Security()


def is_everybodys(path: str) -> bool:
    return path == EVERYBODYS


def is_secret(path: str) -> bool:
    return path.startswith(SENSITIVE)
