"""Temporary folders are removed with their objects, and those of killed processes by the next ones."""

import subprocess
import sys

import pytest

from s5forecast.data.temporary_folder import TemporaryFolder

KILLED = """
import os, pathlib, sys
from s5forecast.data.temporary_folder import TemporaryFolder
folder = TemporaryFolder(pathlib.Path(sys.argv[1]))
(folder.path / "rows").write_text("rows")
print(folder.path, flush=True)
os.kill(os.getpid(), 9)
"""


def test_folder_is_removed_with_the_object(tmp_path):
    folder = TemporaryFolder(tmp_path)
    (folder.path / "rows").write_text("rows")
    del folder
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no locks that end with a process")
def test_folders_of_killed_processes_are_removed(tmp_path):
    (tmp_path / "s5forecast-mine").mkdir()  # has no lock
    used = TemporaryFolder(tmp_path)
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path], stdout=subprocess.PIPE, text=True)
    left = tmp_path / killed.stdout.strip()
    assert killed.returncode == -9 and (left / "rows").exists()
    other = TemporaryFolder(tmp_path)
    assert set(tmp_path.iterdir()) == {used.path, other.path, tmp_path / "s5forecast-mine"}
