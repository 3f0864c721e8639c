"""The machine's side: files, locks, signals, processes, text. It knows no run."""
