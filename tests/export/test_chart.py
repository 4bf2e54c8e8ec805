"""Slowdown against year as text and as a picture."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from ringviz.export.chart_scale import Scale
from ringviz.export.chart_svg import draw_svg
from ringviz.export.chart_text import draw, plain
from ringviz.export.chart_words import notes, verdicts
from tests.ui.fake_years import SLOWDOWNS, fake_years

RESULT = fake_years("made-up")


DRAWN = """\
   6x ┤S
      │ ··
   4x ┤   ··
   3x ┤B·····BS·B········B·········································B
      │         s  ······S·········································S
      │
   2x ┤P·····P··P········P·········································P
 1.5x ┤
      │
   1x ┤──────────────────N─────────────────────────────────────────N bare metal
       2005  2006        2008                                      2015
       P4 672   K8 rev F Nehalem                                   Skylake
             Core 2

B Binary translation   S Intel VT-x, shadow paging   N Intel VT-x, nested paging
P Paravirtualization   s AMD-V, shadow paging
"""


def test_a_small_drawing_is_the_one_on_file() -> None:
    assert "".join(plain(line) + "\n" for line in draw(RESULT, 80, 10)) == DRAWN


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("height", [8, 18, 40])
def test_every_point_has_its_letter_at_every_size(width: int, height: int) -> None:
    drawn = "\n".join(plain(line)[7:] for line in draw(RESULT, width, height)[:height])
    for way in RESULT.ways:
        wanted = sum(way.id in by_way for by_way in SLOWDOWNS.values())
        assert drawn.replace("bare metal", "").count(way.mark) == wanted, way.id


def test_higher_is_slower() -> None:
    scale = Scale.of(RESULT)
    places = [scale.up(slowdown) for slowdown in (1.0, 1.5, 2.0, 6.0)]
    assert (places[0], places[-1]) == (0.0, 1.0)
    assert all(low < high for low, high in pairwise(places))
    assert (scale.bottom, scale.top) == (1.0, 6.0)
    assert scale.grid() == (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def test_what_is_faster_than_bare_metal_is_drawn_below_its_line() -> None:
    faster = fake_years("made-up", {"p4-672": {"binary-translation": 300, "paravirt": 60}})
    scale = Scale.of(faster)
    assert (scale.bottom, scale.top) == (0.5, 3.0)
    assert scale.grid() == (0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
    lines = [plain(line) for line in draw(faster, 80, 12)]
    (line_of_bare_metal,) = [row for row, line in enumerate(lines) if line.endswith("bare metal")]
    (line_of_paravirt,) = [row for row, line in enumerate(lines[:12]) if "P" in line]
    assert line_of_bare_metal < line_of_paravirt


def test_the_words_say_where_it_turned() -> None:
    said = " ".join(verdicts(RESULT))
    assert "On CPUs up to Intel Core 2 (Merom), 2006, software is ahead: binary translation 3.00x against 3.01x" in said
    assert (
        "It turns with Intel Core i7 (Nehalem), 2008: binary translation 3.00x against 1.10x of Intel VT-x, nest"
        in said
    )
    assert "Hardware is ahead from the first on, with AMD Athlon 64 X2 (K8 revision F), 2006" in said
    assert "nested paging looks cheaper than it is" in " ".join(notes(RESULT))


def test_a_picture_is_xml_with_a_mark_for_each_point_and_no_script() -> None:
    picture = draw_svg(RESULT, "Guests <& friends>")
    root = ET.fromstring(picture)
    titles = [element.text for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles[0] == "Guests <& friends>"
    assert len(titles) == 1 + len(RESULT.points)
    assert "Intel VT-x, shadow paging on Intel Pentium 4 672: 6.00x" in titles
    assert "script" not in picture
    assert picture == draw_svg(fake_years("made-up"), "Guests <& friends>")


def test_no_two_names_of_the_legend_stand_on_each_other() -> None:
    root = ET.fromstring(draw_svg(RESULT, "made up"))
    texts = root.iter("{http://www.w3.org/2000/svg}text")
    # "Intel VT-x, nested paging 1.00x"
    names = [text for text in texts if re.fullmatch(r".* paging \d\.\d\dx", text.text or "")]
    heights = sorted(int(name.get("y") or 0) for name in names)
    assert len(heights) == 3
    assert all(other - one >= 12 for one, other in pairwise(heights))
