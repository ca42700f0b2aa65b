"""What the cluster agrees on, in dependency order: image, topic_names, records, assignment, reassignment,
topic_changes, election, leader_election, standing, balance, isr_update, plan, notices, controller, replay,
quorum_state, snapshot, bootstrap, metadata_load, metadata_log."""
