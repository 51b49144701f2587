"""Asks a server for a JSON document and exports numbers of it as metrics; settings say which.

What is imported from `wit_world` is made of wit/world.wit by componentize-py; see wit/deps/lowtide-addon for what it means.
"""

import json

from componentize_py_types import Err
from paths import SettingError, number_at, parse_metrics, unit_of
from wit_world import exports
from wit_world.exports import health
from wit_world.exports.collector import Description
from wit_world.imports import config, http, log
from wit_world.imports.types import Definition, Failure_Config, Failure_Denied, Failure_Other, Failure_Unavailable
from wit_world.imports.types import Kind, Sample, Unit

TIMEOUT_SECONDS = 5.0

# What the last collection missed, for `check`. An instance lives until it is replaced, and one call comes at a time.
_missing = []
_failure = None


def setting(key, kind, default=None):
    """A setting of the operator. A value of another type is the operator's mistake, and is told."""
    value = config.get(key)
    if value is None:
        if default is None:
            raise SettingError(f"{key}: not set")
        return default
    if not isinstance(value.value, kind):
        raise SettingError(f"{key}: {value.value!r} is of another type than it should be")
    return value.value


def settings():
    """The URL, the header fields and the metrics with their paths."""
    headers = []
    for line in setting("headers", list, []):
        name, colon, value = line.partition(":")
        if not colon:
            raise SettingError(f"headers: {line!r} is not of the form \"name: value\"")
        headers.append((name.strip(), value.strip()))
    return setting("url", str), headers, parse_metrics(setting("metrics", list))


def fetch(url, headers):
    """The document, or a failure of the kind that fits."""
    fields = [("accept", "application/json"), *headers]
    try:
        answer = http.get(http.Request(url, fields, TIMEOUT_SECONDS))
    except Err as error:
        match error.value:
            case http.HttpError_NotGranted(text):
                raise Err(Failure_Denied(text))
            case http.HttpError_Timeout():
                raise Err(Failure_Unavailable(f"no answer within {TIMEOUT_SECONDS:.0f} s"))
            case http.HttpError_Unreachable(text):
                raise Err(Failure_Unavailable(text))
            case http.HttpError_LimitExceeded():
                raise Err(Failure_Unavailable("too many requests a second"))
            case http.HttpError_TooLarge():
                raise Err(Failure_Other("the answer is larger than 512 KiB"))
            case other:
                raise Err(Failure_Config(f"url: {other.value}"))
    if answer.status in (401, 403):
        raise Err(Failure_Config(f"headers: the server answered with status {answer.status}; is a token missing?"))
    if not 200 <= answer.status < 300:
        raise Err(Failure_Unavailable(f"the server answered with status {answer.status}"))
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise Err(Failure_Unavailable(f"the answer is not JSON: {error}"))


def collect():
    """The samples, and the names whose number is not there."""
    try:
        url, headers, metrics = settings()
    except SettingError as error:
        raise Err(Failure_Config(str(error)))
    document = fetch(url, headers)
    samples, missing = [], []
    for name, path in metrics:
        number = number_at(document, path)
        if number is None:
            missing.append(name)
        else:
            samples.append(Sample(name, [], number))
    return samples, missing


class Collector(exports.Collector):
    def describe(self):
        metrics = [Definition("missing_values", Kind.GAUGE, Unit.COUNT, "Metrics whose number is not there.", [], [])]
        try:
            _, _, wanted = settings()
        except SettingError:
            # Told by the first collection, which can fail.
            wanted = []
        for name, path in wanted:
            kind = Kind.COUNTER if name.endswith("_total") else Kind.GAUGE
            unit = Unit[unit_of(name).upper()]
            where = ".".join(str(step) for step in path)[:400]
            metrics.append(Definition(name, kind, unit, f"The number at {where} of the document.", [], []))
        return Description("Numbers out of a JSON document that a server answers.", 30.0, metrics)

    def collect(self):
        global _missing, _failure
        try:
            samples, missing = collect()
        except Err as error:
            _failure = error.value.value
            raise
        _failure = None
        for name in missing:
            if name not in _missing:
                log.write(log.Level.WARN, f"{name}: there is no number at its path")
        _missing = missing
        return [*samples, Sample("missing_values", [], float(len(missing)))]


class Health(exports.Health):
    def check(self):
        if _failure is not None:
            return health.Status_Error(_failure)
        if _missing:
            return health.Status_Warn(f"no number for {', '.join(_missing)}")
        return health.Status_Ok()
