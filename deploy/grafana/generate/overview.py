"""Sweep overview: how far it is, what went wrong, what it costs."""

from __future__ import annotations

from generate.house import (
    CHOSEN,
    COUNT,
    HOURS,
    PERCENT,
    SECONDS,
    SWEEP,
    TEXT,
    Json,
    bars,
    dashboard as make,
    override,
    series,
    stat,
    table,
    variables,
)

NAME = "overview"

STATES = f"""
    SELECT queued, leased, succeeded, failed, cancelled FROM reporting.sweep_progress
    WHERE {SWEEP}
"""
STANDING = f"""
    SELECT state, cells_succeeded::float8 / nullif(cells, 0) AS "cells done", eta_seconds AS "time left",
        left_seconds / 3600 AS "device-hours left"
    FROM reporting.sweep_progress
    WHERE {SWEEP}
"""
COMPLETION = f"""
    SELECT model || ' · ' || dataset AS "model · dataset", schedule,
        count(*) FILTER (WHERE state = 'succeeded')::float8 / count(*) AS done
    FROM reporting.job
    WHERE {CHOSEN}
    GROUP BY 1, 2 ORDER BY 1, 2
"""
# A job that cells share is counted once. The macros' patterns end at the first bracket: only a column goes in.
THROUGHPUT = f"""
    SELECT $__timeGroup(finished_at,'$__interval') AS "time", kind AS metric,
        count(DISTINCT job_id) * 3600000.0 / $__interval_ms AS value
    FROM reporting.job
    WHERE {CHOSEN}
        AND state = 'succeeded' AND $__timeFilter(finished_at)
    GROUP BY 1, 2 ORDER BY 1
"""
IMAGES = f"""
    SELECT $__timeGroup(reported_at,'$__interval') AS "time", model AS metric, avg(images_per_second) AS value
    FROM reporting.epoch
    WHERE {CHOSEN}
        AND $__timeFilter(reported_at)
    GROUP BY 1, 2 ORDER BY 1
"""
FAILURES = f"""
    SELECT failure_class AS "class", count(*) AS attempts,
        count(DISTINCT job_id) FILTER (WHERE state = 'failed') AS "jobs given up"
    FROM reporting.failure
    WHERE {SWEEP} AND job_id IN (
        SELECT job_id FROM reporting.job
        WHERE {CHOSEN.replace(chr(10), chr(10) + "        ")}
    )
    GROUP BY failure_class ORDER BY attempts DESC
"""
COST = f"""
    SELECT sum(device_seconds) / 3600 AS "device-hours", sum(wasted_seconds) / 3600 AS "wasted device-hours",
        coalesce(sum(wasted_seconds) / nullif(sum(device_seconds), 0), 0) AS "wasted share"
    FROM (
        SELECT DISTINCT job_id, device_seconds, wasted_seconds FROM reporting.cost
        WHERE {CHOSEN.replace(chr(10), chr(10) + "        ")}
    ) AS job
"""
COST_BY_MODEL = f"""
    SELECT model, sum(device_seconds - wasted_seconds) / 3600 AS "of use", sum(wasted_seconds) / 3600 AS wasted
    FROM (
        SELECT DISTINCT job_id, model, device_seconds, wasted_seconds FROM reporting.cost
        WHERE {CHOSEN.replace(chr(10), chr(10) + "        ")}
    ) AS job
    GROUP BY model ORDER BY model
"""
NEWEST_FAILURES = f"""
    SELECT ended_at AS "when", title AS job, state AS "now", failure_class AS "class", worker, device, message
    FROM reporting.failure
    WHERE {SWEEP}
    ORDER BY ended_at DESC LIMIT 50
"""


def dashboard() -> Json:
    """The dashboard."""
    panels = [
        stat("Jobs", STATES, (12, 4), unit=COUNT, description="Jobs of the whole sweep, by state."),
        stat(
            "Standing",
            STANDING,
            (12, 4),
            unit=PERCENT,
            units={"state": TEXT, "time left": SECONDS, "device-hours left": HOURS},
            noValue="not known yet",
            description="Of the whole sweep. What is left is reckoned from what its jobs of the same kind took so far, the "
            "time with as many workers as it has now.",
        ),
        completion(),
        bars(
            "Failed and lost attempts by class",
            FAILURES,
            (10, 9),
            "class",
            unit=COUNT,
            noValue="none",
            description="Attempts that failed or were lost, most of which are tried again, and jobs that were given up.",
        ),
        series(
            "Throughput",
            THROUGHPUT,
            (12, 8),
            unit="suffix: jobs/h",
            min=0,
            interval="1m",
            description="Jobs that succeeded, in an hour.",
        ),
        series(
            "Images a second and training",
            IMAGES,
            (12, 8),
            unit="suffix: images/s",
            min=0,
            interval="1m",
            description="Mean over the epochs reported, validation not counted.",
        ),
        stat(
            "Cost",
            COST,
            (12, 7),
            unit=HOURS,
            units={"wasted share": PERCENT},
            description="Time for which attempts held a device. Wasted is what went to attempts without an accepted result.",
        ),
        bars(
            "Cost by model",
            COST_BY_MODEL,
            (12, 7),
            "model",
            unit=HOURS,
            stacking="normal",
            description="Device-hours of the jobs chosen.",
        ),
        table(
            "Newest failures",
            NEWEST_FAILURES,
            (24, 8),
            unit=TEXT,
            noValue="none",
            units={"when": "dateTimeAsIso"},
            description="Of the whole sweep; why jobs fail and what to do: docs/failures.md.",
        ),
    ]
    about = "How far a sweep is, what went wrong, and what it costs."
    return make(NAME, "Temper: sweep overview", about, panels, variables())


def completion() -> Json:
    """Models and datasets down, schedules across."""
    matrix = {"columnField": "schedule", "rowField": "model · dataset", "valueField": "done", "emptyValue": "null"}
    return table(
        "Completion",
        COMPLETION,
        (14, 9),
        unit=PERCENT,
        min=0,
        max=1,
        color={"mode": "continuous-BlPu"},
        custom={"cellOptions": {"type": "color-background", "mode": "basic"}, "align": "center"},
        overrides=[override("model · dataset\\schedule", custom__cellOptions={"type": "auto"}, custom__align="left")],
        transformations=[{"id": "groupingToMatrix", "options": matrix}],
        description="Share of the jobs that have succeeded, trainings and evaluations.",
    )
