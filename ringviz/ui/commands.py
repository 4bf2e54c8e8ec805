"""Every command of the app, declared once: bindings, key line, palette and help all read these rows."""

from collections.abc import Sequence
from dataclasses import dataclass

from textual.binding import Binding


@dataclass(frozen=True, slots=True)
class Command:
    """One thing the user can ask for."""

    id: str
    keys: str
    """Textual's key names, separated by commas; the first is the one shown."""
    face: str
    """How the first key is written for people."""
    title: str
    """One or two words, for the key line."""
    help: str
    """One sentence."""
    action: str
    rank: int
    """Who keeps a place in the key line when it is short: lower first."""


EXPLORE: tuple[Command, ...] = (
    Command("step", "space", "space", "step", "Execute one guest instruction.", "step", 0),
    Command("back", "b", "b", "back", "Go back by exactly one guest instruction.", "back", 1),
    Command("next", "n", "n", "next event", "Run to the next trap, exit, gate or silent instruction.", "next_event", 2),
    Command("previous", "p", "p", "previous", "Go back to the event before this one.", "previous_event", 13),
    Command("run", "r", "r", "run", "Run to the end; Escape stops on the way.", "run", 3),
    Command(
        "run_back",
        "less_than_sign",
        "<",
        "run back",
        "Go back to where a breakpoint was last met.",
        "run_back",
        34,
    ),
    Command("stop", "escape", "esc", "stop", "Stop a run, or leave a zoomed panel.", "stop", 16),
    Command(
        "technique",
        "m",
        "m",
        "technique",
        "Put the same guest, at this point, under another technique.",
        "technique",
        4,
    ),
    Command(
        "cycle",
        "M,right_square_bracket",
        "M",
        "next technique",
        "Same as m, straight to the next technique.",
        "cycle(1)",
        19,
    ),
    Command(
        "cycle_back", "left_square_bracket", "[", "technique before", "Back to the technique before.", "cycle(-1)", 20
    ),
    Command(
        "compare",
        "c",
        "c",
        "compare",
        "Run all techniques side by side and check them against bare metal.",
        "compare",
        6,
    ),
    Command(
        "group",
        "C",
        "C",
        "side by side",
        "The same guest under two to four techniques, moving together, with every difference marked.",
        "group",
        31,
    ),
    Command(
        "goto",
        "colon",
        ":",
        "go to",
        "Go to a step, an event (#12), an address (0x…), a symbol, or the next `ring 3`, `exit 30`, `silent`, …",
        "goto",
        7,
    ),
    Command(
        "divergence",
        "d",
        "d",
        "goes wrong",
        "Run to just after the next instruction by which the guest gets something else than on bare metal.",
        "divergence",
        8,
    ),
    Command("ring", "R", "R", "next ring", "Run to the next change of ring.", "ring", 21),
    Command("start", "home,g", "g", "start", "Go back to the first instruction.", "start", 14),
    Command("end", "end,G", "G", "end", "Go to where the run ends.", "end", 15),
    Command(
        "console",
        "k",
        "k",
        "console",
        "Show what the guest has printed, and its text screen, in place of the events, and back.",
        "console",
        33,
    ),
    Command(
        "side",
        "v",
        "v",
        "VMM side",
        "Show what the VMM keeps beside the guest's code (code cache, VMCS, VMCB, hypercalls), and back.",
        "side",
        9,
    ),
    Command(
        "memory",
        "x",
        "x",
        "memory",
        "Show memory (bytes, stack, descriptor tables, page tables) in place of the events, and back.",
        "memory",
        24,
    ),
    Command(
        "walk",
        "w",
        "w",
        "page walk",
        "Show how an address is translated, entry by entry, in place of the events, and back.",
        "walk",
        25,
    ),
    Command(
        "address",
        "a",
        "a",
        "address",
        "Choose the address, symbol or register that memory and page walk show.",
        "address",
        26,
    ),
    Command(
        "micro",
        "u",
        "u",
        "micro-steps",
        "Go through each event part by part (fault, delivery, dispatch, decode, emulate, return), or as a whole again.",
        "micro",
        30,
    ),
    Command(
        "breakpoints",
        "B",
        "B",
        "breakpoints",
        "Set, switch and remove the places at which a run stops.",
        "breakpoints",
        27,
    ),
    Command("bookmark", "f", "f", "bookmark", "Mark this step, with a note; it is kept on disk.", "bookmark", 28),
    Command("bookmarks", "F", "F", "bookmarks", "List the bookmarks, and go to one.", "bookmarks", 29),
    Command(
        "machine",
        "s",
        "s",
        "machine",
        "Change the CPU below, the kind of paging and the technique's controls; the guest stays where it is.",
        "machine",
        11,
    ),
    Command(
        "vendors",
        "V",
        "V",
        "Intel | AMD",
        "The same guest at the same instruction under VT-x and AMD-V, field beside field.",
        "vendors",
        12,
    ),
    Command(
        "what_if",
        "dollar_sign",
        "$",
        "what if",
        "Move the cost of exits, of TLB misses and the rate of page-table writes, and see who would win.",
        "what_if",
        22,
    ),
    Command(
        "years",
        "y",
        "y",
        "years",
        "Draw the slowdown under each technique against the years of the CPUs.",
        "years",
        23,
    ),
    Command("edit", "e", "e", "edit", "Change the guest's source, and run it beside the original.", "edit", 37),
    Command(
        "point",
        "down,shift+down",
        "↓",
        "point",
        "Point at the next line of the focused panel (shift+↓ where ↓ scrolls); ? explains it.",
        "point(1)",
        35,
    ),
    Command("point_back", "up,shift+up", "↑", "point back", "Point at the line before.", "point(-1)", 36),
    Command("zoom", "z", "z", "zoom", "Give the focused panel the whole screen, and back.", "zoom", 10),
    Command(
        "theme",
        "t",
        "t",
        "theme",
        "Dark, light, high contrast, colour-blind, in turn.",
        "app.theme_switch",
        17,
    ),
    Command(
        "help",
        "question_mark,f1",
        "?",
        "explain",
        "Explain the focused panel, or what is pointed at in it, the signs and the keys.",
        "explain",
        5,
    ),
    Command("why", "i", "i", "why", "Derive why the next instruction traps, or why it does not.", "why", 32),
    Command("home", "q", "q", "home", "Leave this scenario for the list of scenarios.", "home", 18),
)
"""On the explore screen."""

