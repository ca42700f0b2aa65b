"""How a broker tells the controller that one of its log directories has failed (ZkData.LogDirEventNotification...).

The controller asks that broker about all its partitions with a LeaderAndIsr request, and hears KAFKA_STORAGE_ERROR of
those that lie in the directory.
"""

import json

LOG_DIR_EVENTS = "/log_dir_event_notification"
EVENT_PREFIX = f"{LOG_DIR_EVENTS}/log_dir_event_"

FAILURE = 1


def log_dir_event_json(broker_id: int) -> bytes:
    return json.dumps({"version": 1, "broker": broker_id, "event": FAILURE}, separators=(",", ":")).encode()
