"""Bytes and what they mean: scenarios, images, symbols, decoded instructions.

`ringviz.guest.decode` is imported by its own name: it loads Capstone, which a list of scenarios does not need.
"""

from ringviz.guest.image import Image, Segment, StartState, load_image
from ringviz.guest.instruction import Instruction, Operand
from ringviz.guest.scenario import (
    GuestSpec,
    ImageFormat,
    Level,
    Limits,
    Scenario,
    Variant,
    find_scenario,
    list_scenarios,
    load_scenario,
)
from ringviz.guest.symbols import SourceLine, SourceMap, load_source_map

__all__ = [
    "GuestSpec",
    "Image",
    "ImageFormat",
    "Instruction",
    "Level",
    "Limits",
    "Operand",
    "Scenario",
    "Segment",
    "SourceLine",
    "SourceMap",
    "StartState",
    "Variant",
    "find_scenario",
    "list_scenarios",
    "load_image",
    "load_scenario",
    "load_source_map",
]