REPLAY: tuple[Command, ...] = (
    Command("next_beat", "full_stop", ".", "next beat", "Go on to the next beat of the replay.", "next_beat", 0),
    Command("previous_beat", "comma", ",", "beat before", "Go back to the beat before.", "previous_beat", 1),
    Command("this_beat", "slash", "/", "this beat", "Back into the beat that was left.", "this_beat", 2),
    Command("autoplay", "semicolon", ";", "by itself", "Let the replay go on by itself, or wait.", "autoplay", 3),
)
"""On the explore screen while a replay is played, besides its own."""

VENDORS: tuple[Command, ...] = (
    *(
        command
        for command in EXPLORE
        if command.id in ("step", "back", "next", "previous", "run", "stop", "start", "end", "theme", "help")
    ),
    Command("leave", "V,q", "V", "back", "Leave the two vendors; the guest stands where it stood before.", "leave", 4),
)
"""On the vendors screen."""

GROUP: tuple[Command, ...] = (
    *(
        command
        for command in EXPLORE
        if command.id in ("step", "back", "next", "previous", "run", "stop", "start", "end", "theme", "help")
    ),
    Command("divergence", "d", "d", "goes wrong", "Go to where a guest next gets something else than on bare metal.",
            "divergence", 4),
    Command("choose", "m", "m", "techniques", "Choose who stands side by side.", "choose", 6),
    Command("along", "right", "→", "more", "Show the next column, where not all have room.", "along(1)", 8),
    Command("along_back", "left", "←", "before", "Show the column before.", "along(-1)", 24),
    Command("leave", "C,q", "C", "leave", "Leave; the guest stands where it stood before.", "leave", 7),
)  # fmt: skip
"""On the side-by-side screen."""

