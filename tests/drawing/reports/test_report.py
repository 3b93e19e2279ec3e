import csv
import html
import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from markdown_it import MarkdownIt

from embviz_callback.analysis.compare.comparison import outcomes
from embviz_callback.analysis.maps.projections import Projection, Skipped
from embviz_callback.analysis.metrics.intervals import Sampling
from embviz_callback.analysis.metrics.numbers import Metrics
from embviz_callback.analysis.metrics.pictures import FIGURES
from embviz_callback.analysis.verdict.checklist import Check, bright_cells, checklist
from embviz_callback.analysis.why.columns import columns_of
from embviz_callback.analysis.why.errors import errors_of
from embviz_callback.delivery.results.result_files import errors_csv, metrics_json
from embviz_callback.delivery.run.data_check import data_check, data_check_once
from embviz_callback.drawing.page.epoch_view import epoch_view
from embviz_callback.drawing.reports.asides import Context
from embviz_callback.drawing.reports.data_section import brief
from embviz_callback.drawing.reports.evaluation_report import report
from embviz_callback.drawing.reports.figures_in_words import (
    distribution_reading,
    heatmap_reading,
    map_reading,
    oddities,
    top_k_reading,
)
from embviz_callback.drawing.reports.markdown import literal, rendered
from embviz_callback.drawing.wording import grouping, interval, number, percent, rank_word
from embviz_callback.embeddings import Embeddings
from embviz_callback.grammar import counted
from embviz_callback.pairs.check.checkup import check
from embviz_callback.pairs.check.raw import RawPairs
from embviz_callback.pairs.records import Record
from embviz_callback.pairs.subset import choose_subset
from embviz_callback.settings import Settings
from embviz_callback.snapshot import Provenance, Snapshot, take_snapshot


def snapshot_of(
    texts: Sequence[str], *, noise: float = 0.0, unusable: tuple[int, ...] = (), constant: bool = False, dim: int = 32
) -> Snapshot:
    records = [Record(f"{text} q{i}", (f"{text} d{i}",), (), None, {}) for i, text in enumerate(texts)]
    subset = choose_subset(records, max_samples=500, seed=7)
    random = np.random.default_rng(0)
    documents = random.normal(size=(len(subset.documents), dim))
    queries = np.zeros((len(subset.queries), dim))
    for query, document in subset.relevance:
        queries[query] = documents[document] + noise * random.normal(size=dim)
    if constant:
        queries, documents = np.ones_like(queries), np.ones_like(documents)
    queries[list(unusable)] = np.nan
    embeddings = Embeddings.from_raw(queries, documents, subset.relevance, records=subset.records)
    made = take_snapshot(
        label="epoch 3",
        subset=subset,
        embeddings=embeddings,
        settings=Settings(bootstrap_draws=100),
        epoch=3,
        step=92,
        provenance=Provenance({"checkpoint": "best.pt", "versions": {"torch": "2.13.0"}}),
    )
    flat = embeddings.queries[:, :2].copy(), embeddings.documents[:, :2].copy()
    maps = {
        method: Projection(method, *flat, 0.95, 0.9, 0.07, "perplexity 3", 7, clear_share=0.75)
        for method in ("tsne", "umap")
    }
    return made.with_maps(maps)


def good(n: int = 20) -> Snapshot:
    return snapshot_of([f"room {i}" for i in range(n)])


def checks_of(snapshot: Snapshot) -> tuple[Check, ...]:
    return checklist(snapshot.metrics, snapshot.maps, FIGURES, bright_cells(snapshot.embeddings, seed=7))


def lines_of(snapshot: Snapshot, **options: Any) -> list[str]:
    return report(snapshot, checks_of(snapshot), Context(**options)).splitlines()


# --- numbers -----------------------------------------------------------------------------------


def test_numbers_that_are_none_are_said_in_words() -> None:
    assert number(float("nan")) == number(None) == percent(float("nan")) == "n/a"
    assert number(float("inf")) == "∞"
    assert number(-0.0001, 2) == "0.00"
    assert percent(0.92) == "92.0 %"
    assert rank_word(7.5) == "7.5 (tied)"
    assert rank_word(float("inf")) == "none"
    assert counted(1, "query") == "1 query"
    assert counted(2000, "query") == "2,000 queries"
    assert interval(Metrics({"margin": 0.3}, {"margin": (0.25, float("nan"))}), "margin") == "0.250 to n/a"


