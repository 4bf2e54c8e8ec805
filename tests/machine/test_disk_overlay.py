"""An overlay is a map of sectors: the same one however it came about, and every earlier version stays as it was."""

from hypothesis import given
from hypothesis import strategies as st

from ringviz.guest.disk import MAX_DISK_MIB
from ringviz.machine.devices.disk_overlay import MOST_SECTORS, SECTOR_BYTES, Overlay

# Few numbers, so that sectors are written again and taken back; the others spread over the whole tree.
NUMBERS = st.sampled_from([0, 1, 31, 32, 1023, 1024, MOST_SECTORS - 1]) | st.integers(0, MOST_SECTORS - 1)
CONTENTS = st.none() | st.integers(0, 3).map(lambda value: bytes((value,)) * SECTOR_BYTES)
WRITES = st.lists(st.tuples(NUMBERS, CONTENTS), max_size=40)


def _written(writes: list[tuple[int, bytes | None]]) -> Overlay:
    overlay = Overlay()
    for number, content in writes:
        overlay = overlay.minus(number) if content is None else overlay.plus(number, content)
    return overlay


@given(WRITES)
def test_it_is_the_map_of_what_was_written_last(writes: list[tuple[int, bytes | None]]) -> None:
    overlay, model = Overlay(), dict[int, bytes]()
    versions = [(overlay, dict(model))]
    for number, content in writes:
        if content is None:
            overlay, _ = overlay.minus(number), model.pop(number, None)
        else:
            overlay = overlay.plus(number, content)
            model[number] = content
        versions.append((overlay, dict(model)))
    for version, expected in versions:
        assert version.sectors == len(expected)
        for number in {*model, *expected, 5}:
            assert version.sector(number) == expected.get(number)


@given(WRITES, WRITES)
def test_two_are_equal_exactly_if_they_hold_the_same(
    one: list[tuple[int, bytes | None]], other: list[tuple[int, bytes | None]]
) -> None:
    models = [{number: content for number, content in writes if content is not None} for writes in (one, other)]
    for writes, model in zip((one, other), models, strict=True):
        for number, content in writes:  # the last word on each sector
            if content is None:
                model.pop(number, None)
            else:
                model[number] = content
    ours, theirs = (
        _written([*((n, c) for n, c in writes if c is None), *reversed(model.items())])
        for writes, model in zip((one, other), models, strict=True)
    )
    assert (ours == theirs) == (models[0] == models[1])
    assert (repr(ours) == repr(theirs)) == (models[0] == models[1])
    if ours == theirs:
        assert hash(ours) == hash(theirs)


def test_what_was_written_and_taken_back_leaves_nothing() -> None:
    sector = bytes(SECTOR_BYTES)
    assert Overlay().plus(7, sector).plus(9, sector).minus(7).minus(9) == Overlay()
    assert Overlay().plus(7, sector) != Overlay().plus(8, sector)


def test_a_write_copies_a_path_and_shares_the_rest() -> None:
    sector = bytes(SECTOR_BYTES)
    overlay = Overlay()
    for number in range(200):
        overlay = overlay.plus(number, sector)
    later = overlay.plus(0, b"\xff" * SECTOR_BYTES)
    assert later.sector(199) is overlay.sector(199)
    assert len(repr(overlay)) < 200, "a state's text holds no sectors"


def test_every_disk_that_can_be_loaded_fits() -> None:
    assert MAX_DISK_MIB << 20 <= MOST_SECTORS * SECTOR_BYTES
