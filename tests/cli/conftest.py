import pytest

from tests.cli.run import Kstore


@pytest.fixture
def kstore(capsys: pytest.CaptureFixture[str]) -> Kstore:
    return Kstore(capsys)
