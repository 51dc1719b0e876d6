"""What can go wrong on a developer's machine, as one sentence for that person: dev.py prints it and exits 1."""

from __future__ import annotations


class Trouble(Exception):
    """Something the person at the keyboard can act on; the text says what happened and what to do next."""


class Stopped(Exception):
    """SIGTERM or Ctrl-C came while something was still starting: not an error."""
