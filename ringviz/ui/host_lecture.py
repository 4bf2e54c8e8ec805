"""The lecture of a host as an app."""

from textual.screen import Screen

from ringviz.record.machines.host_lecture import HostLecture
from ringviz.record.machines.host_made_with import changes_of
from ringviz.record.machines.host_player import Opening
from ringviz.record.made_with import told_changes
from ringviz.ui.app import RingvizApp
from ringviz.ui.own_keys import load_keys
from ringviz.ui.remembered import Remembered
from ringviz.ui.screens.host_lecture import HostLectureScreen


class HostLectureApp(RingvizApp):
    """A lecture, held in front of an audience; see `HostLectureScreen`."""

    def __init__(
        self,
        lecture: HostLecture,
        speed: float = 1.0,
        opening: Opening | None = None,
        *,
        is_by_itself: bool = False,
        remembered: Remembered | None = None,
    ) -> None:
        super().__init__(own_keys=load_keys(), remembered=remembered)
        self.lecture = HostLectureScreen(lecture, speed, opening, is_by_itself=is_by_itself)
        changes = changes_of(lecture)
        self.lecture.stale = told_changes(changes) if changes else ""

    def home(self) -> Screen[None]:
        """Give the lecture."""
        return self.lecture