EDIT: tuple[Command, ...] = (
    Command("beside", "f9,ctrl+r", "f9", "run beside the original",
            "Assemble the text, and run it beside the original, from the same instruction on.", "beside", 0),
    Command("alone", "f8", "f8", "run alone", "Assemble the text, and run it alone, with all panels.", "alone", 2),
    Command("next_complaint", "f4", "f4", "complaint", "Go to the next line that NASM complains about.",
            "next_complaint", 5),
    Command("here", "f3,ctrl+g", "f3", "where it stands", "Go to the line of the next instruction.", "here", 4),
    Command("next_file", "f5", "f5", "next file", "Go to the next of the files that the source includes.", "next_file",
            7),
    Command("save_as", "f2,ctrl+s", "f2", "save as", "Save a scenario of your own, in a new folder.", "save_as", 3),
    Command("original", "ctrl+o", "ctrl+o", "original", "Give up your changes, and take the original text again.",
            "original", 6),
    Command("version", "ctrl+t", "ctrl+t", "next version",
            "Take the next version of your text, where two windows have changed it at once.", "version", 9),
    Command("help", "f1", "f1", "explain", "Explain this screen and the keys.", "explain", 8),
    Command("leave", "escape", "esc", "back", "Back to the guest; your text is kept.", "leave", 1),
)  # fmt: skip
"""In the editor, where letters are text."""

LECTURE: tuple[Command, ...] = (
    Command("forward", "space,right,enter,pagedown", "space", "next", "Give the answer, or go on to the next beat.",
            "forward", 0),
    Command("backward", "left,pageup,backspace", "←", "back", "Go back to the beat before.", "backward", 1),
    Command("again", "home", "home", "this beat", "Back to where this beat stands.", "again", 8),
    Command("black", "b,full_stop", "b", "black", "Make the screen black, until any key.", "black", 2),
    Command("spotlight", "s,tab", "s", "spotlight", "Put the next panel into the light.", "spotlight(1)", 3),
    Command("spotlight_back", "S,shift+tab", "S", "panel before", "Put the panel before into the light.",
            "spotlight(-1)", 9),
    Command("zoom", "z", "z", "zoom", "Show the panel in the light alone, or with the others.", "zoom", 4),
    Command("autoplay", "a", "a", "by itself", "Go on beat by beat; from trap to trap; or wait.", "autoplay", 5),
    Command("faster", "plus,equals_sign", "+", "faster", "Go on faster by itself.", "faster(2)", 10),
    Command("slower", "minus", "-", "slower", "Go on slower by itself.", "faster(0.5)", 11),
    Command("compare", "c", "c", "side by side", "Put techniques side by side; q comes back.", "compare", 14),
    Command("words", "o", "o", "words", "Show the audience the words, too.", "words", 12),
    Command("theme", "t", "t", "theme", "Dark, light, high contrast, colour-blind, in turn.", "app.theme_switch", 13),
    Command("help", "question_mark,f1", "?", "keys", "Explain the keys.", "explain", 6),
    Command("leave", "q", "q", "leave", "Pressed twice: leave the lecture.", "leave", 7),
)  # fmt: skip
"""In a lecture; there are no others, so that a wrong key does no harm."""

HOST_LECTURE: tuple[Command, ...] = tuple(command for command in LECTURE if command.id != "compare")
"""In the lecture of a host: techniques are not put side by side."""

LECTURE_GROUP: tuple[Command, ...] = (
    *(command for command in LECTURE if command.id in ("forward", "backward", "black", "theme", "help")),
    Command("along", "s,tab", "s", "more", "Show the next column, where not all have room.", "along(1)", 3),
    Command("along_back", "S,shift+tab", "S", "before", "Show the column before.", "along(-1)", 9),
    Command("divergence", "d", "d", "divergence", "Go to where a guest next gets something else than on bare metal.",
            "divergence", 5),
    Command("leave", "c,q,escape", "c", "leave", "Leave the comparison; the beat stands.", "leave", 4),
)  # fmt: skip
"""Side by side in a lecture."""

