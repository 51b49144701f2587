"""Ten samples: one without labels and nine with one label, as the guest in Rust has."""

from wit_world import exports
from wit_world.exports.collector import Description
from wit_world.imports.types import Definition, Kind, Sample, Unit

PARTS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


class Collector(exports.Collector):
    def __init__(self):
        self.calls = 0

    def describe(self):
        calls = Definition("calls", Kind.GAUGE, Unit.COUNT, "Calls of this instance.", [], [])
        part = Definition("part_ratio", Kind.GAUGE, Unit.RATIO, "A part.", ["part"], [])
        return Description("Ten samples.", 5.0, [calls, part])

    def collect(self):
        self.calls = getattr(self, "calls", 0) + 1
        return [Sample("calls", [], float(self.calls))] + [Sample("part_ratio", [part], 0.5) for part in PARTS]
