"""The tasks of a replay: single, all of several, the first of several, one with retries.

They behave as the .NET tasks that the extension builds from the same actions, not as the SDK's: a failed child does not
end a `WhenAll` early, and a retry creates its timers and attempts only as history makes attempts fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Protocol

from .protocol import Action


class Timers(Protocol):
    """Where a retry gets its timers from."""

    now: datetime

    def timer(self, fire_at: datetime) -> Node:
        """Create a timer under the next number."""


class Node:
    """A task: done once, then tells the task that waits for it."""

    def __init__(self) -> None:
        """Start open."""
        self.done = self.failed = False
        self.parent: Node | None = None

    def complete(self, failed: bool = False) -> None:
        """Finish; a second time changes nothing."""
        if self.done:
            return
        self.done, self.failed = True, failed
        if self.parent is not None:
            self.parent.child_done(self)

    def child_done(self, child: Node) -> None:
        """React to a finished child; only compound tasks have some."""

    def adopt(self, children: Iterable[Node]) -> None:
        """Become the parent of `children`, which may be done already."""
        for child in children:
            child.parent = self


class EventWait(Node):
    """A wait for an external event, under the name the orchestrator wrote."""

    def __init__(self, name: str) -> None:
        """Wait for `name`."""
        super().__init__()
        self.name = name


class WhenAll(Node):
    """Done when ALL children are, even after a failure, as Task.WhenAll."""

    def __init__(self, children: list[Node]) -> None:
        """Wait for `children`."""
        super().__init__()
        self.children = children
        self.left = sum(not one.done for one in children)
        self.adopt(children)
        self._check()

    def child_done(self, child: Node) -> None:
        """Finish with the last child."""
        self.left -= 1
        self._check()

    def _check(self) -> None:
        if not self.left:
            self.complete(any(one.failed for one in self.children))


class WhenAny(Node):
    """Done with the first child, and never failed."""

    def __init__(self, children: list[Node]) -> None:
        """Wait for the first of `children`."""
        super().__init__()
        self.adopt(children)
        if any(one.done for one in children):
            self.complete()

    def child_done(self, child: Node) -> None:
        """Finish with this child."""
        self.complete()


class Retry(Node):
    """DurableTask.Core.RetryInterceptor: attempt, timer, attempt, ... and one dummy timer after the last failure."""

    def __init__(self, timers: Timers, options: Action, attempt: Callable[[], Node]) -> None:
        """Start the first attempt; `options` as in the action's retryOptions."""
        super().__init__()
        self._timers, self._attempt = timers, attempt
        self._limit: int = options["maxNumberOfAttempts"]
        self._interval = timedelta(milliseconds=options["firstRetryIntervalInMilliseconds"])
        self._failures = 0
        self._waiting = False
        self.adopt([attempt()])

    def child_done(self, child: Node) -> None:
        """Go on: from attempt to timer, from timer to attempt or to the end."""
        if self._waiting:
            self._waiting = False
            if self._failures >= self._limit:
                self.complete(failed=True)
            else:
                self.adopt([self._attempt()])
        elif not child.failed:
            self.complete()
        else:
            self._failures += 1
            self._waiting = True
            last = self._failures >= self._limit
            self.adopt([self._timers.timer(self._timers.now + (timedelta() if last else self._interval))])


def finished() -> Node:
    """Return a task that is done."""
    node = Node()
    node.complete()
    return node
