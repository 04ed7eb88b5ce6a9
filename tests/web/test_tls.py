"""Certificate and key of the pages: refused before an address is told, or in force, cookies included."""

from __future__ import annotations

import re
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml
from station_rig import Rig
from web_process import PASSWORD, add_people

from inspection.config import load_station
from inspection.doctor import _certificate
from inspection.errors import ConfigError
from inspection.store.sql import SqlStore
from inspection.tls import read_tls


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with certificate, key, both in one file, another key, one with a password, and nonsense."""
    folder = tmp_path_factory.mktemp("pem")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    asked = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    openssl(*asked, *names, "-days", "400", "-keyout", "key.pem", "-out", "certificate.pem")
    openssl(*asked, *names, "-days", "10", "-keyout", "other.pem", "-out", "short.pem")
    openssl("rsa", "-aes256", "-passout", "pass:secret", "-in", "key.pem", "-out", "locked.pem")
    both = (folder / "certificate.pem").read_text() + (folder / "key.pem").read_text()
    (folder / "both.pem").write_text(both)
    (folder / "nonsense.pem").write_text("no certificate")
    return folder


WRONG = [
    (None, "key.pem", ["web.key", "web.certificate is not set"]),
    ("gone.pem", "key.pem", ["web.certificate", "gone.pem", "No such file"]),
    ("certificate.pem", "gone.pem", ["web.key", "gone.pem", "No such file"]),
    ("certificate.pem", None, ["web.certificate", "set web.key"]),
    ("certificate.pem", "other.pem", ["web.certificate", "web.key", "its own key"]),
    ("certificate.pem", "locked.pem", ["web.certificate", "password"]),
    ("nonsense.pem", "key.pem", ["web.certificate", "PEM"]),
]


@pytest.mark.parametrize(("certificate", "key", "words"), WRONG)
def test_what_cannot_be_used_is_named(
    pem: Path, certificate: str | None, key: str | None, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_tls(certificate and pem / certificate, key and pem / key)
    for word in words:
        assert word in str(caught.value)


def test_what_can_be_used(pem: Path) -> None:
    assert read_tls(None, None) is None
    for certificate, key in (("certificate.pem", "key.pem"), ("both.pem", None)):
        tls = read_tls(pem / certificate, key and pem / key)
        assert tls is not None
        assert tls.warning == ""
    short = read_tls(pem / "short.pem", pem / "other.pem")
    assert short is not None
    assert "short.pem ends on 2" in short.warning


class Pages:
    """A station with people, whose pages are asked for with a certificate and a key."""

    def __init__(self, folder: Path, **web: str) -> None:
        rig = Rig(folder)
        rig.station["web"] = {"port": 0, **web}
        (folder / "station.yaml").write_text(yaml.safe_dump(rig.station))
        self.config = load_station(folder / "station.yaml")
        SqlStore(self.config.store).close()
        add_people(self.config.store)
        with (folder / "web.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "inspection", "web", str(folder / "station.yaml")],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()

    def stop(self) -> int:
        self.process.terminate()
        code = self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


def test_with_one_file_for_both_the_pages_and_cookies_are_secure(pem: Path, tmp_path: Path) -> None:
    pages = Pages(tmp_path, certificate=str(pem / "both.pem"))
    try:
        address = re.search(r"pages at (https://127.0.0.1:\d+)/", pages.line)
        assert address, (tmp_path / "web.log").read_text()
        trusted = ssl.create_default_context(cafile=str(pem / "certificate.pem"))
        with httpx.Client(base_url=address[1], verify=trusted, timeout=60) as client:
            answer = client.post("/sign-in", data={"name": "viewer", "password": PASSWORD})
            assert answer.status_code == 303
            assert all("Secure" in told for told in answer.headers.get_list("set-cookie"))
            assert answer.headers.get_list("set-cookie")
    finally:
        pages.stop()
    assert ", until 2" in _certificate(pages.config).found


def test_a_key_alone_is_refused_before_an_address_is_told(pem: Path, tmp_path: Path) -> None:
    pages = Pages(tmp_path, key=str(pem / "key.pem"))
    assert pages.line == ""
    assert pages.process.wait(20) == 72
    log = (tmp_path / "web.log").read_text()
    assert "web.certificate is not set" in log
    assert "Traceback" not in log
    pages.stop()
