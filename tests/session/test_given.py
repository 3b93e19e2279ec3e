"""What every face is given is checked once, with one text, before anything is trained."""

from pathlib import Path
from typing import Any

import pytest

from embviz_callback.session.given import Given
from embviz_callback.settings import Settings

NOTHING = dict.fromkeys(("data", "sets", "reading", "corpus", "settings", "limits", "alert", "output_dir"))
PAIRS = [{"query": "phòng trọ quận 1", "pos": "cho thuê phòng quận 1"}]


def given(flat: dict[str, Any] | None = None, **options: Any) -> Given:
    return Given.of({**NOTHING, "shard_corpus": False, "name": "", **options}, flat or {})


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"data": 3}, TypeError, "data must be a path, a list of pairs or None, got int"),
        ({"data": b"val.json"}, TypeError, "data must be a path, a list of pairs or None, got bytes"),
        ({"corpus": 3}, TypeError, "corpus must be a path, a list of texts or None, got int"),
        ({"shard_corpus": True}, ValueError, "shard_corpus=True needs a corpus, got none"),
        ({"data": PAIRS, "sets": {"a": PAIRS}}, ValueError, "give data or sets, not both"),
        ({"output_dir": __file__}, ValueError, f"output_dir must be a folder, {__file__} is a file"),
        (
            {"name": "detail"},
            ValueError,
            "name must not be or end with 'detail', under which details are logged, got 'detail'",
        ),
        ({"on_error": "stop"}, ValueError, "on_error must be 'warn' or 'raise', got 'stop'"),
        ({"flat": {"sed": 3}}, ValueError, "there is no option 'sed'; did you mean 'seed'?"),
        (
            {"settings": Settings(seed=3), "flat": {"seed": 4}},
            ValueError,
            "seed is given twice, by itself and in settings=; give it once",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(options: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error) as refused:
        given(**options)
    assert str(refused.value) == said


def test_single_options_and_the_name_reach_the_plan(tmp_path: Path) -> None:
    found = given({"seed": 3, "grace_s": 1.0}, name="short", output_dir=tmp_path, overhead_limit=0.5)
    assert (found.plan.settings.seed, found.plan.limits.grace_s, found.plan.overhead_limit) == (3, 1.0, 0.5)
    assert (found.prefix, found.output_dir) == ("embviz_short", tmp_path)


class MapStyle:
    def __len__(self) -> int:
        return len(PAIRS)

    def __getitem__(self, at: int) -> dict[str, str]:
        return PAIRS[at]


def test_a_map_style_data_set_is_taken_as_a_list_is() -> None:
    subsets = [given(data=data).evaluators()[""].subset for data in (MapStyle(), PAIRS)]
    assert subsets[0].fingerprint == subsets[1].fingerprint


def test_a_generator_of_pairs_is_there_for_a_second_training() -> None:
    found = given(sets={"one": iter(PAIRS), "two": PAIRS}, corpus=iter(["phòng trọ"]))
    first, second = (found.evaluators() for _ in range(2))
    assert first["one"].subset.fingerprint == second["one"].subset.fingerprint
    assert [name for name, one in first.items() if one.corpus is not None] == ["one"]
