"""What can be wrong with ringviz's input, as one tree.

RingvizError            anything a user can cause; shown as one line, exit code 2
├── InputError          a name or value given on the command line or in the app
├── ScenarioError       a scenario folder: file, key, what was expected
│   ├── AssemblyError   NASM refuses the guest's source
│   ├── ImageError      the guest image itself
│   └── DiskError       a disk image, of a scenario or from the command line
├── LessonError         a lesson or a quiz: file, place in it, what was expected
├── ProfileError        a CPU profile from a file: file, key, what was expected
├── TraceError          a trace file: line, what was found and what was expected
├── ReplayError         a scripted replay: file, beat, key, what was expected
├── MigrationError     a machine could not move: the peer, the stream or the link; what was found and expected
├── UnsupportedError    a combination that a technique, CPU or scenario does not have
└── ToolError           a program outside ringviz (NASM, QEMU) is missing or failed

Guest faults are not in this tree: they are events of the run.
"""

from typing import NamedTuple


class RingvizError(Exception):
    """Base of all errors that a user can cause; `str()` of it is the one line to show."""


class InputError(RingvizError):
    """A name or value given on the command line or in the app is not one of those known."""


class ScenarioError(RingvizError):
    """A scenario folder does not say what it must; the text names file, key and what was expected."""


class Complaint(NamedTuple):
    """One thing that NASM says of a source."""

    file: str
    """As the source names it: its own name, or what stands in `%include`."""
    number: int
    """Of the line, from 1; 0 where NASM names none."""
    text: str
    is_error: bool
    """It keeps the source from being assembled; else a warning."""


class AssemblyError(ScenarioError):
    """NASM refuses a source; the text gives its first complaint, `complaints` all of them."""

    def __init__(self, text: str, complaints: tuple[Complaint, ...] = ()) -> None:
        super().__init__(text)
        self.complaints = complaints


class ImageError(ScenarioError):
    """A guest image cannot be loaded: truncated, oversized, or not of the format it claims."""


class DiskError(ScenarioError):
    """A disk image is missing, or is not a row of whole sectors."""


class LessonError(RingvizError):
    """A lesson or a quiz does not say what it must, or says what is not so; the text names file and place."""


class ProfileError(RingvizError):
    """A file of a CPU's costs does not say what it must; the text names file, key and what was expected."""


class TraceError(RingvizError):
    """A trace file cannot be read, or only in part; the text says up to where."""


class ReplayError(RingvizError):
    """A scripted replay does not say what it must; the text names file, beat and key and what was expected."""


class MigrationError(RingvizError):
    """A machine cannot move, or what arrives is not a machine; the text says what was found and what was expected."""


class UnsupportedError(RingvizError):
    """A technique, CPU profile and scenario that do not go together; the text gives the reason."""


class ToolError(RingvizError):
    """A program outside ringviz is missing or failed; the text says how to get it."""
