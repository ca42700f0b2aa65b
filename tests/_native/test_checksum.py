"""The checksum is the package's, reached without the package's own import."""

import subprocess
import sys

from kstore._native.checksum import crc32c
from tests.oracle.record_batch import crc32c as slow_crc32c


def test_it_is_crc32c() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    for data in (b"", b"x", bytes(range(256)) * 5):
        assert crc32c(data) == slow_crc32c(data)
    assert crc32c(b"6789", crc32c(b"12345")) == 0xE3069283


def test_loading_it_does_not_import_the_package() -> None:
    code = "import sys, kstore._native.checksum; sys.exit('crc32c._cli' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
