"""Counts the tasks of this machine, as the kernel tells them in /proc/loadavg.

componentize-py finds `class Collector` because wit/world.wit says `export collector`. Everything that can be imported from
`wit_world` is described in wit/deps/lowtide-addon.
"""

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.collector import Description
from wit_world.imports import config, host_data, log
from wit_world.imports.types import Definition, Failure_Unavailable, Kind, Sample, Unit


def parse(text):
    """Runnable and all tasks: `0.52 0.58 0.59 2/941 12345` says 2 and 941."""
    runnable, total = text.split()[3].split("/")
    return float(runnable), float(total)


class Collector(exports.Collector):
    def describe(self):
        """What this addon measures, and how often. Called once, before the first collection."""
        tasks = Definition("tasks", Kind.GAUGE, Unit.COUNT, "Tasks of the scheduler, by state.", ["state"], [])
        return Description("Tasks that the kernel knows, from /proc/loadavg.", 10.0, [tasks])

    def collect(self):
        """Measures now. Raise Err with a failure if it is not possible: the next collection comes all the same."""
        try:
            # Readable because addon.toml asks for it and the operator grants it.
            text = host_data.read("/proc/loadavg").decode()
        except Err as error:
            raise Err(Failure_Unavailable(f"/proc/loadavg: {error.value}"))
        try:
            runnable, total = parse(text)
        except (IndexError, ValueError):
            raise Err(Failure_Unavailable(f"/proc/loadavg has another form than expected: {text!r}"))
        # A setting of the operator: [addon.{{id}}.settings] warn_above = 50
        limit = config.get("warn_above")
        if limit is not None and runnable > limit.value:
            log.write(log.Level.WARN, f"{runnable:.0f} tasks want to run, more than {limit.value}")
        return [Sample("tasks", ["runnable"], runnable), Sample("tasks", ["all"], total)]
