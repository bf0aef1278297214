"""Everything that needs Lightning: the task, its data, what is watched during training, and the commands."""
