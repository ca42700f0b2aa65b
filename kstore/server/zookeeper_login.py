"""The name and password for ZooKeeper, from where Kafka's brokers have them: a JAAS file that KAFKA_OPTS names.

    KAFKA_OPTS="-Djava.security.auth.login.config=/etc/kafka/jaas.conf"

    Client {
        org.apache.zookeeper.server.auth.DigestLoginModule required
        username="kafka"
        password="secret";
    };

`-Dzookeeper.sasl.clientconfig` names another section than Client, `-Dzookeeper.sasl.client=false` none
(JaasUtils.java).
"""

import re
import shlex
from collections.abc import Mapping

from kstore.cluster.zk.security import Login
from kstore.errors import InvalidConfigError

LOGIN_FILE = "java.security.auth.login.config"
SECTION = "zookeeper.sasl.clientconfig"
ENABLED = "zookeeper.sasl.client"
DIGEST = "DigestLoginModule"

COMMENTS = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
# name { module flag options; module flag options; };
SECTIONS = re.compile(r"([\w.$-]+)\s*\{((?:\"(?:\\.|[^\"])*\"|[^\"{}])*)\}\s*;", re.S)
OPTION = re.compile(r"([\w.]+)\s*=\s*(?:\"((?:\\.|[^\"])*)\"|([^\s;\"]+))")


def login_from(environment: Mapping[str, str]) -> Login | None:
    """None where no file is named, or it has no section for ZooKeeper. Raises InvalidConfigError."""
    properties = dict(
        word[2:].partition("=")[::2]
        for word in shlex.split(environment.get("KAFKA_OPTS", ""))
        if word.startswith("-D") and "=" in word
    )
    path = properties.get(LOGIN_FILE)
    if not path or properties.get(ENABLED, "true").lower() == "false":
        return None
    try:
        with open(path) as file:
            text = file.read()
    except OSError as error:
        raise InvalidConfigError(f"KAFKA_OPTS names the JAAS file {path}: {error.strerror}") from None
    return parse_login(text, properties.get(SECTION, "Client"), path)


def parse_login(text: str, section: str, path: str) -> Login | None:
    """Raises InvalidConfigError for a login that is none with name and password."""
    found = dict(SECTIONS.findall(COMMENTS.sub(" ", text)))
    if section not in found:
        return None
    body = found[section]
    module = body.split()[0] if body.split() else "nothing"
    if not module.endswith(DIGEST):
        raise InvalidConfigError(f"{path}: {section} is a login by {module}; kstore has {DIGEST} only")
    options = {name: re.sub(r"\\(.)", r"\1", quoted) or plain for name, quoted, plain in OPTION.findall(body)}
    missing = [name for name in ("username", "password") if not options.get(name)]
    if missing:
        raise InvalidConfigError(f"{path}: {section} has no {' and no '.join(missing)}")
    return Login(options["username"], options["password"])
