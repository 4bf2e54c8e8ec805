"""The four themes, with one colour for each ring and each kind of event."""

from textual.theme import Theme

_DARK_VARIABLES = {
    "ring-3": "#2f5677",
    "ring-2": "#2a303c",
    "ring-1": "#51437a",
    "ring-0": "#6e4a30",
    "ring-host": "#74303f",
    "ring-lit": "#ffb165",
    "ring-lit-text": "#14171f",
    "ring-text": "#f2f4f8",
    "crossing": "#ffffff",
    "dim": "#8b93a5",
    "frame": "#3d4658",
    "changed": "#ffd75e",
    "kind-guest": "#7fb2ea",
    "kind-trap": "#ffb165",
    "kind-reflect": "#b9a1ec",
    "kind-silent": "#ff6f85",
    "kind-exit": "#ffd75e",
    "kind-translate": "#c2d468",
    "kind-callout": "#e0966f",
    "kind-hypercall": "#f0a6c8",
    "kind-gate": "#86d99b",
    "kind-fault": "#d69be0",
    "kind-interrupt": "#9fe0c0",
    "kind-io": "#6fd6d6",
    "kind-violation": "#ff4d5e",
    "kind-end": "#e6e8ee",
}

_LIGHT_VARIABLES = {
    "ring-3": "#b5d1ea",
    "ring-2": "#dcdfe6",
    "ring-1": "#cfc2ec",
    "ring-0": "#e6cdb6",
    "ring-host": "#eab8c2",
    "ring-lit": "#c2570c",
    "ring-lit-text": "#ffffff",
    "ring-text": "#1b2130",
    "crossing": "#101520",
    "dim": "#5d6678",
    "frame": "#b6bdcb",
    "changed": "#8a5a00",
    "kind-guest": "#1f5fa8",
    "kind-trap": "#b04a00",
    "kind-reflect": "#6a3fb0",
    "kind-silent": "#c0203c",
    "kind-exit": "#8a6400",
    "kind-translate": "#566600",
    "kind-callout": "#8f4416",
    "kind-hypercall": "#a0246f",
    "kind-gate": "#1f7a3a",
    "kind-fault": "#92309f",
    "kind-interrupt": "#0f6b4f",
    "kind-io": "#0a7272",
    "kind-violation": "#d00020",
    "kind-end": "#2a3040",
}

DARK = Theme(
    name="ringviz-dark",
    primary="#ffb165",
    secondary="#7fb2ea",
    accent="#ffd75e",
    warning="#ffd75e",
    error="#ff6f85",
    success="#86d99b",
    foreground="#e6e8ee",
    background="#14171f",
    surface="#1a1f2a",
    panel="#222a3a",
    dark=True,
    variables=_DARK_VARIABLES,
)
"""For a terminal in a dark room, or a projector in a dark hall."""

LIGHT = Theme(
    name="ringviz-light",
    primary="#b04a00",
    secondary="#1f5fa8",
    accent="#8a5a00",
    warning="#8a6400",
    error="#c0203c",
    success="#1f7a3a",
    foreground="#1b2130",
    background="#fbfaf7",
    surface="#f1efe9",
    panel="#e6e3da",
    dark=False,
    variables=_LIGHT_VARIABLES,
)
"""For daylight and print."""

_CONTRAST_VARIABLES = {
    "ring-3": "#003a6b",
    "ring-2": "#1c1c1c",
    "ring-1": "#3d1f6b",
    "ring-0": "#5a2d00",
    "ring-host": "#6b0018",
    "ring-lit": "#ffff00",
    "ring-lit-text": "#000000",
    "ring-text": "#ffffff",
    "crossing": "#ffffff",
    "dim": "#d0d0d0",
    "frame": "#ffffff",
    "changed": "#ffff00",
    "kind-guest": "#9ad1ff",
    "kind-trap": "#ffc04d",
    "kind-reflect": "#d9c2ff",
    "kind-silent": "#ff9aa8",
    "kind-exit": "#ffff00",
    "kind-translate": "#e0ff66",
    "kind-callout": "#ffb38a",
    "kind-hypercall": "#ffb3dd",
    "kind-gate": "#8cff9e",
    "kind-fault": "#f0b3ff",
    "kind-interrupt": "#a6ffd9",
    "kind-io": "#7dffff",
    "kind-violation": "#ff8080",
    "kind-end": "#ffffff",
}

