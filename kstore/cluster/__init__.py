"""What the cluster agrees on, in dependency order: image, topic_names, records, topic_changes, election, isr_update,
notices, controller, replay, quorum_state, snapshot, bootstrap, metadata_load, metadata_log."""
