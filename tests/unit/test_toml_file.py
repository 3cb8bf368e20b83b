"""Files in TOML that cannot be read, and what is said of each."""

import pytest

from chatload.errors import FileError
from chatload.protocol.toml_file import MOST_BYTES, read_toml


def refusal(path):
    with pytest.raises(FileError) as told:
        read_toml(path)
    assert "\n" not in str(told.value)
    return str(told.value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff\xfe", "not valid TOML ('utf-8' codec can't decode byte 0xff"),
        (b"a = ", "not valid TOML (Invalid value"),
        (b"a = " + b"1" * 5000, "not valid TOML ("),
        (b"a = " + b"[" * 100_000, "not valid TOML (nested too deep)"),
        (b"x" * (MOST_BYTES + 1), f"larger than {MOST_BYTES // 2**20} MiB"),
    ],
)
def test_what_is_no_toml(tmp_path, data, said):
    file = tmp_path / "f.toml"
    file.write_bytes(data)
    assert said in refusal(file)


def test_a_file_that_is_not_there(tmp_path):
    assert "cannot be read (No such file or directory)" in refusal(tmp_path / "none.toml")


def test_the_largest_file_is_read(tmp_path):
    file = tmp_path / "f.toml"
    file.write_bytes(b"a = 1\n" + b"#" * (MOST_BYTES - 6))
    assert read_toml(file) == {"a": 1}
