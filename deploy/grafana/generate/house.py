"""What every dashboard is made of: panels, variables, and where panels stand."""

from __future__ import annotations

from textwrap import dedent
from typing import Any, Dict, List, Optional

Json = Dict[str, Any]

DATASOURCE = {"type": "grafana-postgresql-datasource", "uid": "temper"}
# Of the JSON that Grafana 12 and 13 write.
SCHEMA_VERSION = 42

PERCENT, SECONDS, HOURS, COUNT, TEXT = "percentunit", "s", "h", "short", "string"
# A unit of its own, so that counts beside a curve have an axis of their own as well, which is not drawn.
TALLY = "none"
LEVELS = "suffix:/255"

# What a sweep's views are narrowed to. Values are quoted by Grafana; seeds are compared as text, because an empty
# choice is an empty text.
SWEEP = "sweep_id = ${sweep:sqlstring}"
CELLS = (
    SWEEP + " AND model IN (${model:sqlstring}) AND dataset IN (${dataset:sqlstring})\n"
    "    AND target IN (${epsilon:sqlstring}) AND seed::text IN (${seed:sqlstring})"
)
CHOSEN = CELLS + "\n    AND schedule IN (${schedule:sqlstring})"


def sql(text: str) -> str:
    """A statement as it is shown to whoever edits the panel."""
    return dedent(text).strip()


def target(text: str, time_series: bool = False) -> Json:
    """A query of a panel."""
    return {
        "refId": "A",
        "datasource": DATASOURCE,
        "editorMode": "code",
        "rawQuery": True,
        "format": "time_series" if time_series else "table",
        "rawSql": sql(text),
    }


def override(field: str, **properties: Any) -> Json:
    """What is different about one field; `__` in a name stands for a dot."""
    named = [{"id": name.replace("__", "."), "value": value} for name, value in properties.items()]
    return {"matcher": {"id": "byName", "options": field}, "properties": named}


def panel(kind: str, title: str, text: str, size: tuple, **more: Any) -> Json:
    """A panel of `size` (columns of 24, rows). `unit` is that of its numbers, `units` those of fields that differ."""
    defaults: Json = {"unit": more.get("unit", COUNT), "custom": more.get("custom", {})}
    for name in ("min", "max", "decimals", "noValue", "color", "thresholds", "mappings"):
        if name in more:
            defaults[name] = more[name]
    units = [override(field, unit=unit) for field, unit in more.get("units", {}).items()]
    made: Json = {
        "type": kind,
        "title": title,
        "description": more["description"],
        "datasource": DATASOURCE,
        "gridPos": {"x": 0, "y": 0, "w": size[0], "h": size[1]},
        "targets": [target(text, kind == "timeseries")],
        "fieldConfig": {"defaults": defaults, "overrides": units + more.get("overrides", [])},
        "options": more.get("options", {}),
    }
    for name in ("transformations", "interval"):
        if name in more:
            made[name] = more[name]
    return made


LEGEND = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
TOOLTIP = {"mode": "multi", "sort": "none"}
# Of a table that has one row, or of which the last row is meant.
REDUCED = {"calcs": ["lastNotNull"], "fields": "", "values": False}


def stat(title: str, text: str, size: tuple, **more: Any) -> Json:
    """Numbers, or a word, in large letters: each field of one row."""
    options = {
        "reduceOptions": dict(REDUCED, fields="/.*/"),
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "percentChangeColorMode": "standard",
        "showPercentChange": False,
        "textMode": "auto",
        "wideLayout": True,
    }
    return panel("stat", title, text, size, options=options, **more)


def table(title: str, text: str, size: tuple, **more: Any) -> Json:
    """A table."""
    options = {"showHeader": True, "cellHeight": "sm"}
    return panel("table", title, text, size, options=options, **more)


def bars(title: str, text: str, size: tuple, field: str, **more: Any) -> Json:
    """Bars beside each other, a group for each value of `field`."""
    options = {
        "xField": field,
        "orientation": more.pop("orientation", "auto"),
        "barWidth": 0.9,
        "groupWidth": 0.75,
        "barRadius": 0,
        "fullHighlight": False,
        "showValue": "auto",
        "stacking": more.pop("stacking", "none"),
        "xTickLabelRotation": 0,
        "xTickLabelMaxLength": more.pop("longest", 24),
        "legend": LEGEND,
        "tooltip": TOOLTIP,
    }
    return panel("barchart", title, text, size, options=options, **more)


def trend(title: str, text: str, size: tuple, field: str, **more: Any) -> Json:
    """Lines over a number that is no time."""
    options = {"xField": field, "legend": LEGEND, "tooltip": TOOLTIP}
    custom = {"lineWidth": 2, "showPoints": "auto", "spanNulls": True, "fillOpacity": 0}
    return panel("trend", title, text, size, options=options, custom=custom, **more)