# --- markdown ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a | b", r"a \| b"),
        ("line\nbreak\r\n# head", r"line break \# head"),
        ("<script>alert(1)</script>", "&lt;script>alert(1)&lt;/script>"),
        ("0.9 > 0.85, 3 < 4 & 5", "0.9 > 0.85, 3 < 4 & 5"),
        ("> quoted", r"\> quoted"),
        ("<!-- c --> a<", r"&lt;\!-- c --> a&lt;"),
        ("![x](http://e.com) [l](javascript:1)", r"\!\[x\](http&#58;//e.com) \[l\](javascript:1)"),
        ("`code` *bold* _it_ ~~no~~ $x$", r"\`code\` \*bold\* \_it\_ \~\~no\~\~ \$x\$"),
        ("back\\slash", "back\\\\slash"),
        ("me@host www.host", "me&#64;host www&#46;host"),
        ("a\x00\ud800\u202eb", "a\ufffd\ufffdb"),
        ("&lt;b&gt;", "&amp;lt;b&amp;gt;"),
        ("Phòng trọ 25m², giá 5tr", "Phòng trọ 25m², giá 5tr"),
    ],
)
def test_text_from_the_data_is_inert(text: str, wanted: str) -> None:
    assert literal(text) == wanted


def test_a_long_text_is_clipped_in_a_cell() -> None:
    assert literal("a" * 20_000) == "a" * 199 + "…"


# What may mean something to markdown or HTML, and a few letters between.
SIGNS = st.text(st.sampled_from("<>&;#!/?-\\`*_{}[]()|~$.:@abxé1= "), max_size=30)


@given(SIGNS)
def test_a_markdown_reader_shows_the_text_itself(text: str) -> None:
    shown = MarkdownIt("commonmark").enable("table").render(f"| a |\n| --- |\n| x {literal(text)} |\n")
    (cell,) = re.findall(r"<td>(.*)</td>", shown)
    assert html.unescape(cell) == " ".join(f"x {text}".split())


def test_a_template_escapes_what_it_prints_and_refuses_what_it_was_not_given() -> None:
    card = {"name": "a|b", "name_in_code": "'a'", "has_prompts": False, "evaluation": None, "pictures": {}}
    assert "| &lt;b | 1 < 2 \\| &lt;i> |" in rendered("model_card", facts={"<b": "1 < 2 | <i>"}, **card)
    with pytest.raises(UndefinedError) as error:
        rendered("model_card", **card)
    assert str(error.value) == "'facts' is undefined"


# --- the report --------------------------------------------------------------------------------


def test_a_good_model_is_ready() -> None:
    lines = lines_of(good(80))
    assert lines[:3] == ["# Embedding report: epoch 3", "", "Conclusion: **ready**"]
    assert lines.count("Conclusion: **ready**") == 2


def test_few_queries_are_ready_on_their_values_only_and_say_how_many_it_takes() -> None:
    assert lines_of(good())[2] == (
        "Conclusion: **ready on the point values, not beyond noise**:"
        r" rank1: 1.0000 > 0.85; beyond doubt it takes about 25 queries;"
        r" bright\_diagonal: 1.0000 > 0.85; beyond doubt it takes about 25 queries"
    )


def test_the_smallest_difference_that_is_found_is_said_at_the_discordance_to_the_evaluation_before() -> None:
    text = "\n".join(lines_of(good()))
    assert "Between two models on these 20 independent groups of queries no difference is found" in text
    assert "(assumed); so few that every interval here is approximate." in text
    now, before = (snapshot_of([f"room {i}" for i in range(60)], noise=noise) for noise in (0.0, 4.0))
    text = "\n".join(lines_of(now, history=[("epoch 2", before.metrics)]))
    apart = 100 * float(np.mean(before.similarity.rank > 1))
    assert f"where they disagree on {apart:.1f} % of the queries (as measured against epoch 2)." in text


