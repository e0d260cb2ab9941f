"""Alert rules. docs/grafana.md says what to do about each, by its name.

Provisioning replaces `$name` by the environment's value in these files, so that neither macros nor `$labels` are used.
"""

from __future__ import annotations

from typing import Any, List

from generate.house import DATASOURCE, Json, sql

NO_PROGRESS = """
    SELECT worker, device, max(progress_age_seconds) / 60 AS minutes
    FROM reporting.lease
    GROUP BY worker, device
"""
# What was preempted, given back or cancelled says nothing for or against the jobs.
FAILURE_RATE = """
    SELECT device_kind, count(*) FILTER (WHERE outcome <> 'succeeded')::float8 / count(*) AS share
    FROM reporting.attempt
    WHERE started_at > now() - interval '6 hours' AND outcome IN ('succeeded', 'failed', 'lost')
        AND failure_class IS DISTINCT FROM 'preempted'
    GROUP BY device_kind HAVING count(*) >= 8
"""
QUEUE_STALLED = """
    SELECT queue.device_kind, max(queue.oldest_age_seconds) / 60 AS minutes
    FROM reporting.queue
    WHERE queue.state = 'ready' AND NOT EXISTS (
        SELECT FROM reporting.lease WHERE queue.device_kind IN ('any', lease.device_kind)
    )
    GROUP BY queue.device_kind
"""


def rules() -> Json:
    """The file that Grafana provisions."""
    group = {
        "orgId": 1,
        "name": "temper",
        "folder": "Temper",
        "interval": "1m",
        "rules": [
            rule(
                "no-progress",
                "No progress",
                NO_PROGRESS,
                above=60,
                pending="5m",
                summary="{{ .Labels.worker }} ({{ .Labels.device }}) has reported no epoch and no checkpoint for an hour.",
            ),
            rule(
                "failure-rate",
                "Failure rate",
                FAILURE_RATE,
                above=0.25,
                pending="5m",
                summary="More than a quarter of the attempts of the last 6 hours on {{ .Labels.device_kind }} failed or were lost.",
            ),
            rule(
                "queue-stalled",
                "Queue stalled",
                QUEUE_STALLED,
                above=15,
                pending="15m",
                summary="Jobs for {{ .Labels.device_kind }} devices are ready, and no worker holds one.",
            ),
        ],
    }
    return {"apiVersion": 1, "groups": [group]}


def rule(name: str, title: str, text: str, above: float, pending: str, summary: str) -> Json:
    """A rule that fires for each row whose number stays above a limit. No row, no alert."""
    runbook = f"docs/grafana.md, alert {title}"
    return {
        "uid": f"temper-{name}",
        "title": title,
        "condition": "B",
        "data": queries(text, above),
        "for": pending,
        "noDataState": "OK",
        "execErrState": "Error",
        "annotations": {"summary": summary, "runbook": runbook},
        "labels": {"service": "temper"},
        "isPaused": False,
    }


def queries(text: str, above: float) -> List[Any]:
    """The statement, and the limit."""
    query = {
        "refId": "A",
        "datasource": DATASOURCE,
        "editorMode": "code",
        "rawQuery": True,
        "format": "table",
        "rawSql": sql(text),
    }
    limit = {
        "refId": "B",
        "type": "threshold",
        "datasource": {"type": "__expr__", "uid": "__expr__"},
        "expression": "A",
        "conditions": [{"evaluator": {"type": "gt", "params": [above]}}],
    }
    span = {"from": 600, "to": 0}
    return [
        {"refId": "A", "datasourceUid": DATASOURCE["uid"], "relativeTimeRange": span, "model": query},
        {"refId": "B", "datasourceUid": "__expr__", "relativeTimeRange": span, "model": limit},
    ]
