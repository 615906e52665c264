"""Certificates for the services that speak TLS, good ones and expired ones, by an authority of the run's own.

A service's `Lab` issues them at its start; its faults swap them.
"""

import shutil
from pathlib import Path

from recordings.processes import make_folder, run_tool


class CertificateAuthority:
    """Signs certificates for any time, past ones too. Its own certificate is `ca.pem` in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = make_folder(folder)
        self.certificate = folder / "ca.pem"
        (folder / "index.txt").touch()
        (folder / "ca.cnf").write_text(
            "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\n"
            "policy=p\nunique_subject=no\ncopy_extensions=copy\n[p]\ncommonName=supplied\n"
        )
        self._run(
            "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 3650", "-subj", "/CN=Recordings CA"
        )

    def _run(self, command: str, *more: str) -> None:
        run_tool("openssl", *command.split(), *more, cwd=self.folder)

    def issue(
        self, name: str, host: str = "localhost", expired: bool = False, owner: str | None = None
    ) -> tuple[Path, Path]:
        """A certificate and its key for `host`, valid from 2025 to 2045, or expired since February 2025."""
        end = "20250201000000Z" if expired else "20450101000000Z"
        request = f"req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={host}"
        self._run(f"{request} -addext subjectAltName=DNS:{host},IP:127.0.0.1")
        signing = f"ca -batch -config ca.cnf -cert ca.pem -keyfile ca.key -in {name}.csr -out {name}.pem -notext"
        self._run(f"{signing} -startdate 20250101000000Z -enddate {end}")
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        if owner is not None:
            shutil.chown(key, owner)
        return certificate, key

    def install(self, name: str) -> None:
        """Make the certificate `name` the one that the service reads: `server.pem` and `server.key`."""
        for suffix in ("pem", "key"):
            link = self.folder / f"server.{suffix}"
            link.unlink(missing_ok=True)
            link.symlink_to(f"{name}.{suffix}")
