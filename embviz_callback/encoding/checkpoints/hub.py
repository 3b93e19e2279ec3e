"""Models by their name on the Hugging Face hub, as directories, and paths that lead nowhere; without torch."""

import difflib
import re
from pathlib import Path

from embviz_callback.encoding.weights.complaints import CheckpointError

# As the hub allows: an owner and a name; what ends like a file of weights or lies below a folder here is a path.
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FILE_ENDS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".npz", ".json")
_SETTINGS = ("*.json", "*.txt", "*.model", "*.jinja")
_OTHER_FORMATS = ["onnx/*", "openvino/*", "coreml/*"]


def explain_missing(path: str | Path) -> str:
    """One sentence with the nearest names beside a path that does not exist.

    Args:
        path: As the user gave it.

    Returns:
        The sentence, without a full stop.
    """
    place = Path(path).expanduser()
    folder = place.parent
    if not folder.is_dir():
        return f"{path} does not exist, nor does its folder {folder} (working directory {Path.cwd()})"
    close = difflib.get_close_matches(place.name, [entry.name for entry in folder.iterdir()], n=3, cutoff=0.5)
    if close:
        return f"{path} does not exist; in {folder.resolve()} there is {', '.join(close)}"
    return f"{path} does not exist (working directory {Path.cwd()})"


def is_hub_name(path: str | Path) -> bool:
    """Whether this may name a model on the hub rather than a file or folder here.

    Args:
        path: As the user gave it.

    Returns:
        False for whatever exists here, lies in a folder that does, or ends like a file of weights.

    Example:
        >>> is_hub_name("intfloat/multilingual-e5-small"), is_hub_name("runs/best_model.pt"), is_hub_name("./minilm")
        (True, False, False)
    """
    text = str(path)
    if not _NAME.fullmatch(text) or text.endswith(_FILE_ENDS):
        return False
    return not Path(text).exists() and not Path(text).parent.exists()


def hub_directory(name: str) -> Path:
    """The model's directory in the hub's cache, fetched if it is not there; no code of it is fetched.

    Args:
        name: Owner and name.

    Returns:
        A directory of settings, tokenizer and weights, safetensors where there are some.

    Raises:
        CheckpointError: If there is no such model, or it cannot be reached.
    """
    from huggingface_hub import snapshot_download  # half a second, which a local path must not wait for

    try:
        for weights in ("*.safetensors", "*.bin"):
            folder = Path(snapshot_download(name, allow_patterns=[*_SETTINGS, weights], ignore_patterns=_OTHER_FORMATS))
            if any(folder.rglob(weights)):
                break
    # The client, the network below it and the cache have exceptions of their own.
    except Exception as error:  # noqa: BLE001
        reason = " ".join(str(error).split("\n")[0].split())[:200] or type(error).__name__
        raise CheckpointError(
            f"{explain_missing(name)}, and no model of that name can be had from the hub ({reason})"
        ) from None
    return folder


def settings_directory(name: str, revision: str | None) -> Path | None:
    """The settings of a model in the hub's cache, fetched if they are not there and can be had.

    Args:
        name: Owner and name.
        revision: Branch, tag or commit; None for the newest.

    Returns:
        A directory without weights; None where nothing could be fetched.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=["*.json"]))
    # As above; whoever asks can do without.
    except Exception:  # noqa: BLE001
        return None
