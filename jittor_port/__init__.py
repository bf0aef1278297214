"""Inference of blindvsr on Jittor: the same weights file, the same numbers, neither torch nor blindvsr needed."""


class InputError(ValueError):
    """A user's mistake: the message names what was given, its value and the remedy, in one line."""