def test_a_model_that_is_not_ready_hears_each_reason_with_value_and_threshold() -> None:
    checks = (
        Check("margin", 0.18, 0.25, "failed", False, "0.1800 is not above 0.25"),
        Check("rank1", 0.9, 0.85, "passed", True, "0.9000 > 0.85"),
        Check("clear_clusters_umap", float("nan"), 0.5, "not judged", None, "UMAP not judged: UMAP needs more points"),
    )
    lines = report(good(), checks).splitlines()
    assert lines[2] == (
        r"Conclusion: **not ready**: margin: 0.1800 is not above 0.25;"
        r" clear\_clusters\_umap: UMAP not judged: UMAP needs more points"
    )
    rows = lines[lines.index("| check | value | needed | result |") + 2 :]
    assert rows[:3] == [
        "| margin | 0.1800 | > 0.25 | **failed** |",
        "| rank1 | 0.9000 | > 0.85 | passed |",
        r"| clear\_clusters\_umap | n/a | > 0.5 | **not judged**: UMAP needs more points |",
    ]


def test_the_report_says_where_everything_came_from() -> None:
    snapshot = good()
    lines = lines_of(snapshot)
    for line in (
        "| epoch | 3 |",
        "| step | 92 |",
        "| queries | 20 of 20 distinct ones, chosen with seed 7 |",
        "| documents | 20 distinct |",
        "| equivalents | 0 queries with several relevant documents, 0 documents that answer several queries,"
        " 20 records before equal texts were merged |",
        f"| subset | {snapshot.subset.fingerprint} (equal fingerprints are comparable) |",
        "| intervals | over 20 queries, of which no two share a relevant document (approximate, 20 groups) |",
        "| unusable rows | 0 not finite, 0 of length zero |",
        "| checkpoint | best.pt |",
        "| versions torch | 2.13.0 |",
    ):
        assert line in lines


def test_a_model_outside_a_training_has_no_step() -> None:
    lines = lines_of(replace(good(), epoch=None, step=None))
    assert "| epoch | outside training |" in lines
    assert not [line for line in lines if line.startswith("| step |")]


def test_key_metrics_stand_with_bands_and_intervals() -> None:
    snapshot = good()
    metrics = snapshot.metrics
    low, high = metrics.intervals["margin"]
    lines = lines_of(snapshot)
    assert "| metric | value | band | 95 % interval |" in lines
    assert f"| margin | {metrics.margin:.4f} | excellent | {low:.3f} to {high:.3f} |" in lines
    low, high = metrics.intervals["rank1"]
    assert f"| rank1 | 100.0 % |  | {100 * low:.1f} % to {100 * high:.1f} % |" in lines
    assert r"| naive\_rank1\_ceiling | 100.0 % |  | n/a |" in lines
    assert (
        "Rank-1 is 100.0 % where equal and equivalent texts count as right. Counted as `argmax == own row` it would be"
        " 100.0 %, of which a perfect model could reach 100.0 % on these data."
    ) in lines


def test_the_untrained_model_stands_beside_it() -> None:
    snapshot, untrained = good(), snapshot_of([f"room {i}" for i in range(20)], noise=3.0)
    lines = lines_of(snapshot, baseline=untrained.metrics)
    assert "| metric | value | band | 95 % interval | untrained | change |" in lines
    was, change = untrained.metrics.rank1, 1 - untrained.metrics.rank1
    (line,) = (line for line in lines if line.startswith("| rank1 |") and "points" in line)
    assert line.endswith(f"| {100 * was:.1f} % | +{100 * change:.1f} points |")


def test_diagnosis_readings_and_pictures_are_there() -> None:
    snapshot = good()
    text = report(snapshot, checks=checks_of(snapshot))
    assert f"**healthy**: {snapshot.diagnosis.reason}." in text
    assert (
        "- Heatmap: the diagonal is bright, for 100.0 % of 20 queries the brightest cell among 50 columns is a relevant"
        in text
    )
    assert "Nothing looks weird: not one cluster only, positives and negatives at least 1σ apart, and" in text
    assert re.findall(r"!\[[^]]*\]\(([^)]*)\)", text) == [f"{name}.png" for name in FIGURES]


def test_figures_that_were_not_made_are_not_linked() -> None:
    snapshot = good()
    text = report(snapshot, checks=checks_of(snapshot), figures=["similarity_heatmap"])
    assert re.findall(r"!\[[^]]*\]\(([^)]*)\)", text) == ["similarity_heatmap.png"]


