"""What needs nothing of Lowtide: paths into a JSON document, and the settings that name them. `python3 -m unittest` tests it."""

import math
import re

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_KEPT = ("_count", "_sum", "_bucket")

# A metric's unit is the last word of its name; the longer of two that fit comes first.
_UNITS = ("bytes_per_second", "per_second", "bytes", "seconds", "ratio", "celsius", "hertz")


class SettingError(Exception):
    """A setting is wrong; the text says which line and what it should be."""


def parse_metrics(lines):
    """`["queue_length = jobs.waiting", "load_ratio = hosts[0].load"]` as a list of names and paths."""
    found = {}
    for line in lines:
        name, equals, path = (part.strip() for part in line.partition("="))
        if not equals or not path:
            raise SettingError(f"metrics: {line!r} is not of the form \"name = path.to.the[0].number\"")
        stem = name.removesuffix("_total")
        if not _NAME.fullmatch(name) or stem.endswith(_KEPT):
            raise SettingError(
                f"metrics: {name!r} is not a name: lower-case words with _ between them, and none of _count, _sum, _bucket last"
            )
        if name in found:
            raise SettingError(f"metrics: {name!r} stands there twice")
        found[name] = parse_path(path)
    return list(found.items())


def parse_path(path):
    """`hosts[0].load` as `["hosts", 0, "load"]`. A key with a dot in it is written in quotes: `a."b.c"`."""
    steps = []
    rest = path
    while rest:
        match = re.match(r'\[(\d+)\]|"([^"]+)"|([^.\[\]"]+)', rest)
        if not match:
            raise SettingError(f"metrics: the path {path!r} cannot be understood from {rest!r} on")
        index, quoted, plain = match.groups()
        steps.append(int(index) if index is not None else quoted or plain)
        rest = rest[match.end() :]
        if rest.startswith(".") and len(rest) > 1:
            rest = rest[1:]
        elif rest and not rest.startswith("["):
            raise SettingError(f"metrics: the path {path!r} cannot be understood from {rest!r} on")
    return steps


def number_at(document, path):
    """The number there; true and false are 1 and 0, a text counts if it is a number. None if there is none."""
    place = document
    for step in path:
        try:
            place = place[step]
        except (KeyError, IndexError, TypeError):
            return None
    try:
        number = float(place)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def unit_of(name):
    """The word of the unit that a name ends in, or `count`."""
    stem = name.removesuffix("_total")
    return next((unit for unit in _UNITS if stem.endswith("_" + unit)), "count")
