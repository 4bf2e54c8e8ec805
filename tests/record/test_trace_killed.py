"""A trace survives kill -9 at ten moments: what is in the file is the beginning of the whole one, and can be read."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ringviz.record.trace_reader import TraceReader

COMMAND = (sys.executable, "-m", "ringviz", "trace", "syscall-roundtrip", "-t", "trap-emulate", "--format", "trace")
MOMENTS = 10


@pytest.mark.soak
@pytest.mark.skipif(os.name == "nt", reason="kill -9")
def test_a_process_killed_while_it_traces_leaves_whole_lines_but_for_the_last(tmp_path: Path) -> None:
    whole = tmp_path / "whole.rvtrace"
    subprocess.run([*COMMAND, "-o", str(whole)], check=True)
    lines = whole.read_bytes().splitlines(keepends=True)
    sizes = random.Random(5)
    for number in range(MOMENTS):
        part = tmp_path / f"{number}.rvtrace"
        wanted = sizes.randint(1, whole.stat().st_size * 9 // 10)
        process = subprocess.Popen([*COMMAND, "-o", str(part)])
        while process.poll() is None and (not part.exists() or part.stat().st_size < wanted):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = [line for line in part.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        assert kept == lines[: len(kept)]
        assert part.stat().st_size >= wanted
        with TraceReader(part) as reader:
            assert len(list(reader.events())) == len(kept) - 1  # the first line is the heading
