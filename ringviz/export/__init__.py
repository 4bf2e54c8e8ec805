"""Runs in formats that other programs read: one small file each behind one protocol."""

from ringviz.export.formats import TRACE_FORMATS
from ringviz.export.trace_format import TraceEnd, TraceFormat, TraceHead

__all__ = ["TRACE_FORMATS", "TraceEnd", "TraceFormat", "TraceHead"]