LESSON: tuple[Command, ...] = (
    Command("forward", "enter,right", "enter", "go on", "Answer the question, or open the next page.", "forward", 0),
    Command("backward", "left", "←", "page before", "Open the page before.", "backward", 2),
    Command("answer", "a", "a", "answer", "Answer the question of this page, again if you like.", "answer", 3),
    Command("scroll", "down", "↓", "more text", "Scroll the text.", "scroll_text(1)", 9),
    *(
        command
        for command in EXPLORE
        if command.id in ("step", "back", "next", "previous", "run", "start", "end", "theme", "help", "zoom")
    ),
    Command("again", "l", "l", "to the place", "Take the guest back to where this page speaks of.", "again", 6),
    Command("other_panel", "o", "o", "other panel", "Show another panel of the guest.", "other_panel", 8),
    Command("explore", "e", "e", "everything", "Open everything there is about this moment; q comes back.", "explore",
            7),
    Command("stop", "escape", "esc", "stop", "Leave the answer or a zoomed panel, or stop a run.", "stop", 25),
    Command("leave", "q", "q", "leave", "Leave for the list of lessons; the page is kept.", "leave", 4),
)  # fmt: skip
"""On the lesson screen."""

LESSONS: tuple[Command, ...] = (
    Command("open", "enter", "enter", "open", "Open the highlighted lesson where it was left.", "choose", 0),
    Command("again", "a", "a", "from the start", "Open the highlighted lesson at its first page.", "again", 1),
    Command("lecture", "p", "p", "lecture", "Hold the lecture of the highlighted lesson.", "lecture", 5),
    Command(
        "theme",
        "t",
        "t",
        "theme",
        "Dark, light, high contrast, colour-blind, in turn.",
        "app.theme_switch",
        4,
    ),
    Command("help", "question_mark,f1", "?", "help", "Explain the signs and the keys.", "explain", 3),
    Command("leave", "q,escape", "q", "home", "Back to the home screen.", "leave", 2),
)
"""On the list of lessons."""

HOME: tuple[Command, ...] = (
    Command("open", "enter", "enter", "open", "Open the highlighted guest under the highlighted technique.", "choose",
            0),
    Command("switch", "tab,right,left", "tab", "other list", "From guests to techniques and back.", "other_list", 10),
    Command("lessons", "l", "l", "lessons", "The course: lessons beside a running guest.", "lessons", 1),
    Command("find", "slash", "/", "find", "Find a guest by a word of its name or of what is said about it.", "find", 2),
    Command("hosts", "h", "h", "machine room", "Go into the machine room of a host with several machines.", "hosts", 5),
    Command("resume", "r", "r", "go on", "Go on where you were the last time.", "resume", 8),
    Command("words", "w", "w", "words", "The glossary, with everything else that has a name here.", "words", 6),
    Command("lecture", "p", "p", "lecture", "Hold the lecture of the highlighted guest.", "lecture", 7),
    Command("theme", "t", "t", "theme", "Dark, light, high contrast, colour-blind, in turn.", "app.theme_switch", 9),
    Command("help", "question_mark,f1", "?", "help", "Explain the signs and the keys.", "explain", 3),
    Command("quit", "q", "q", "quit", "Leave ringviz.", "app.quit", 4),
)  # fmt: skip
"""On the home screen."""


def bindings(commands: Sequence[Command]) -> list[Binding]:
    """Give the same commands as Textual's key bindings."""
    return [Binding(c.keys, c.action, c.title, show=False, tooltip=c.help, id=c.id) for c in commands]


_GAP = 2
"""Cells between two commands in the key line."""


def fitting(commands: Sequence[Command], width: int) -> list[Command]:
    """Choose by rank the commands whose keys and titles fit one line of `width` cells; their order stays."""
    kept: set[str] = set()
    used = 0
    for command in sorted(commands, key=lambda c: c.rank):
        needed = len(command.face) + 1 + len(command.title) + _GAP
        # Behind the last one there is no gap to keep.
        if used + needed - _GAP > width:
            break
        used += needed
        kept.add(command.id)
    return [command for command in commands if command.id in kept]