def test_the_checklist_is_a_table_with_what_was_needed() -> None:
    lines = lines_of(snapshot_of([f"room {i}" for i in range(20)], noise=3.0))
    assert "| figures | 5 | 5 | described |" in lines
    (rank1,) = (line for line in lines if line.startswith("| rank1 |") and "> 0.85" in line)
    assert rank1.endswith("| **cannot tell**: beyond doubt it takes about 24 queries |")
    (negative,) = (line for line in lines if line.startswith(r"| negative\_mean |") and "< 0.55" in line)
    assert negative.endswith("| passed |")


def test_alerts_and_the_course_of_the_run_are_told() -> None:
    snapshot = good()
    lines = lines_of(snapshot, alerts=["margin 0.1 is below 0.25"], history=[("untrained", snapshot.metrics)])
    assert "## Alerts" in lines
    assert "- margin 0.1 is below 0.25" in lines
    course = f"{snapshot.metrics.margin:.4f} | {number(snapshot.metrics.separation, 2)} | 100.0 % |"
    assert f"| untrained | {course}" in lines
    assert f"| epoch 3 | {course}" in lines
    assert "## Alerts" not in lines_of(snapshot)
    assert "## Course" not in lines_of(snapshot)


def test_the_worst_queries_come_first_and_at_most_ten() -> None:
    snapshot = snapshot_of([f"room {i}" for i in range(60)], noise=4.0)
    lines = lines_of(snapshot)
    start = lines.index("| query | expected | its rank | its cosine | came first | its cosine |") + 2
    ranks = [float(line.split(" | ")[2]) for line in lines[start:]]
    worst = np.sort(snapshot.similarity.rank)[::-1][:10]
    assert ranks == worst.tolist()
    n_missed = int((~snapshot.similarity.is_hit).sum())
    assert f"{n_missed} of 60 queries have a wrong document first; the farthest off are:" in lines


def test_report_errors_page_and_analysis_name_the_same_first_document_of_a_tie() -> None:
    snapshot = snapshot_of(["room a", "room b"], constant=True)
    subset, own = snapshot.subset, dict(snapshot.subset.relevance.tolist())
    firsts = {subset.queries[query]: subset.documents[1 - own[query]] for query in own}
    table = [line.strip("| ").split(" | ") for line in lines_of(snapshot)[-2:]]
    assert {row[0]: row[4] for row in table} == firsts
    listed = csv.DictReader(io.StringIO(errors_csv(snapshot)))
    assert {row["query"]: row["first"] for row in listed} == firsts
    shown = epoch_view(snapshot).content["firsts"]
    assert {query: subset.documents[row] for query, row in zip(subset.queries, shown, strict=True)} == firsts
    misses = errors_of(snapshot, columns_of(subset)).misses
    assert {miss.search.query: miss.search.first for miss in misses} == firsts
    assert {query: outcome.first for query, outcome in outcomes(snapshot).items()} == firsts


def test_the_documents_that_crowd_into_every_list_are_named_in_the_report_and_in_the_metrics() -> None:
    made = snapshot_of([f"room {i}" for i in range(30)], noise=0.5, dim=8)
    lines = lines_of(made)
    table = lines[lines.index("## Hubs") + 2 :]
    counts = np.bincount(made.similarity.top_documents.ravel(), minlength=30)
    row = int(counts.argmax())
    assert f"| {made.subset.documents[row]} | {counts[row]} of 30 queries |" in table
    content = metrics_json(made, ())
    assert content["hub_documents"][0] == made.subset.documents[row]
    assert content["hubs"][0] == [row, int(counts[row])]


def test_a_report_without_misses_says_so() -> None:
    assert lines_of(good())[-1] == "Every query has a relevant document first."


def test_hostile_texts_stay_inside_their_cells() -> None:
    hostile = [
        "a | b\n| c |",
        "<img src=x onerror=alert(1)>",
        "![x](http://e)",
        "$\\frac{$",
        "\x00\ud800",
        "x" * 20_000,
    ]
    snapshot = snapshot_of(hostile, noise=3.0, unusable=(1,), dim=4)
    snapshot = replace(snapshot, label="<b>[l](http://e)</b>", provenance=Provenance({"a|b": "<i>"}))
    text = report(snapshot, checks_of(snapshot), Context(alerts=["<script>", "two\nlines"]))
    assert "<script" not in text
    assert "<img" not in text
    assert "<i>" not in text
    assert "http://" not in text
    head = next(line for line in text.splitlines() if line.startswith("| query |"))
    cells = re.findall(r"(?<!\\)\|", head)
    for line in text[text.index(head) :].strip().splitlines():
        assert len(re.findall(r"(?<!\\)\|", line)) == len(cells), line
    text.encode()


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_few_pairs_are_reported(n: int) -> None:
    assert "nan" not in report(good(n), checks=checks_of(good(n))).replace("n/a", "").split("## Diagnosis")[0]


