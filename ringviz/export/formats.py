"""The trace formats, by the name that `--format` takes."""

from collections.abc import Mapping
from types import MappingProxyType

from ringviz.export.csv_trace import CsvTrace
from ringviz.export.jsonl_trace import JsonlTrace
from ringviz.export.plain_trace import PlainTrace
from ringviz.export.recorded_trace import RecordedTrace
from ringviz.export.trace_format import TraceFormat

TRACE_FORMATS: Mapping[str, TraceFormat] = MappingProxyType(
    {trace.id: trace for trace in (PlainTrace(), JsonlTrace(), CsvTrace(), RecordedTrace())}
)
