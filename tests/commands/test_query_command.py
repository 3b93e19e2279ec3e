"""`embviz query`: what a run keeps is read in SQL, and nothing but read."""

import csv
import io
import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embviz_callback.cli import main
from embviz_callback.delivery.results.sql_tables import TABLES, Tables
from embviz_callback.delivery.run.run_folder import RunFolder
from embviz_callback.snapshot import Snapshot
from tests.small_runs import a_run, a_subset

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def snapshots() -> list[Snapshot]:
    first, *others = a_run(a_subset(), (3.0, 1.2), maps=False)
    return [replace(first, label="untrained", epoch=None, step=0), *others]


@pytest.fixture(scope="module")
def run(snapshots: list[Snapshot], tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("run") / "embviz"
    for place, one in enumerate(snapshots):
        RunFolder(folder).keep(one, f"{place:09d}")
    return str(folder)


@pytest.fixture
def tables(snapshots: list[Snapshot]) -> Iterator[Tables]:
    with closing(Tables(snapshots)) as made:
        yield made


def test_ranks_are_those_of_the_evaluation(
    run: str, snapshots: list[Snapshot], capsys: pytest.CaptureFixture[str]
) -> None:
    question = "select query, rank, first from ranks where epoch = 1 and rank > 2 order by rank desc, query"
    assert main(["query", "--run", run, question, "--format", "json"]) == 0
    last = snapshots[-1]
    ranks, came_first = last.similarity.rank, last.similarity.came_first
    assert (ranks > 2).any()
    expected = [
        {"query": last.subset.queries[row], "rank": ranks[row], "first": last.text(came_first[row])}
        for row in np.flatnonzero(ranks > 2)
    ]
    expected.sort(key=lambda one: (-one["rank"], one["query"].encode("utf-8", "surrogatepass")))
    assert json.loads(capsys.readouterr().out) == expected


def test_metrics_with_intervals_and_the_untrained_model_without_an_epoch(
    snapshots: list[Snapshot], tables: Tables
) -> None:
    found = tables.ask("select epoch, value, low, high from metrics where name = 'mrr'")
    assert found.columns == ("epoch", "value", "low", "high")
    intervals = [one.metrics.intervals["mrr"] for one in snapshots]
    values = [one.metrics.mrr for one in snapshots]
    assert found.rows == ((None, values[0], *intervals[0]), (1, values[1], *intervals[1]))


def test_lists_pairs_and_columns_join(snapshots: list[Snapshot], tables: Tables) -> None:
    ask = tables.ask
    # A query with a hit has a relevant document in its first place, by two ways to the answer.
    hits = ask("select count(*) from ranks where epoch = 1 and is_hit").rows
    first = "select count(*) from top join pairs using (query, document) where epoch = 1 and place = 1"
    assert ask(first).rows == hits == (((snapshots[1].similarity.rank == 1).sum(),),)
    assert ask("select sum(is_relevant) from top where epoch = 1 and place = 1").rows == hits
    assert ask("select count(distinct query) from columns where name = 'quận'").rows == ((40,),)
    assert ask("select a.query, b.query from pairs a, pairs b limit 1").columns == ("query", "query_2")


def test_a_cell_of_csv_is_no_formula_and_of_a_terminal_no_order(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", "--run", run, "select '=1+1' as a, -2.5 as b, null as c, 9e999 as d", "--format", "csv"]) == 0
    assert list(csv.reader(io.StringIO(capsys.readouterr().out))) == [
        ["a", "b", "c", "d"],
        ["'=1+1", "-2.5", "", "inf"],
    ]
    assert main(["query", "--run", run, "select char(27) || '[2J' as a, 1 as longer, 'x' || char(10) || 'y' as c"]) == 0
    assert capsys.readouterr().out == "a        longer  c\n\\x1b[2J  1       x y\n"
    assert main(["query", "--run", run, "select 9e999 as a, x'00ff' as b", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"a": "Infinity", "b": "00ff"}]


@pytest.mark.parametrize(
    "sql",
    [
        "attach database '{file}' as other",
        "pragma temp_store_directory = '/'",
        "select * from pragma_database_list",
        "select load_extension('{file}')",
        "delete from ranks",
        "update ranks set rank = 1",
        "insert into ranks default values",
        "create temp table mine (a)",
        "drop table ranks",
        "begin",
        "vacuum into '{file}'",
        "with a as (select 1) insert into ranks(rank) select * from a",
    ],
)
def test_whatever_is_not_reading_is_refused(sql: str, tables: Tables, tmp_path: Path) -> None:
    file = tmp_path / "made.db"
    before = tables.ask("select count(*), sum(rank) from ranks").rows
    with pytest.raises(ValueError) as error:
        tables.ask(sql.format(file=file))
    assert str(error.value) == (
        "expected one SELECT, found something else than reading. Fix: these tables can only be read"
    )
    assert not file.exists()
    assert tables.ask("select count(*), sum(rank) from ranks").rows == before


def test_bad_sql_is_one_line_and_status_2(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    there = "Fix: the tables are evaluations, metrics, ranks, top, pairs, columns\n"
    found = "embviz query: expected one SELECT in SQLite's words, found: "
    for sql, said in (
        ("select place from ranks", f"{found}no such column: place. {there}"),
        ("selec 1", f'{found}near "selec": syntax error. {there}'),
        ("select 1; select 2", f"{found}You can only execute one statement at a time. . {there}".replace(". .", ".")),
        ("", "embviz query: expected one SELECT, found nothing to answer\n"),
    ):
        assert main(["query", "--run", run, sql]) == 2
        assert capsys.readouterr() == ("", said)
    assert main(["query", "select 1"]) == 2
    assert capsys.readouterr().err == "embviz query: required: --run\n"


def test_a_question_without_end_and_a_value_without_end_are_given_up(tables: Tables) -> None:
    begun = time.monotonic()
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"
    with pytest.raises(ValueError) as error:
        tables.ask(endless, limit_s=0.05)
    assert str(error.value) == "expected an answer within 0.05 s, found none. Fix: ask for less, or give it longer"
    assert time.monotonic() - begun < 2
    with pytest.raises(ValueError, match="too big"):
        tables.ask("select length(zeroblob(100000000))")
    assert tables.ask("select 1").rows == ((1,),)


def test_every_table_and_column_is_documented_and_listed(tables: Tables, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query"]) == 0
    listed = capsys.readouterr().out
    page = (ROOT / "docs" / "comparing.md").read_text(encoding="utf-8")
    for table in TABLES:
        assert f"{table.name}: {table.says}\n" in listed
        columns = ", ".join(f"`{name}`" for name in table.columns)
        assert f"| `{table.name}` | {table.says} | {columns} |" in page
        assert all(f"   {name:<12} {meaning}\n" in listed for name, meaning in table.columns.items())
        assert tables.ask(f"select * from {table.name}").columns == tuple(table.columns)
