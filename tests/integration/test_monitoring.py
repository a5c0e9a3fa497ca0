"""What a running stack tells: metrics that dashboards and alerts ask for, traces, Flower's page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import promql_parser as promql
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from cli.stack import free_port
from tests.integration.collector import Collector, collecting
from tests.integration.service import PATIENCE_S, ROOT, Service, running, wait_until
from tests.photos import jpeg

#: metric name -> label names
Series = dict[str, set[str]]
#: what Prometheus itself adds
_OF_PROMETHEUS = {"job", "instance"}


@dataclass(frozen=True)
class Watched:
    stack: Service
    collector: Collector
    metrics_url: str

    def of_worker(self) -> str:
        return httpx.get(self.metrics_url, timeout=PATIENCE_S).text

    def series(self) -> Series:
        """What a scrape of the api and of the worker finds."""
        found: Series = {"up": set()}
        for text in (self.stack.http.get("/metrics").text, self.of_worker()):
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    found.setdefault(sample.name, set()).update(sample.labels)
        return found


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    port = free_port()
    with collecting() as collector:
        environment = {
            "SCRATCH_METRICS_PORT": str(port),
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        with running(tmp_path_factory.mktemp("watched"), environment) as stack:
            yield Watched(stack, collector, f"http://127.0.0.1:{port}/metrics")


def queries() -> list[str]:
    rules = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())
    (dashboard,) = (ROOT / "deploy/grafana/dashboards").glob("*.json")
    panels = json.loads(dashboard.read_text())["panels"]
    found = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    found += [target["expr"] for panel in panels for target in panel["targets"]]
    return [expr.replace("$__rate_interval", "1m") for expr in found]


def asked_for(query: str) -> tuple[set[str], set[str]]:
    """The names of metrics and of labels in a query. Raises ValueError on a broken one."""
    metrics, labels = set(), set()

    def visit(node: promql.Expr) -> bool:
        if isinstance(node, promql.VectorSelector):
            metrics.add(node.name or "")
            labels.update(matcher.name for matcher in node.matchers.matchers)
        elif isinstance(node, promql.AggregateExpr) and node.modifier:
            labels.update(node.modifier.labels)
        return True

    promql.walk(promql.parse(query), visit)
    return metrics, labels


def test_every_query_of_dashboard_and_alerts_names_what_a_running_stack_tells(
    watched: Watched,
) -> None:
    assert watched.stack.upload(jpeg()).status_code == 200
    watched.stack.upload(b"no image")
    watched.stack.upload(jpeg()[:-300])  # found broken by the worker
    counted = {f"scratch_worker_{what}_total" for what in ("failures", "predictions", "verdicts")}
    wait_until(lambda: counted <= watched.series().keys())  # each after its answer
    series = watched.series()

    assert len(queries()) > 30
    for query in queries():
        metrics, labels = asked_for(query)
        assert metrics <= series.keys(), query
        known = set().union(*(series[name] for name in metrics)) | _OF_PROMETHEUS
        assert labels <= known, query


def test_metrics_count_what_was_answered(watched: Watched) -> None:
    def predictions() -> float:
        text = watched.of_worker()
        found = re.findall(r"^scratch_worker_predictions_total\{.*\} (\S+)$", text, re.MULTILINE)
        return sum(map(float, found))

    before = predictions()
    for seed in range(5):
        assert watched.stack.upload(jpeg(seed)).status_code == 200

    wait_until(lambda: predictions() == before + 5)


def test_one_trace_leads_from_the_request_through_the_queue_to_the_forward_pass(
    watched: Watched,
) -> None:
    task_id = watched.stack.upload(jpeg(8)).headers["x-task-id"]
    collector = watched.collector

    def of_task(name: str) -> list[Any]:
        return [
            span
            for span in collector.named(name)
            if span.attributes["messaging.message.id"] == task_id
        ]

    wait_until(lambda: bool(of_task("process inspect") and of_task("send inspect")))
    (process,) = of_task("process inspect")
    (send,) = of_task("send inspect")
    wait_until(lambda: any(span.id == send.parent_id for span in collector.spans))
    (request,) = [span for span in collector.spans if span.id == send.parent_id]
    stages = {span.name for span in collector.spans if span.parent_id == process.id}

    assert (request.service, request.name) == ("scratch-api", "POST /upload_image")
    assert process.service == "scratch-worker"
    assert process.parent_id == send.id
    assert process.trace_id == send.trace_id == request.trace_id
    assert {"queue", "fetch", "decode", "wait", "forward"} <= stages
    assert process.attributes["scratch.model"].startswith("scratch-lite@")


def test_a_link_of_a_mail_is_in_no_trace(watched: Watched) -> None:
    collector = watched.collector
    watched.stack.http.get("/say/the-token")
    before = len(collector.named("POST /upload_image"))
    watched.stack.upload(jpeg(3))
    wait_until(lambda: len(collector.named("POST /upload_image")) > before)  # it came after

    assert not [span for span in collector.spans if "the-token" in str(span)]


def test_flower_shows_id_model_and_outcome_and_never_the_image(watched: Watched) -> None:
    photo = jpeg(9)
    response = watched.stack.upload(photo)
    task_id, pred = response.headers["x-task-id"], response.json()["pred"]
    stack = watched.stack

    def page() -> str:
        shown = stack.flower.get(f"/task/{task_id}")
        return shown.text if shown.is_success and "SUCCESS" in shown.text else ""

    wait_until(lambda: bool(page()))

    assert pred in page()
    assert response.headers["x-model"] in page()
    assert f"{len(photo)} bytes" in page()
    assert "JFIF" not in page()
    assert len(page()) < 20_000
