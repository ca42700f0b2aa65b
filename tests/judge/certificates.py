"""Certificates for tests of TLS, made by openssl: an authority, and PEM files with a key and what it has signed."""

import subprocess
from pathlib import Path


class Authority:
    """A certificate authority in a directory; `trust` is what others believe."""

    def __init__(self, directory: Path, name: str = "test-authority") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._key = directory / f"{name}.key"
        self.trust = directory / f"{name}.pem"
        self._make_key(self._key)
        subject = ["-subj", f"/CN={name}", "-days", "2"]
        self._run("req", "-x509", "-new", "-key", str(self._key), "-out", str(self.trust), *subject)

    def sign(self, name: str, *, host: str = "127.0.0.1") -> Path:
        """A file with a key and its certificate, for the subject `name` at the address `host`."""
        key, request, signed = (self._directory / f"{name}.{suffix}" for suffix in ("key", "csr", "crt"))
        extensions = self._directory / f"{name}.ext"
        self._make_key(key)
        self._run("req", "-new", "-key", str(key), "-out", str(request), "-subj", f"/CN={name}")
        extensions.write_text(f"subjectAltName=IP:{host}\nextendedKeyUsage=serverAuth,clientAuth\n")
        authority = ["-CA", str(self.trust), "-CAkey", str(self._key), "-CAcreateserial", "-days", "2"]
        self._run("x509", "-req", "-in", str(request), "-out", str(signed), "-extfile", str(extensions), *authority)
        both = self._directory / f"{name}.pem"
        both.write_text(key.read_text() + signed.read_text())
        return both

    def _make_key(self, path: Path) -> None:
        self._run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(path))

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
