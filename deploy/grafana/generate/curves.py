"""Curves: accuracy against epsilon, and expected robustness, beside what was published."""

from __future__ import annotations

from generate.house import (
    CELLS,
    COUNT,
    LEVELS,
    PERCENT,
    SWEEP,
    TEXT,
    Json,
    band,
    bars,
    dashboard as make,
    override,
    row,
    table,
    told,
    trend,
    variable,
    variables,
)

NAME = "curves"

MEASURED = CELLS + "\n    AND evaluation::text = ${evaluation:sqlstring}"
DEEPER = MEASURED.replace("\n", "\n    ")
PUBLISHED = (
    "target IN (${epsilon:sqlstring}) AND model IN (${model:sqlstring})\n"
    "        AND dataset IN (${dataset:sqlstring})"
)

# Curves are of what is measured; how many evaluations there are to be is read from a view that has them all.
BESIDE = f"""
    WITH wanted AS (
        SELECT schedule, count(*) AS expected FROM reporting.robustness
        WHERE {DEEPER}
            AND schedule IN ('fixed', 'two-hinge')
        GROUP BY schedule
    ), by_seed AS (
        SELECT epsilon, schedule, seed, avg(accuracy) AS accuracy, count(*) AS curves FROM reporting.curve
        WHERE {DEEPER}
            AND schedule IN ('fixed', 'two-hinge')
        GROUP BY epsilon, schedule, seed
    ), ours AS (
        SELECT epsilon, schedule, avg(accuracy) AS mean, coalesce(stddev_samp(accuracy), 0) AS deviation,
            sum(curves) AS n
        FROM by_seed GROUP BY epsilon, schedule
    ), published AS (
        SELECT 0::float8 AS epsilon, schedule, avg(clean_accuracy) AS mean FROM reporting.published
        WHERE {PUBLISHED}
        GROUP BY schedule
        UNION ALL
        SELECT target_epsilon, schedule, avg(robust_accuracy) FROM reporting.published
        WHERE {PUBLISHED}
        GROUP BY target_epsilon, schedule
    )
    SELECT round((255 * epsilon)::numeric, 3)::float8 AS epsilon,
        max(ours.mean) FILTER (WHERE ours.schedule = 'fixed') AS fixed,
        max(greatest(0, ours.mean - deviation)) FILTER (WHERE ours.schedule = 'fixed') AS "fixed, low",
        max(least(1, ours.mean + deviation)) FILTER (WHERE ours.schedule = 'fixed') AS "fixed, high",
        max(ours.mean) FILTER (WHERE ours.schedule = 'two-hinge') AS "two-hinge",
        max(greatest(0, ours.mean - deviation)) FILTER (WHERE ours.schedule = 'two-hinge') AS "two-hinge, low",
        max(least(1, ours.mean + deviation)) FILTER (WHERE ours.schedule = 'two-hinge') AS "two-hinge, high",
        max(published.mean) FILTER (WHERE published.schedule = 'fixed')::float8 AS "fixed, published",
        max(published.mean) FILTER (WHERE published.schedule = 'two-hinge')::float8 AS "two-hinge, published",
        max(ours.n) FILTER (WHERE ours.schedule = 'fixed') AS "fixed, n",
        (SELECT expected FROM wanted WHERE schedule = 'fixed') AS "fixed, expected",
        max(ours.n) FILTER (WHERE ours.schedule = 'two-hinge') AS "two-hinge, n",
        (SELECT expected FROM wanted WHERE schedule = 'two-hinge') AS "two-hinge, expected"
    FROM ours FULL JOIN published USING (epsilon)
    GROUP BY epsilon ORDER BY epsilon
"""