def test_embeddings_without_direction_are_reported() -> None:
    snapshot = snapshot_of(["a", "b"], unusable=(0, 1))
    lines = lines_of(snapshot)
    assert "| margin | n/a | not judged | n/a |" in lines
    assert lines[2].startswith("Conclusion: **not ready**: ")
    assert any("| none | n/a | none | n/a |" in line for line in lines)


# --- readings ----------------------------------------------------------------------------------


def test_a_map_is_read_by_its_clear_share() -> None:
    snapshot = good()
    assert map_reading(snapshot, "tsne") == (
        "t-SNE: clusters are clear, 75.0 % of the queries have a relevant document among their 10 nearest points"
        " (needed: more than 50.0 %); trustworthiness 0.950, continuity 0.900"
    )
    made = snapshot.maps["umap"]
    assert isinstance(made, Projection)
    poor = snapshot.with_maps({"umap": replace(made, clear_share=0.5, trustworthiness=0.7)})
    assert map_reading(poor, "umap") == (
        "UMAP: clusters are not clear, 50.0 % of the queries have a relevant document among their 10 nearest points"
        " (needed: more than 50.0 %); trustworthiness 0.700, continuity 0.900;"
        " with so little trust its distances say little"
    )
    assert map_reading(poor, "tsne") == "t-SNE: no map, it was not asked for"
    assert map_reading(snapshot.with_maps({"tsne": Skipped("it collapsed")}), "tsne") == "t-SNE: no map, it collapsed"


def test_good_readings_are_said_in_words() -> None:
    snapshot = good()
    assert heatmap_reading(snapshot).startswith("Heatmap: the diagonal is bright, for 100.0 % of 20 queries")
    assert distribution_reading(snapshot).startswith("Distribution: positive and negative cosines stand apart, 0.0 %")
    assert top_k_reading(snapshot) == (
        "Top-10: 20 of 20 queries have a relevant document first, 0 more among the first ten, 0 later or never"
    )
    assert oddities(snapshot) == ()


def test_a_collapsed_model_looks_weird_in_every_way() -> None:
    snapshot = snapshot_of([f"room {i}" for i in range(12)], constant=True)
    assert oddities(snapshot) == (
        "One cluster: two different documents have a mean cosine of 1.000, so a map shows structure in next to nothing",
        "No separation: positive and negative cosines have neither a margin nor a spread",
        "All similarities alike: the cosines of all pairs have a standard deviation of 0.000",
    )


def test_unusable_embeddings_look_weird() -> None:
    (sentence,) = oddities(snapshot_of([f"room {i}" for i in range(12)], unusable=(3,)))
    assert sentence == (
        "Unusable embeddings: 1 row with NaN or infinity and 0 of length zero; each counts as a miss and is not drawn"
    )


def test_a_report_of_vectors_that_are_not_finite_judges_nothing_and_lists_no_hubs() -> None:
    snapshot = snapshot_of([f"room {i}" for i in range(12)], unusable=tuple(range(12)))
    text = report(snapshot, checks=checks_of(snapshot))
    assert "No separation: there are not both positive and negative pairs to compare" in text
    assert "- Heatmap: there are no pairs to compare." in text
    assert r"| bright\_diagonal | n/a | > 0.85 | **not judged** |" in text
    for absent in ("## Hubs", "optimistic", "argmax"):
        assert absent not in text


# --- the data ----------------------------------------------------------------------------------


def _data_lines(data: Any) -> list[str]:
    lines = lines_of(good(), data=data)
    start, end = lines.index("## Data"), lines.index("## Model and data")
    assert start == 4  # right after the conclusion
    return [line for line in lines[start + 1 : end] if line]


def _evaluated(path: Path, items: list[Any], *, changed: bool = False) -> Snapshot:
    content = json.dumps(items, ensure_ascii=False)
    path.write_text(content + (" " if changed else ""), encoding="utf-8")
    provenance = {"data": str(path), "data_sha256": sha256(content.encode()).hexdigest()}
    return replace(good(), provenance=Provenance(provenance))