def series(title: str, text: str, size: tuple, **more: Any) -> Json:
    """Lines over time."""
    options = {"legend": LEGEND, "tooltip": TOOLTIP}
    custom = {"lineWidth": 2, "showPoints": "auto", "spanNulls": False, "fillOpacity": 10}
    return panel("timeseries", title, text, size, options=options, custom=custom, **more)


def row(title: str, repeat: Optional[str] = None) -> Json:
    """A heading; with `repeat` it and the panels below are there for each value of a variable."""
    made: Json = {"type": "row", "title": title, "collapsed": False, "panels": []}
    made["gridPos"] = {"x": 0, "y": 0, "w": 24, "h": 1}
    if repeat:
        made["repeat"] = repeat
    return made


def band(middle: str, low: str, high: str, colour: str) -> List[Json]:
    """Fills between two fields and draws the third within."""
    edge = {"color": {"mode": "fixed", "fixedColor": colour}, "custom__lineWidth": 0, "custom__showPoints": "never"}
    hidden = {"custom__hideFrom": {"legend": True, "tooltip": False, "viz": False}}
    return [
        override(middle, color={"mode": "fixed", "fixedColor": colour}),
        override(low, **edge, **hidden),
        override(high, custom__fillBelowTo=low, custom__fillOpacity=20, **edge, **hidden),
    ]


def told(*fields: str) -> List[Json]:
    """Fields that are counts beside a curve: told where the pointer is, not drawn."""
    # What is hidden from the picture, Grafana leaves out where the pointer is too: lines of no width instead.
    unseen = {"custom__lineWidth": 0, "custom__showPoints": "never", "custom__axisPlacement": "hidden"}
    unseen["custom__hideFrom"] = {"legend": True, "tooltip": False, "viz": False}
    return [override(field, unit=TALLY, **unseen) for field in fields]


def variable(name: str, label: str, text: str, multi: bool) -> Json:
    """A choice that is read from the database."""
    made: Json = {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "query": sql(text),
        "refresh": 1,
        "sort": 0,
        "multi": multi,
        "includeAll": multi,
        "hide": 0,
        "regex": "",
        "options": [],
    }
    if multi:
        made["current"] = {"selected": True, "text": ["All"], "value": ["$__all"]}
    return made


def variables(several_epsilons: bool = True) -> List[Json]:
    """The sweep and its axes, each narrowed by those before it."""
    chosen = [SWEEP]
    made = [variable("sweep", "Sweep", SWEEPS, False)]
    for name, label, column, order, multi in AXES:
        multi = multi if name != "epsilon" else several_epsilons
        where = "\n    AND ".join(chosen)
        text = f"SELECT {column} AS {name} FROM reporting.cell\nWHERE {where}\nGROUP BY {column} ORDER BY {order}"
        made.append(variable(name, label, text, multi))
        chosen.append(f"{column} IN (${{{name}:sqlstring}})")
    return made


# Nothing to choose from would leave the statements of the panels with an empty id, which is none.
SWEEPS = """
    (SELECT sweep AS __text, sweep_id::text AS __value FROM reporting.sweep ORDER BY created_at DESC, sweep_id LIMIT 500)
    UNION ALL
    SELECT 'no sweep yet', '00000000-0000-0000-0000-000000000000' WHERE NOT EXISTS (SELECT FROM reporting.sweep)
"""
AXES = [
    ("model", "Model", "model", "model", True),
    ("dataset", "Dataset", "dataset", "dataset", True),
    ("schedule", "Schedule", "schedule", "schedule", True),
    ("epsilon", "Epsilon", "target", "min(target_epsilon)", True),
    ("seed", "Seed", "seed::text", "min(seed)", True),
]


def dashboard(name: str, title: str, description: str, panels: List[Json], choices: List[Json], **more: str) -> Json:
    """A dashboard whose panels stand in the order given, as many beside each other as fit."""
    lay_out(panels)
    return {
        "uid": f"temper-{name}",
        "title": title,
        "description": description,
        "tags": ["temper"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": more.get("since", "now-24h"), "to": "now"},
        "refresh": more.get("refresh", "30s"),
        "links": [
            {
                "type": "dashboards",
                "title": "Temper",
                "tags": ["temper"],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
                "icon": "external link",
                "tooltip": "",
                "url": "",
            }
        ],
        "annotations": {"list": []},
        "templating": {"list": choices},
        "panels": panels,
    }


def lay_out(panels: List[Json]) -> None:
    """Numbers the panels and gives them their places."""
    x = y = height = 0
    for number, each in enumerate(panels, start=1):
        each["id"] = number
        place = each["gridPos"]
        if x + place["w"] > 24:
            x, y, height = 0, y + height, 0
        place["x"], place["y"] = x, y
        x, height = x + place["w"], max(height, place["h"])