def bars_by(axis: str) -> str:
    """Means of expected robustness by model or dataset, ours and what was published; how many they are over is part
    of the name, because bars have no other place for it."""
    return f"""
    WITH ours AS (
        SELECT {axis}, avg(expected_robustness) FILTER (WHERE schedule = 'fixed') AS fixed,
            avg(expected_robustness) FILTER (WHERE schedule = 'two-hinge') AS "two-hinge",
            count(expected_robustness) FILTER (WHERE schedule = 'fixed') || ' of '
                || count(*) FILTER (WHERE schedule = 'fixed') || ', '
                || count(expected_robustness) FILTER (WHERE schedule = 'two-hinge') || ' of '
                || count(*) FILTER (WHERE schedule = 'two-hinge') AS measured
        FROM reporting.robustness
        WHERE {DEEPER}
        GROUP BY {axis}
    ), published AS (
        SELECT {axis}, avg(expected_robustness) FILTER (WHERE schedule = 'fixed') AS fixed,
            avg(expected_robustness) FILTER (WHERE schedule = 'two-hinge') AS "two-hinge"
        FROM reporting.published
        WHERE {PUBLISHED}
        GROUP BY {axis}
    )
    SELECT {axis} || ' (' || measured || ')' AS {axis}, ours.fixed, ours."two-hinge",
        published.fixed::float8 AS "fixed, published", published."two-hinge"::float8 AS "two-hinge, published"
    FROM ours LEFT JOIN published USING ({axis}) ORDER BY ours.{axis}
"""


MEANS = f"""
    SELECT schedule, count(expected_robustness) AS n, count(*) AS expected, avg(clean_accuracy) AS clean,
        avg(robust_accuracy) AS robust, avg(expected_robustness) AS "expected robustness",
        stddev_samp(expected_robustness) AS "deviation"
    FROM reporting.robustness
    WHERE {MEASURED}
        AND schedule IN (${{schedule:sqlstring}})
    GROUP BY schedule ORDER BY schedule
"""
PAIRED = f"""
    SELECT schedule || ' less ' || base_schedule AS compared, count(expected_difference) AS n, count(*) AS expected,
        avg(clean_difference) AS clean, avg(robust_difference) AS robust,
        avg(expected_difference) AS "expected robustness", count(*) FILTER (WHERE expected_difference > 0) AS wins,
        count(*) FILTER (WHERE expected_difference < 0) AS losses
    FROM reporting.comparison
    WHERE {MEASURED}
        AND base_schedule = 'fixed' AND schedule <> 'standard' AND schedule IN (${{schedule:sqlstring}})
    GROUP BY schedule, base_schedule ORDER BY schedule
"""
# The whole of what was published, whatever is chosen above: these are the paper's own means.
PUBLISHED_MEANS = """
    SELECT target, schedule, count(*) AS n, avg(clean_accuracy) AS clean, avg(robust_accuracy) AS robust,
        avg(expected_robustness) AS "expected robustness", count(*) FILTER (WHERE anomalous) AS anomalous
    FROM reporting.published
    GROUP BY target, target_epsilon, schedule ORDER BY target_epsilon, schedule
"""
ANOMALOUS = """
    SELECT model, dataset, schedule, target, clean_accuracy AS clean, robust_accuracy AS robust,
        expected_robustness AS "expected robustness"
    FROM reporting.published
    WHERE anomalous ORDER BY model, dataset
"""
ONE = f"""
    WITH wanted AS (
        SELECT count(*) AS expected FROM reporting.robustness
        WHERE {DEEPER}
            AND schedule IN (${{schedule:sqlstring}})
    ), by_seed AS (
        SELECT epsilon, seed, avg(accuracy) AS accuracy, count(*) AS curves FROM reporting.curve
        WHERE {DEEPER}
            AND schedule IN (${{schedule:sqlstring}})
        GROUP BY epsilon, seed
    )
    SELECT round((255 * epsilon)::numeric, 3)::float8 AS epsilon, avg(accuracy) AS mean,
        greatest(0, avg(accuracy) - coalesce(stddev_samp(accuracy), 0)) AS low,
        least(1, avg(accuracy) + coalesce(stddev_samp(accuracy), 0)) AS high, min(accuracy) AS least,
        max(accuracy) AS most, count(*) AS seeds, sum(curves) AS n, (SELECT expected FROM wanted) AS expected
    FROM by_seed GROUP BY epsilon ORDER BY epsilon
"""
EVALUATIONS = f"""
    SELECT evaluation::text AS evaluation FROM reporting.robustness
    WHERE {SWEEP}
    GROUP BY evaluation ORDER BY min(evaluation)
"""

SHARE = {"unit": PERCENT, "min": 0, "max": 1}
FIXED, TWO_HINGE = "#D55E00", "#0072B2"
COLOURS = [
    override("fixed", color={"mode": "fixed", "fixedColor": FIXED}),
    override("two-hinge", color={"mode": "fixed", "fixedColor": TWO_HINGE}),
    override("fixed, published", color={"mode": "fixed", "fixedColor": "#E69F00"}),
    override("two-hinge, published", color={"mode": "fixed", "fixedColor": "#56B4E9"}),
]


