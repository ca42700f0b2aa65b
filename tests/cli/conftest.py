import uuid

import pytest

from tests.cli.run import Kstore
from tests.judge.kafka import KafkaBroker
from tests.judge.kstore import KstoreServer


@pytest.fixture
def kstore(capfd: pytest.CaptureFixture[str]) -> Kstore:
    return Kstore(capfd)


@pytest.fixture(
    params=[
        "kstore_server",
        pytest.param("kafka_39", marks=pytest.mark.kafka),
        pytest.param("kafka_43", marks=pytest.mark.kafka),
    ]
)
def bootstrap(request: pytest.FixtureRequest) -> str:
    """kstore, and Kafka: what a command does of one it does of the other."""
    server: KstoreServer | KafkaBroker = request.getfixturevalue(request.param)
    return server.bootstrap


@pytest.fixture
def topic() -> str:
    return f"cli-{uuid.uuid4().hex[:12]}"
