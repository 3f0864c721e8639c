"""What a person sees of a run while it goes on, and the files and services that remember it."""
