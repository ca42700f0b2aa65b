"""quorum-state is read and written as Kafka does it, in both of its forms."""

from pathlib import Path

import pytest

from kstore.cluster.quorum_state import QuorumState, read_quorum_state, write_quorum_state
from kstore.errors import ConfigError

# Written by Kafka 3.9.1 with static voters, and by 4.3.0 with voters in the log.
STATIC = (
    '{"clusterId":"","leaderId":1,"leaderEpoch":1,"votedId":-1,"appliedOffset":0,'
    '"currentVoters":[{"voterId":1}],"data_version":0}'
)
DYNAMIC = '{"leaderId":1,"leaderEpoch":7,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}'


@pytest.mark.parametrize(
    ("text", "state"),
    [(STATIC, QuorumState(1, 1, 0, (1,))), (DYNAMIC, QuorumState(7, 1, 1))],
)
def test_what_kafka_wrote_is_read_and_written_the_same(tmp_path: Path, text: str, state: QuorumState) -> None:
    (tmp_path / "quorum-state").write_text(text)
    assert read_quorum_state(str(tmp_path)) == state
    write_quorum_state(str(tmp_path), state._replace(voters=(1,)))
    assert (tmp_path / "quorum-state").read_text() == text


def test_no_file_is_no_state(tmp_path: Path) -> None:
    assert read_quorum_state(str(tmp_path)) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"data_version":0}', DYNAMIC.replace('version":1', 'version":2')])
def test_a_file_that_nobody_understands_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "quorum-state").write_text(text)
    with pytest.raises(ConfigError, match="quorum-state"):
        read_quorum_state(str(tmp_path))
