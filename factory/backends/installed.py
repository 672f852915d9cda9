"""Whether the machine on which a task runs would make the same of it: our code, Python, packages and plugins."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import platform
import re
import socket
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import factory


def run(expected: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A task, in a worker: the call itself. Raises Different when the driver has another fingerprint, `expected`."""
    if expected != fingerprint(installed_here()):
        raise Different(socket.gethostname(), installed_here())
    return function(*args, **kwargs)


class Different(Exception):
    """(host, what is installed there): not what the driver has."""


@cache
def installed_here() -> dict[str, str]:
    """What the bytes of a result may depend on: our code, Python, the packages we require and those with plugins."""
    ours = Path(factory.__file__).parent
    code = hashlib.blake2b(digest_size=4)
    for path in sorted(ours.rglob("*.py")):
        code.update(path.relative_to(ours).as_posix().encode() + b"\0" + path.read_bytes())
    found = {"dataset-factory": f"{factory.__version__} ({code.hexdigest()})", "Python": platform.python_version()}
    plugins = {point.dist.name for point in importlib.metadata.entry_points(group="factory") if point.dist is not None}
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # imported from a folder: known by its code
        wanted = importlib.metadata.requires("dataset-factory") or []
        plugins |= {re.split(r"[^\w.-]", one)[0] for one in wanted if "extra ==" not in one}
    for name in sorted(plugins):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def fingerprint(versions: dict[str, str]) -> str:
    return hashlib.blake2b(repr(sorted(versions.items())).encode(), digest_size=8).hexdigest()


def difference(host: str, there: dict[str, str], here: dict[str, str]) -> str:
    """The sentence about a node that is told apart from the driver's machine."""
    names = [name for name in {**here, **there} if here.get(name) != there.get(name)]
    what = ", ".join(f"{name} {there.get(name, 'missing')} (here {here.get(name, 'missing')})" for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"the Ray node {host} has {what}{more}; every node needs the same, or results would differ"
