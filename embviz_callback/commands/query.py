"""`embviz query`: a question in SQL about the evaluations that a run keeps."""

import argparse
import csv
import io
import json
from contextlib import closing
from typing import Any

from embviz_callback.analysis.metrics.resampling import plain
from embviz_callback.commands.arguments import UsageError
from embviz_callback.commands.ending import write_out
from embviz_callback.commands.kept_runs import kept_snapshots, run_at
from embviz_callback.commands.looking import as_usage_error
from embviz_callback.commands.terminal import Terminal, quietly
from embviz_callback.delivery.results.result_files import inert_cell
from embviz_callback.delivery.results.sql_tables import TABLES, Answer, Tables
from embviz_callback.drawing.wording import aligned
from embviz_callback.pairs.texts import inert


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Runs the command; 0 when done."""
    if options.sql is None:
        write_out(_schema())
        return 0
    if options.run is None:
        raise UsageError("required: --run")
    with quietly():
        kept = kept_snapshots(run_at(options.run))
    with closing(Tables(kept)) as tables, as_usage_error(ValueError):
        answer = tables.ask(options.sql, limit_s=options.time_limit)
    write_out({"table": _as_table, "csv": _as_csv, "json": _as_json}[options.format](answer))
    return 0


def _schema() -> str:
    lines = []
    for table in TABLES:
        lines.append(f"{table.name}: {table.says}")
        lines += [f"   {name:<12} {meaning}" for name, meaning in table.columns.items()]
    return "\n".join(lines) + "\n"


def _as_table(answer: Answer) -> str:
    """Columns below each other; a text is one line, and nothing that a terminal would obey."""
    rows = [answer.columns, *([" ".join(inert(_text(cell)).split()) for cell in row] for row in answer.rows)]
    return "\n".join(aligned(rows)) + "\n"


def _as_csv(answer: Answer) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(answer.columns)
    writer.writerows([inert_cell(_text(cell)) for cell in row] for row in answer.rows)
    return file.getvalue()


def _as_json(answer: Answer) -> str:
    rows = [dict(zip(answer.columns, map(_plain, row), strict=True)) for row in answer.rows]
    return json.dumps(rows, ensure_ascii=False, allow_nan=False) + "\n"


def _text(cell: Any) -> str:
    """A value as it is read; what is not there is empty."""
    if isinstance(cell, float):
        return f"{cell:.6g}"
    return "" if cell is None else cell.hex() if isinstance(cell, bytes) else str(cell)


def _plain(cell: Any) -> Any:
    if isinstance(cell, float):
        return plain(cell)
    return cell.hex() if isinstance(cell, bytes) else cell
