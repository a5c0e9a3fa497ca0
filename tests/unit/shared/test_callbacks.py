"""Which URLs and which addresses callbacks may have."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from pydantic import ValidationError

from shared.callbacks import Reach, check_callback
from shared.errors import CallbackRefused
from shared.settings import Settings
from tests.receiver import SECRET


def settings(**fields: object) -> Settings:
    return Settings(_env_file=None, **{"webhook_secret": SECRET, **fields})


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook?token=1%262",
        "https://example.com:8443/hook",
        "https://93.184.216.34/",
        "https://[2606:4700::1111]/hook",
    ],
)
def test_public_urls(url: str) -> None:
    check_callback(url, settings())


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https:///hook",
        "example.com/hook",
        "https://user:password@example.com/",
        "https://user@example.com/",
        "https://example.com/#part",
        "https://example.com:22/",
        "https://example.com:99999/",
        "https://exämple.com/",
        "https://example.com/a b",
        "https://example.com\\@127.0.0.1/",
        "https://example.com/\r\nX: 1",
        "https://[::1",
        "https://example.com/" + "x" * 2048,
        # this machine and its network, in all notations that a resolver takes
        "https://localhost/",
        "https://api.localhost/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://0.0.0.0/",
        "https://[::1]/",
        "https://[::]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://[fe80::1]/",
        "https://[fd00:ec2::254]/",
        "https://10.0.0.1/",
        "https://172.16.0.1/",
        "https://192.168.1.1/",
        "https://100.64.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://168.63.129.16/",
        "https://224.0.0.1/",
        "https://[ff02::1]/",
        "https://255.255.255.255/",
    ],
)
def test_all_else_is_refused(url: str) -> None:
    with pytest.raises(CallbackRefused):
        check_callback(url, settings())


def test_without_a_secret_there_are_none() -> None:
    with pytest.raises(CallbackRefused, match="SCRATCH_WEBHOOK_SECRET"):
        check_callback("https://example.com/", settings(webhook_secret=""))


def test_networks_of_ones_own_also_by_plain_http() -> None:
    own = settings(webhook_networks="10.20.0.0/16, 127.0.0.1/32, ::1/128")
    check_callback("http://[::1]:9000/hook", own)
    check_callback("http://10.20.1.1:9000/hook", own)
    check_callback("https://10.20.1.1/hook", own)
    check_callback("http://localhost:9000/hook", own)
    check_callback("http://receiver.internal/hook", own)  # where it leads is seen on connecting
    for url in ("https://10.21.0.1/", "http://93.184.216.34/", "https://127.0.0.2/"):
        with pytest.raises(CallbackRefused):
            check_callback(url, own)


def test_plain_http_reaches_no_public_address() -> None:
    reach = Reach((ip_network("10.0.0.0/8"),))
    assert reach.allows(ip_address("10.1.1.1"), encrypted=False)
    assert reach.allows(ip_address("::ffff:10.1.1.1"), encrypted=False)
    assert reach.allows(ip_address("93.184.216.34"))
    assert not reach.allows(ip_address("93.184.216.34"), encrypted=False)


@pytest.mark.parametrize("secret", ["short", "whsec_c2hvcnQ=", "whsec_" + "A" * 100, "whsec_ä"])
def test_a_secret_that_others_could_not_use(secret: str) -> None:
    with pytest.raises(ValidationError, match="24 to 64 bytes"):
        settings(webhook_secret=f"{SECRET},{secret}")


def test_secrets_are_listed_and_networks_read() -> None:
    found = settings(webhook_secret=f"{SECRET}, {SECRET}", webhook_networks="10.0.0.0/8")
    assert found.webhook_secrets == [SECRET, SECRET]
    assert found.webhook_networks == (ip_network("10.0.0.0/8"),)
    with pytest.raises(ValidationError):
        settings(webhook_networks="everywhere")
