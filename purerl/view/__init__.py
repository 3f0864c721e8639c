"""Everything that a person looks at: lines of metrics, progress, alarms, pictures."""
