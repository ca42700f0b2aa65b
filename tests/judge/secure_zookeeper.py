"""A ZooKeeper that knows who its clients are: by name and password (SASL), or by certificate (TLS)."""

from pathlib import Path

from tests.judge.certificates import Authority
from tests.judge.java import QUICK_JVM, free_port, java_command
from tests.judge.kafka import ZooKeeper, ZooKeeperProbe

MAIN = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
LOGIN_CLASS = "org.apache.zookeeper.server.auth.DigestLoginModule"


def client_login(path: Path, username: str, password: str, *, section: str = "Client") -> Path:
    """A JAAS file for a client."""
    path.write_text(
        f"// who we are\n{section} {{\n  {LOGIN_CLASS} required\n"
        f'  username="{username}"\n  password="{password}";\n}};\n'
    )
    return path


class SaslZooKeeper(ZooKeeper):
    """Knows one user; others may connect, and are nobody."""

    def __init__(self, directory: Path, username: str, password: str) -> None:
        super().__init__(directory)
        self._user = (username, password)

    def start(self, timeout: float = 30) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        logins = self.directory / "jaas.conf"
        username, password = self._user
        logins.write_text(f'Server {{\n  {LOGIN_CLASS} required\n  user_{username}="{password}";\n}};\n')
        file = self.directory / "zoo.cfg"
        file.write_text(
            f"dataDir={self.directory / 'data'}\nclientPort={self.port}\nclientPortAddress=127.0.0.1\n"
            "tickTime=500\nmaxClientCnxns=0\nadmin.enableServer=false\n"
            "authProvider.sasl=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n"
        )
        flags = (*QUICK_JVM, f"-Djava.security.auth.login.config={logins}")
        self.spawn([*java_command("3.9.1", heap="256m", flags=flags), MAIN, str(file)])
        self.wait_for_answer(ZooKeeperProbe(self.port), timeout)


class TlsZooKeeper(ZooKeeper):
    """Lets in who has a certificate of `authority`; the plain port is for looking, as nobody."""

    def __init__(self, directory: Path, authority: Authority) -> None:
        super().__init__(directory)
        self._authority = authority
        self.secure_port = free_port()

    @property
    def connect(self) -> str:
        return f"127.0.0.1:{self.secure_port}"

    @property
    def plain(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, timeout: float = 30) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        server = self._authority.sign("zookeeper")
        file = self.directory / "zoo.cfg"
        file.write_text(
            f"dataDir={self.directory / 'data'}\nclientPort={self.port}\nclientPortAddress=127.0.0.1\n"
            f"secureClientPort={self.secure_port}\nsecureClientPortAddress=127.0.0.1\n"
            "tickTime=500\nmaxClientCnxns=0\nadmin.enableServer=false\n"
            "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\n"
            "authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider\n"
            f"ssl.keyStore.location={server}\nssl.keyStore.type=PEM\n"
            f"ssl.trustStore.location={self._authority.trust}\nssl.trustStore.type=PEM\n"
            "ssl.clientAuth=need\n"
        )
        self.spawn([*java_command("3.9.1", heap="256m"), MAIN, str(file)])
        self.wait_for_answer(ZooKeeperProbe(self.port), timeout)
