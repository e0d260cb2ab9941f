"""Training: epochs as they are reported."""

from __future__ import annotations

from generate.house import (
    CHOSEN,
    COUNT,
    LEVELS,
    PERCENT,
    TEXT,
    Json,
    band,
    dashboard as make,
    override,
    row,
    series,
    table,
    told,
    trend,
    variables,
)

NAME = "training"

LOSS_LIVE = f"""
    SELECT $__timeGroup(reported_at,'$__interval') AS "time", schedule AS metric, avg(train_loss) AS value
    FROM reporting.epoch
    WHERE {CHOSEN}
        AND $__timeFilter(reported_at)
    GROUP BY 1, 2 ORDER BY 1
"""
LOADING_LIVE = f"""
    SELECT $__timeGroup(reported_at,'$__interval') AS "time", dataset AS metric, avg(loading_share) AS value
    FROM reporting.epoch
    WHERE {CHOSEN}
        AND $__timeFilter(reported_at)
    GROUP BY 1, 2 ORDER BY 1
"""
ONSETS = f"""
    SELECT model, dataset, schedule, target, count(DISTINCT cell) AS trainings,
        count(*) FILTER (WHERE onset) AS adapted, avg(epoch) FILTER (WHERE onset) AS "mean onset",
        max(epoch) FILTER (WHERE onset) AS "latest onset", max(validation_accuracy) AS "best clean accuracy"
    FROM reporting.epoch
    WHERE {CHOSEN}
    GROUP BY model, dataset, schedule, target, target_epsilon
    ORDER BY model, dataset, target_epsilon, schedule
"""
# How many trainings there are to be, of which those that have reported an epoch are averaged.
EXPECTED = f"""(
            SELECT count(*) FROM reporting.cell
            WHERE {CHOSEN.replace(chr(10), chr(10) + "            ")}
        )"""
ACCURACY = f"""
    SELECT epoch, avg(validation_accuracy) AS clean, avg(validation_robust_accuracy) AS robust,
        min(validation_accuracy) AS "clean, least", max(validation_accuracy) AS "clean, most",
        avg(validation_accuracy) FILTER (WHERE onset) AS onset, count(*) FILTER (WHERE onset) AS onsets,
        count(*) AS trainings, {EXPECTED} AS expected
    FROM reporting.epoch
    WHERE {CHOSEN}
    GROUP BY epoch ORDER BY epoch
"""
EPSILON = f"""
    SELECT epoch, 255 * avg(epsilon) AS epsilon, 255 * min(epsilon) AS least, 255 * max(epsilon) AS most,
        count(*) AS trainings, {EXPECTED} AS expected
    FROM reporting.epoch
    WHERE {CHOSEN}
    GROUP BY epoch ORDER BY epoch
"""
LOSS = f"""
    SELECT epoch, avg(train_loss) AS loss, min(train_loss) AS least, max(train_loss) AS most,
        count(*) AS trainings, {EXPECTED} AS expected
    FROM reporting.epoch
    WHERE {CHOSEN}
    GROUP BY epoch ORDER BY epoch
"""

CLEAN, ROBUST = "#0072B2", "#D55E00"


def dashboard() -> Json:
    """The dashboard."""
    panels = [
        series(
            "Loss, live",
            LOSS_LIVE,
            (12, 8),
            unit=COUNT,
            min=0,
            interval="10s",
            description="Mean cross-entropy of the epochs reported, as trained on: under attack where there is one.",
        ),
        series(
            "Time spent waiting for images, live",
            LOADING_LIVE,
            (12, 8),
            unit=PERCENT,
            min=0,
            interval="10s",
            description="Share of the training time.",
        ),
        table(
            "Onset of adaptation",
            ONSETS,
            (24, 8),
            unit=COUNT,
            units={"best clean accuracy": PERCENT, "model": TEXT, "dataset": TEXT, "schedule": TEXT, "target": TEXT},
            overrides=[override(name, decimals=1) for name in ("mean onset", "latest onset")],
            description="The first epoch, from 0, with a validation accuracy above 5 %. Fewer adapted than trainings: some have "
            "not, or not yet.",
        ),
        row("$schedule", repeat="schedule"),
        trend(
            "Validation accuracy: $schedule",
            ACCURACY,
            (12, 10),
            "epoch",
            unit=PERCENT,
            min=0,
            max=1,
            units={"epoch": COUNT},
            overrides=accuracy(),
            description="Mean over the trainings chosen that have reported the epoch, of how many "
            "expected where the pointer is; of clean accuracy the range around it. Points mark epochs in which the adaptation "
            "to some task set in, at the accuracy that it set in with.",
        ),
        trend(
            "Epsilon: $schedule",
            EPSILON,
            (6, 10),
            "epoch",
            unit=LEVELS,
            min=0,
            units={"epoch": COUNT},
            overrides=band("epsilon", "least", "most", ROBUST) + told("trainings", "expected"),
            description="Strength of the attack at the epoch's last step, mean and range over the trainings that "
            "have reported it.",
        ),
        trend(
            "Loss: $schedule",
            LOSS,
            (6, 10),
            "epoch",
            unit=COUNT,
            min=0,
            overrides=band("loss", "least", "most", CLEAN) + told("trainings", "expected"),
            description="Mean cross-entropy over the epoch's samples as trained on, mean and range over the trainings that "
            "have reported it.",
        ),
    ]
    about = "Accuracy, strength and loss of trainings, epoch by epoch, while they run."
    return make(NAME, "Temper: training", about, panels, variables(), refresh="10s", since="now-6h")


def accuracy() -> list:
    """Colours, the range, and the marks."""
    mark = {"custom__drawStyle": "points", "custom__pointSize": 9, "custom__showPoints": "always"}
    return (
        band("clean", "clean, least", "clean, most", CLEAN)
        + [override("robust", color={"mode": "fixed", "fixedColor": ROBUST})]
        + [override("onset", color={"mode": "fixed", "fixedColor": "#CC79A7"}, **mark)]
        + told("onsets", "trainings", "expected")
    )
