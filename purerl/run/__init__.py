"""A run: its options, its directory, its session, its checkpoints and its command line."""
