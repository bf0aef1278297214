"""Threads with bounded queues: reading ahead, and writing behind, what the main thread works on."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from queue import Full, Queue
from threading import Event, Thread
from typing import Any, TypeVar

T = TypeVar("T")
END = object()


def read_ahead(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    """Runs an iterator in a thread of its own, at most `depth` items ahead; what it raises is raised here."""
    queue: Queue[Any] = Queue(depth)
    stopped = Event()

    def put(entry: Any) -> None:
        while not stopped.is_set():
            try:
                return queue.put(entry, timeout=0.1)
            except Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put((item, None))
                if stopped.is_set():
                    return
            put((END, None))
        except BaseException as error:  # raised in the thread that consumes
            put((END, error))

    thread = Thread(target=work, name="read_ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = queue.get()
            if error is not None:
                raise error
            if item is END:
                return
            yield item
    finally:
        stopped.set()
        thread.join()


@contextmanager
def write_behind(consume: Callable[[T], None], depth: int) -> Iterator[Callable[[T], None]]:
    """Gives a function that hands items to `consume` in a thread of its own, at most `depth` of them waiting.

    What `consume` raises is raised by that function or at the end of the block, which waits until all is consumed. If
    the block fails, waiting items are dropped.
    """
    queue: Queue[Any] = Queue(depth)
    dropped = Event()
    errors: list[BaseException] = []

    def work() -> None:
        while (item := queue.get()) is not END:
            try:
                if not dropped.is_set():
                    consume(item)
            except BaseException as error:  # raised in the thread that hands over
                errors.append(error)
                dropped.set()

    def hand_over(item: T) -> None:
        if errors:
            raise errors[0]
        queue.put(item)

    thread = Thread(target=work, name="write_behind", daemon=True)
    thread.start()
    try:
        yield hand_over
    except BaseException:
        dropped.set()
        raise
    finally:
        queue.put(END)
        thread.join()
    if errors:
        raise errors[0]
