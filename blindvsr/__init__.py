"""Blind video super-resolution that learns from low-resolution video alone (Bai and Pan, TPAMI 2024)."""

from blindvsr.container import set_thread_defaults

__version__ = "0.1.0"
set_thread_defaults()  # before torch is loaded, which reads it then


class InputError(ValueError):
    """A user's mistake: the message names what was given, its value and the remedy, in one line."""