PLACEHOLDER = {"query": "q", "pos": "TODO", "hard_neg": [{"text": "n", "type": "price", "weight": 1.0}]}


def test_the_data_stand_first_with_a_count_and_an_example_each() -> None:
    bad = {"query": "a", "pos": "<b>|x|</b> ![p](http://e)", "hard_neg": ["<b>|x|</b> ![p](http://e)", "w w"]}
    lines = _data_lines(brief(check(RawPairs("v|1.json", (bad, bad)))))
    assert lines[0] == "In v\\|1.json (2 records), of which `embviz check` tells every place and how to mend it:"
    example = "record 1: &lt;b>\\|x\\|&lt;/b> \\!\\[p\\](http&#58;//e)"
    assert f"| **wrong** | 2 | hard negatives equal a positive of their query | {example} |" in lines
    assert lines[-1].startswith("Taken care of: 4 hard negatives have no type")


def test_clean_data_are_one_line() -> None:
    item = {"query": "a b", "pos": "c d", "hard_neg": [{"text": "e f", "type": "price", "weight": 1.0}]}
    assert _data_lines(brief(check(RawPairs("v.json", (item,))))) == ["Nothing is wrong in v.json (1 record)."]
    item["hard_neg"] = [{"text": "e f", "type": "price"}]
    (line,) = _data_lines(brief(check(RawPairs("v.json", (item,)))))
    assert line == ("Nothing is wrong in v.json (1 record); taken care of: 1 hard negative has no weight, or 0.")


@pytest.mark.parametrize("data", [{"error": "OSError: <b>"}, {}, {"file": 1}, {"error": 3}])
def test_a_check_that_failed_is_one_line_of_the_report(data: Any) -> None:
    (line,) = _data_lines(data)
    assert line.startswith("The data could not be checked: ")
    assert "<" not in line


def test_the_file_is_checked_while_it_is_the_one_evaluated(tmp_path: Path) -> None:
    found = data_check(_evaluated(tmp_path / "v.json", [PLACEHOLDER]))
    assert (found["file"], found["records"]) == (str(tmp_path / "v.json"), 1)
    assert "placeholder" in [one["kind"] for one in found["findings"]]


@pytest.mark.parametrize("why", ["changed", "gone", "too large", "never a file"])
def test_else_the_evaluated_pairs_are_checked(tmp_path: Path, why: str) -> None:
    snapshot = _evaluated(tmp_path / "v.json", [PLACEHOLDER], changed=why == "changed")
    if why == "gone":
        (tmp_path / "v.json").unlink()
    if why == "never a file":
        snapshot = replace(snapshot, provenance=Provenance({"data": "20 pairs from Python"}))
    found = data_check(snapshot, largest=10 if why == "too large" else 2**20)
    assert found == {"file": "the evaluated pairs", "records": 20, "findings": []}


def test_a_run_is_checked_once_and_again_for_other_data(tmp_path: Path) -> None:
    snapshot = _evaluated(tmp_path / "v.json", [PLACEHOLDER])
    first = data_check_once(tmp_path, snapshot)
    (tmp_path / "v.json").unlink()
    assert data_check_once(tmp_path, snapshot) == first == json.loads((tmp_path / "data_check.json").read_text())
    other = _evaluated(tmp_path / "w.json", [PLACEHOLDER, PLACEHOLDER])
    assert data_check_once(tmp_path, other)["records"] == 2
    (tmp_path / "data_check.json").write_text("{")
    assert data_check_once(tmp_path, snapshot)["file"] == "the evaluated pairs"
    assert data_check_once(tmp_path / "w.json" / "a file is no folder", snapshot)["records"] == 20


@pytest.mark.parametrize(
    ("n_groups", "is_chained", "said"),
    [
        (90, False, "90 queries, of which no two share a relevant document"),
        (60, False, "60 groups of queries that share relevant documents"),
        (49, False, "49 groups of queries that share relevant documents (approximate, 49 groups)"),
        (
            50,
            True,
            "50 groups of queries by their most shared document, as chains of them hold many queries; they"
            " allow for every pair of queries that share one",
        ),
    ],
)
def test_a_report_says_what_its_intervals_are_over(n_groups: int, is_chained: bool, said: str) -> None:
    chained = np.empty((0, 2), dtype=np.int64) if is_chained else None
    assert grouping(Sampling(np.arange(90) % n_groups, chained)) == said
