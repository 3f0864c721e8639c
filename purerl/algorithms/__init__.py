"""Learning algorithms: each a configuration, `init` and `update`, in one file."""
