"""What this machine and this installation can do, and what would be slow or fail here."""
