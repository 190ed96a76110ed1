"""What is too large for the memory of this machine is refused before it is made, in one line."""

import os


def machine_memory() -> float:
    """Bytes; infinite where the system does not say."""
    names = ("SC_PAGE_SIZE", "SC_PHYS_PAGES")
    if not all(name in getattr(os, "sysconf_names", {}) for name in names):
        return float("inf")
    size, number = (os.sysconf(name) for name in names)
    return float(size) * number


def check_memory(needed: float, what: str, remedy: str, available: float | None = None) -> None:
    """Raises ValueError where so many bytes are more than are available, by default on this machine.

    what: for which they are needed.  remedy: what to lower.
    """
    available = machine_memory() if available is None else available
    if needed > available:
        raise ValueError(
            f"Expected {what} to fit into the {available / 1e9:.3g} GB of this machine; got about "
            f"{needed / 1e9:.3g} GB. {remedy}"
        )
