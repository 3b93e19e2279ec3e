"""What holds for every test."""

import os

import pytest

# Read when the library is imported: no test asks a model hub, which would be tried again and again where there is none.
os.environ["HF_HUB_OFFLINE"] = "1"

collect_ignore = ["ddp_training.py"]  # a program that test_ddp.py starts on every rank


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> object:
    """No test reads or fills the user's own feature cache, nor do the processes it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBVIZ_CACHE", str(tmp_path_factory.mktemp("features")))
        yield


@pytest.fixture(autouse=True)
def _only_our_messages(request: pytest.FixtureRequest) -> None:
    """`caplog` holds what this product says: whether a library has already said its own depends on the tests before."""
    if "caplog" in request.fixturenames:
        ours = ("embviz_callback", "pair_dataset", "train_script")
        request.getfixturevalue("caplog").handler.addFilter(lambda record: record.name.startswith(ours))
