"""What experiments in our own environments share: options of the command line, evaluation, reports."""
