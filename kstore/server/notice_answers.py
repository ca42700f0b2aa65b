"""What brokers answer to the controller: replicas that are gone, and replicas whose directory is.

Kafka: KafkaController.processLeaderAndIsrResponseReceived, processTopicDeletionStopReplicaResponseReceived.
"""

import logging
from typing import Any

from kstore.cluster.notices import Notice
from kstore.errors import NONE, KafkaStorageError
from kstore.model import TopicPartition
from kstore.protocol.api_keys import LEADER_AND_ISR, STOP_REPLICA, api_name
from kstore.server.controller_office import Office
from kstore.server.controller_watches import ControllerWatches

log = logging.getLogger(__name__)


class NoticeAnswers:
    def __init__(self, controller: Office, watches: ControllerWatches) -> None:
        self._controller = controller
        self._watches = watches

    def came(self, broker_id: int, notice: Notice, answer: Any) -> None:
        api_key = type(notice.request).api_key
        if answer.error_code != NONE:
            log.warning("broker %d refuses %s with error %d", broker_id, api_name(api_key), answer.error_code)
        elif not self._controller.is_active:
            return
        elif api_key == STOP_REPLICA:
            self._replicas_stopped(broker_id, notice.request, answer)
        elif api_key == LEADER_AND_ISR:
            self._roles_taken(broker_id, answer)

    def _replicas_stopped(self, broker_id: int, request: Any, answer: Any) -> None:
        decisions = self._controller.active()
        refused = {(each.topic_name, each.partition_index) for each in answer.partition_errors if each.error_code}
        for topic in request.topic_states:
            for state in topic.partition_states:
                key = TopicPartition(topic.topic_name, state.partition_index)
                if state.delete_partition and key not in refused and decisions.replica_deleted(broker_id, key):
                    self._watches.topic_gone(key.topic)

    def _roles_taken(self, broker_id: int, answer: Any) -> None:
        """A replica whose directory has failed is no candidate any more; one that answers is one again."""
        decisions = self._controller.active()
        names = decisions.image.topic_names
        online: list[TopicPartition] = []
        offline: list[TopicPartition] = []
        for topic in answer.topics:
            name = names.get(topic.topic_id)
            if name is not None:
                for part in topic.partition_errors:
                    key = TopicPartition(name, part.partition_index)
                    if part.error_code == KafkaStorageError.code:
                        offline.append(key)
                    elif part.error_code == NONE:
                        online.append(key)
        if offline or decisions.offline.get(broker_id):
            self._watches.replicas_answered(decisions, broker_id, online, offline)
