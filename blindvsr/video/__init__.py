"""Reading and writing video: frames at their times and in their colours. PyAV is imported by the modules alone."""
