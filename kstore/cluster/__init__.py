"""What the cluster agrees on, in dependency order: image, assignment, records, metadata_log."""
