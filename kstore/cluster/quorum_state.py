"""quorum-state beside the metadata log: the epoch in which its owner last led.

    {"clusterId":"","leaderId":1,"leaderEpoch":2,"votedId":-1,"appliedOffset":0,
     "currentVoters":[{"voterId":1}],"data_version":0}                                 static voters
    {"leaderId":1,"leaderEpoch":2,"votedId":-1,"votedDirectoryId":"AA..","data_version":1}     KIP-853

kstore is the only voter and leads in an epoch of its own each time it begins to write. It says so here
first, as Kafka does (FileQuorumStateStore.java): who reads this epoch, or a higher one in the log, goes
on with the next.
"""

from typing import NamedTuple

from kstore.errors import ConfigError
from kstore.log.checkpoint_file import read_file, replace_file
from kstore.model import ZERO_UUID, uuid_to_text

QUORUM_STATE = "quorum-state"


class QuorumState(NamedTuple):
    leader_epoch: int = 0
    leader_id: int = -1
    version: int = 0
    voters: tuple[int, ...] = ()


def read_quorum_state(directory: str) -> QuorumState | None:
    """None where there is no such file. Raises ConfigError for one that cannot be understood, OSError."""
    path = f"{directory}/{QUORUM_STATE}"
    content = read_file(path)
    if content is None:
        return None
    import json  # only a directory that somebody has written to pays for it

    try:
        state = json.loads(content)
        if state["data_version"] not in (0, 1):
            raise ValueError(f"data_version {state['data_version']} is not known")
        voters = tuple(int(voter["voterId"]) for voter in state.get("currentVoters") or ())
        return QuorumState(int(state["leaderEpoch"]), int(state["leaderId"]), state["data_version"], voters)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: {type(error).__name__}: {error}") from error


def write_quorum_state(directory: str, state: QuorumState) -> None:
    """Durable when it returns. Raises OSError."""
    leads = f'"leaderId":{state.leader_id},"leaderEpoch":{state.leader_epoch},"votedId":-1'
    if state.version == 0:
        voters = ",".join(f'{{"voterId":{voter}}}' for voter in state.voters)
        text = f'{{"clusterId":"",{leads},"appliedOffset":0,"currentVoters":[{voters}],"data_version":0}}'
    else:
        text = f'{{{leads},"votedDirectoryId":"{uuid_to_text(ZERO_UUID)}","data_version":1}}'
    replace_file(f"{directory}/{QUORUM_STATE}", text.encode())
