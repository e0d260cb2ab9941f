"""Fleet: workers, what they hold, and what waits for them."""

from __future__ import annotations

from generate.house import COUNT, PERCENT, SECONDS, TEXT, Json, bars, dashboard as make, series, stat, table

NAME = "fleet"

NOW = """
    SELECT count(*) AS workers, count(DISTINCT (worker, device)) AS devices, count(*) FILTER (WHERE leases > 0) AS working,
        (SELECT count(*) FROM reporting.lease) AS leases,
        (SELECT count(*) FROM reporting.sweep WHERE paused_at IS NOT NULL AND cancelled_at IS NULL) AS "paused sweeps"
    FROM reporting.worker
    WHERE last_seen_at > now() - interval '2 minutes'
"""
AGES = """
    SELECT max(heartbeat_age_seconds) AS "oldest heartbeat", max(progress_age_seconds) AS "longest without progress"
    FROM reporting.lease
"""
QUEUE = """
    SELECT device_kind || ', ' || state AS "device, state", sum(jobs)::bigint AS jobs
    FROM reporting.queue
    GROUP BY device_kind, state ORDER BY device_kind, state
"""
QUEUES = """
    SELECT owner, device_kind AS "device", labels::text AS labels, state, jobs, oldest_age_seconds AS "oldest"
    FROM reporting.queue
    ORDER BY oldest_at LIMIT 100
"""
ATTEMPTS = """
    SELECT $__timeGroup(started_at,'$__interval') AS "time", coalesce(outcome, 'running') AS metric, count(*) AS value
    FROM reporting.attempt
    WHERE $__timeFilter(started_at)
    GROUP BY 1, 2 ORDER BY 1
"""
# Asked of each attempt by itself, by the key of the one before it: as a join it might read all attempts ever made.
RESCUES = """
    SELECT $__timeGroup(started_at,'$__interval') AS "time", worker AS metric, count(*) AS value
    FROM reporting.attempt AS rescue
    WHERE $__timeFilter(started_at) AND (
        SELECT outcome FROM reporting.attempt AS before
        WHERE before.job_id = rescue.job_id AND before.attempt = rescue.attempt - 1
    ) = 'lost'
    GROUP BY 1, 2 ORDER BY 1
"""
WORKERS = """
    SELECT worker, device, labels::text AS labels, memory_bytes AS memory, free_memory_bytes AS "free memory", leases,
        seen_age_seconds AS "last seen", ends_at AS "ends"
    FROM reporting.worker
    WHERE last_seen_at > now() - interval '1 day'
    ORDER BY last_seen_at DESC LIMIT 200
"""
LEASES = """
    SELECT job_id::text AS job, title, kind, owner, worker, device, attempt, epochs_done::float8 / nullif(epochs, 0) AS done,
        heartbeat_age_seconds AS heartbeat, progress_age_seconds AS progress
    FROM reporting.lease
    ORDER BY heartbeat_age_seconds DESC LIMIT 200
"""
PAUSED = """
    SELECT sweep, owner, paused_at AS since, pause_reason AS reason
    FROM reporting.sweep
    WHERE paused_at IS NOT NULL AND cancelled_at IS NULL ORDER BY paused_at DESC LIMIT 100
"""
BYTES, WHEN = "bytes", "dateTimeFromNow"


def dashboard() -> Json:
    """The dashboard."""
    panels = [
        stat("Now", NOW, (14, 4), unit=COUNT, description="Workers heard of in the last two minutes, and what they hold."),
        stat(
            "Ages",
            AGES,
            (10, 4),
            unit=SECONDS,
            noValue="no lease",
            description="Of the leases that are held: since the last heartbeat, and since the last epoch or checkpoint.",
        ),
        bars(
            "Queue",
            QUEUE,
            (8, 9),
            "device, state",
            unit=COUNT,
            noValue="empty",
            description="Jobs by the kind of device that they want: ready for a worker, and held by one.",
        ),
        table(
            "Queues",
            QUEUES,
            (16, 9),
            unit=COUNT,
            units={"oldest": SECONDS, "owner": TEXT, "device": TEXT, "labels": TEXT, "state": TEXT},
            noValue="empty",
            description="By what jobs ask of workers, the oldest first: since a job was asked for, or the first lease given.",
        ),
        series(
            "Attempts by outcome",
            ATTEMPTS,
            (12, 8),
            unit=COUNT,
            min=0,
            interval="1m",
            description="By when they began.",
        ),
        series(
            "Rescues",
            RESCUES,
            (12, 8),
            unit=COUNT,
            min=0,
            interval="1m",
            description="Attempts after a lost one, whose lease ran out with no word from its worker: by the worker that took "
            "the job up, and by when. A job that has lost three workers is not tried again.",
        ),
        table(
            "Workers",
            WORKERS,
            (24, 9),
            unit=COUNT,
            units={"memory": BYTES, "free memory": BYTES, "last seen": SECONDS, "ends": WHEN, "worker": TEXT},
            description="Starts of workers heard of in the last day.",
        ),
        table(
            "Leases",
            LEASES,
            (24, 9),
            unit=COUNT,
            units={"heartbeat": SECONDS, "progress": SECONDS, "done": PERCENT, "job": TEXT},
            noValue="no lease",
            description="What workers hold, the oldest heartbeat first.",
        ),
        table(
            "Paused sweeps",
            PAUSED,
            (24, 6),
            unit=TEXT,
            units={"since": WHEN},
            noValue="none",
            description="By a person, or because their first jobs all failed the same way: docs/placement.md.",
        ),
    ]
    about = "Workers and their devices, what they hold, and what waits for them."
    return make(NAME, "Temper: fleet", about, panels, [], refresh="10s", since="now-6h")
