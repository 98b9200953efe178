"""The duration of a log-in does not reveal whether the account exists."""

import os
import statistics
import time

import bcrypt
import httpx
import psycopg

from tests.support.api import PASSWORD
from tests.support.databases import Template
from tests.support.service_process import start_service

PAIRS = int(os.environ.get("DRILL_TIMING_PAIRS", "50"))


def test_an_unknown_email_takes_as_long_as_a_wrong_password(template: Template) -> None:
    stored = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(12)).decode()
    unknown, wrong = [], []
    with template.copy() as name, start_service(template.service_url(name), LOGIN_FAILURE_LIMIT="0") as service:
        with psycopg.connect(template.owner_url(name), autocommit=True) as owner:
            insert = "insert into users (id, email, password_hash) values (gen_random_uuid(), 'ada@example.com', %s)"
            owner.execute(insert, (stored,))
        with httpx.Client(base_url=service.url, timeout=30) as client:
            for number in range(PAIRS + 1):
                unknown.append(_seconds(client, f"nobody{number}@example.com"))
                wrong.append(_seconds(client, "ada@example.com"))
    # The first pair is not measured: it includes one-time work.
    of_unknown, of_wrong = (statistics.median(seconds[1:]) * 1000 for seconds in (unknown, wrong))
    ratio = of_unknown / of_wrong
    print(
        f"Log-in, median of {PAIRS}: unknown e-mail {of_unknown:.1f} ms, wrong password {of_wrong:.1f} ms, {ratio:.3f}"
    )
    assert 0.8 <= ratio <= 1.25


def _seconds(client: httpx.Client, email: str) -> float:
    began = time.perf_counter()
    response = client.post("/api/auth/login", json={"email": email, "password": "a wrong password"})
    assert response.status_code == 401
    return time.perf_counter() - began
