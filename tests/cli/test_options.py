"""What `--files` grants."""

from pathlib import Path

import click
import pytest

from cabinos.cli.options import capabilities


@pytest.mark.parametrize(
    ("suffix", "mode", "private"),
    [("", "r", False), (":r", "r", False), (":rw", "rw", False), (":private", "r", True),
     (":r:private", "r", True), (":rw:private", "rw", True)],
)  # fmt: skip
def test_modes_and_private_folders(tmp_path: Path, suffix: str, mode: str, private: bool) -> None:
    options = {"files": [f"{tmp_path}{suffix}"], "tools": None, "web": (), "shell": False}
    (grant,) = capabilities(options).files
    assert (grant.root, grant.mode, grant.private) == (tmp_path, mode, private)


def test_a_file_may_be_called_so(tmp_path: Path) -> None:
    (tmp_path / "a:private").write_text("x")
    options = {"tools": None, "web": (), "shell": False}
    (grant,) = capabilities({**options, "files": [f"{tmp_path}/a:private"]}).files
    assert (grant.root.name, grant.private) == ("a:private", False)
    (grant,) = capabilities({**options, "files": [f"{tmp_path}/a:private:private"]}).files
    assert (grant.root.name, grant.private) == ("a:private", True)
    with pytest.raises(click.UsageError, match="nothing:private"):
        capabilities({**options, "files": [f"{tmp_path}/nothing:private:rw"]})
