"""Closing what belongs together: one that fails keeps none of the others open."""

from collections.abc import Callable, Iterable


def close_all(closes: Iterable[Callable[[], object]]) -> None:
    """Makes every call, then raises the first error; what others raised is noted with it."""
    first: BaseException | None = None
    for close in closes:
        try:
            close()
        except BaseException as error:
            if first is None:
                first = error
            else:
                first.add_note(f"besides: {error!r}")
    if first is not None:
        raise first
