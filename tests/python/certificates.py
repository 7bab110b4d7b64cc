"""A certificate authority that only clients configured for it trust, for tests of TLS."""

from __future__ import annotations

import ssl
from datetime import datetime
from pathlib import Path

import trustme


class Files:
    """A certificate authority of this test, and the files of a certificate that it issued."""

    def __init__(self, directory: Path, *names: str) -> None:
        directory.mkdir(exist_ok=True)
        self._names = names or ("localhost", "127.0.0.1")
        self.authority = trustme.CA()
        self.ca, self.cert, self.key = (directory / name for name in ("ca.pem", "cert.pem", "key.pem"))
        self.authority.cert_pem.write_to_path(self.ca)
        self.issue()

    def issue(self, not_before: datetime | None = None, not_after: datetime | None = None) -> None:
        """Puts a new certificate into the files."""
        issued = self.authority.issue_cert(*self._names, not_before=not_before, not_after=not_after)
        self.key.touch(0o600)
        self.key.write_bytes(issued.private_key_pem.bytes())
        self.cert.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))

    @property
    def options(self) -> tuple[str, ...]:
        """What a server is given."""
        return ("--tls-cert", str(self.cert), "--tls-key", str(self.key))

    def context(self) -> ssl.SSLContext:
        """Trusts this authority beside those of the system."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context