def dashboard() -> Json:
    """The dashboard."""
    panels = [
        beside(),
        table(
            "Means",
            MEANS,
            (12, 6),
            unit=PERCENT,
            units={"n": COUNT, "expected": COUNT, "schedule": TEXT},
            description="Over the evaluations chosen that are measured: n of expected.",
        ),
        table(
            "Paired with fixed",
            PAIRED,
            (12, 6),
            unit=PERCENT,
            units={"n": COUNT, "expected": COUNT, "wins": COUNT, "losses": COUNT, "compared": TEXT},
            noValue="nothing to compare",
            description="Mean difference to fixed, by pairs of the same model, dataset, target, hyper-parameters, "
            "evaluation and seed. Choose the schedules that are compared. `temper results` and the results service test it.",
        ),
    ]
    for axis in ("model", "dataset"):
        panels.append(
            bars(
                f"Expected robustness by {axis}",
                bars_by(axis),
                (12, 12),
                axis,
                overrides=COLOURS,
                # Names with counts behind them are long, and stand beside bars that lie.
                orientation="horizontal",
                longest=48,
                description="Means over the evaluations chosen that are measured, fixed beside two-hinge, and over what was "
                "published for it. In brackets n of expected, of fixed and then of two-hinge.",
                **SHARE,
            )
        )
    panels += published() + each_schedule()
    choices = variables(several_epsilons=False) + [variable("evaluation", "Evaluation", EVALUATIONS, False)]
    about = (
        "Accuracy against epsilon with the spread over seeds, and expected robustness, beside Tables 1 and 2 of Ngnawé "
        "et al., ICLR 2026. Curves are averaged over the cells chosen."
    )
    return make(NAME, "Temper: curves", about, panels, choices, refresh="1m")


def beside() -> Json:
    """The two schedules that the paper compares, with its figures as points."""
    points = {"custom__drawStyle": "points", "custom__pointSize": 10, "custom__showPoints": "always"}
    overrides = band("fixed", "fixed, low", "fixed, high", FIXED)
    overrides += band("two-hinge", "two-hinge, low", "two-hinge, high", TWO_HINGE)
    overrides += [override("fixed, published", **points), override("two-hinge, published", **points)] + COLOURS[2:]
    overrides += told("fixed, n", "fixed, expected", "two-hinge, n", "two-hinge, expected")
    return trend(
        "Accuracy against epsilon: fixed beside two-hinge",
        BESIDE,
        (12, 12),
        "epsilon",
        units={"epsilon": LEVELS},
        overrides=overrides,
        description="Mean over the cells chosen that are measured, n of expected where the pointer is; the band is one "
        "standard deviation over seeds. Points are what was published for the models and datasets chosen, without a "
        "perturbation and at the target.",
        **SHARE,
    )


def published() -> list:
    """What the paper says."""
    percent = {"n": COUNT, "anomalous": COUNT, "target": TEXT, "schedule": TEXT}
    return [
        table(
            "Published: means",
            PUBLISHED_MEANS,
            (12, 6),
            unit=PERCENT,
            decimals=2,
            units=percent,
            overrides=[override(name, decimals=0) for name in ("n", "anomalous")],
            description="Over all 30 models and datasets of Tables 1 and 2, whatever is chosen above; anomalous counts the rows "
            "beside this, which are in the means.",
        ),
        table(
            "Published: rows that fit no falling curve",
            ANOMALOUS,
            (12, 6),
            unit=PERCENT,
            decimals=2,
            units={"target": TEXT},
            description="Printed with an expected robustness below the accuracy at the target strength.",
        ),
    ]


def each_schedule() -> list:
    """Any schedule, one after another."""
    return [
        row("$schedule", repeat="schedule"),
        trend(
            "Accuracy against epsilon: $schedule",
            ONE,
            (24, 9),
            "epsilon",
            units={"epsilon": LEVELS},
            overrides=band("mean", "low", "high", TWO_HINGE)
            + [override(name, custom__lineStyle={"fill": "dot"}, custom__lineWidth=1) for name in ("least", "most")]
            + told("seeds", "n", "expected"),
            description="Mean over the cells chosen that are measured, n of expected where the pointer is; one standard "
            "deviation over seeds around it, the least and the most of the seeds.",
            **SHARE,
        ),
    ]