# The eight colours of Okabe and Ito, which people with any kind of colour blindness tell apart; kinds that share one
# differ by their glyphs, as all do.
_SKY, _ORANGE, _GREEN, _YELLOW = "#56b4e9", "#e69f00", "#00b389", "#f0e442"
_BLUE, _VERMILION, _PURPLE, _GREY = "#4d9de0", "#ff7b33", "#e58fc0", "#e6e8ee"
_BLIND_VARIABLES = {
    **_DARK_VARIABLES,
    "ring-3": "#0b3c5d",
    "ring-2": "#2a303c",
    "ring-1": "#5b3a56",
    "ring-0": "#5c4508",
    "ring-host": "#6b2f10",
    "ring-lit": _YELLOW,
    "changed": _YELLOW,
    "kind-guest": _SKY,
    "kind-trap": _ORANGE,
    "kind-reflect": _PURPLE,
    "kind-silent": _VERMILION,
    "kind-exit": _YELLOW,
    "kind-translate": _GREEN,
    "kind-callout": _ORANGE,
    "kind-hypercall": _PURPLE,
    "kind-gate": _GREEN,
    "kind-fault": _VERMILION,
    "kind-interrupt": _BLUE,
    "kind-io": _SKY,
    "kind-violation": _VERMILION,
    "kind-end": _GREY,
}

CONTRAST = Theme(
    name="ringviz-contrast",
    primary="#ffff00",
    secondary="#7dffff",
    accent="#ffff00",
    warning="#ffff00",
    error="#ff9aa8",
    success="#8cff9e",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#1c1c1c",
    dark=True,
    variables=_CONTRAST_VARIABLES,
)
"""For tired eyes and weak projectors: every text at least seven times as bright as its ground."""

COLOUR_BLIND = Theme(
    name="ringviz-colour-blind",
    primary=_ORANGE,
    secondary=_SKY,
    accent=_YELLOW,
    warning=_YELLOW,
    error=_VERMILION,
    success=_GREEN,
    foreground="#e6e8ee",
    background="#14171f",
    surface="#1a1f2a",
    panel="#222a3a",
    dark=True,
    variables=_BLIND_VARIABLES,
)
"""In colours that do not depend on telling red from green."""

_LOUD_KINDS = ("silent", "violation", "trap", "exit", "hypercall", "fault")
_MONOCHROME_VARIABLES = {
    **_CONTRAST_VARIABLES,
    **{name: "#c4c4c4" for name in _CONTRAST_VARIABLES if name.startswith("kind-")},
    **{f"kind-{name}": "#ffffff" for name in _LOUD_KINDS},
    "ring-lit": "#ffffff",
    "changed": "#ffffff",
    "dim": "#9a9a9a",
    "frame": "#6a6a6a",
}

MONOCHROME = Theme(
    name="ringviz-monochrome",
    primary="#ffffff",
    secondary="#ffffff",
    accent="#ffffff",
    warning="#ffffff",
    error="#ffffff",
    success="#e0e0e0",
    foreground="#e0e0e0",
    background="#121212",
    surface="#1a1a1a",
    panel="#2a2a2a",
    dark=True,
    variables=_MONOCHROME_VARIABLES,
)
"""Under NO_COLOR, where Textual turns every colour into its grey: red, our loudest, would be the dimmest."""

THEMES = (DARK, LIGHT, CONTRAST, COLOUR_BLIND)
"""In the order in which one key goes through them."""

VARIABLE_DEFAULTS = _DARK_VARIABLES
"""What our styles fall back on under a theme that is not ours."""
