"""A Hugging Face data set at a pinned commit as files. No code of the data set runs, no pickle is loaded."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from apo.core.errors import UserError
from apo.datasets.settings import Files, Hub
from apo.datasets.watched_folder import is_inside

# Formats of data alone; others of the library read pickles, archives, databases.
_FORMATS = ("arrow", "csv", "json", "parquet")


def fetch(hub: Hub, folder: Path, *, watched: Path) -> tuple[Files, dict[str, str]]:
    """Writes the splits of a data set as parquet files into `folder`.

    Args:
        hub: The data set; `path` may be a folder inside `watched`.
        folder: For the files, emptied by the caller.
        watched: `data.dir`, the only folder whose changes DVC sees.

    Returns:
        The files, and the display name of each.

    Raises:
        UserError: The revision is no commit, the data set is neither cached nor reachable, or its format is
            not one of data alone.
    """
    is_local = Path(hub.path).is_dir()
    _check(hub, watched, is_local=is_local)
    import datasets  # seconds
    from datasets.exceptions import DatasetsError
    from httpx2 import HTTPError
    from pyarrow import ArrowException

    datasets.disable_progress_bars()
    for library in ("huggingface_hub", "datasets"):  # attempts at the network, rows that break off
        logging.getLogger(library).setLevel(logging.CRITICAL)
    library_errors = (OSError, ValueError, RuntimeError, AttributeError, TypeError, KeyError, EOFError)
    display_names = {}
    for name, split in {"train": hub.train, "test": hub.test}.items():
        if not split:
            continue
        try:
            builder = datasets.load_dataset_builder(
                hub.path,
                hub.subset or None,
                data_dir=hub.folder or None,
                revision=hub.revision or None,
                cache_dir=str(folder / "cache") if is_local else None,
            )
            _check_builder(builder, hub, is_local=is_local)
            builder.download_and_prepare()
            data = builder.as_dataset(split=split)
            data.to_parquet(folder / f"{name}.parquet")
        except (*library_errors, DatasetsError, HTTPError, ArrowException) as error:
            reason = " ".join(str(error.__cause__ or error).split())[:140]
            raise UserError(
                "params.yaml: data.hub",
                found=f"split {split!r} of {hub.path!r} does not load ({reason})",
                expected="a data set in the local cache, or the network",
                do="check the name, the subset and the split, or fetch it once where there is a network",
            ) from None
        display_names[f"{name}.parquet"] = f"split {split!r} of {hub.path}"
    names = {"comparisons": ["train.parquet"], "test": ["test.parquet"] if hub.test else []}
    files = Files.of(names, hub.columns, hub.labels)
    return files, display_names


def _check(hub: Hub, watched: Path, *, is_local: bool) -> None:
    if is_local and not is_inside(Path(hub.path), watched):
        raise UserError(
            "params.yaml: data.hub.path",
            found=f"the folder {hub.path!r}",
            expected=f"a folder inside {watched}, which DVC watches, or the name of a data set of the hub",
            do="move the folder there",
        )
    if not hub.train:
        raise UserError(
            "params.yaml: data.hub.train",
            found="''",
            expected="the name of a split of the data set",
            do="write for example `train: train`",
        )
    if not is_local and not re.fullmatch(r"[\w.-]+/[\w.-]+", hub.path):
        raise UserError(
            "params.yaml: data.hub.path",
            found=f"{hub.path!r:.100}",
            expected="OWNER/NAME of a data set of the hub, or a folder that is there",
            do="copy the name from the page of the data set, or run `make fetch NAME=PRESET` for a preset's",
        )
    if not is_local and not re.fullmatch(r"[0-9a-f]{40}", hub.revision):
        raise UserError(
            "params.yaml: data.hub.revision",
            found=repr(hub.revision),
            expected="the 40 hexadecimal digits of a commit: a branch can change",
            do="copy the commit from the page of the data set",
        )
    for path in Path(hub.path).rglob("*") if is_local else ():
        if not is_inside(path, watched) or not (path.is_file() or path.is_dir()):
            raise UserError(
                str(path),
                found="a link that leads elsewhere, a pipe or a device",
                expected="plain files",
                do="remove it, or put the file itself there",
            )


def _check_builder(builder: Any, hub: Hub, *, is_local: bool) -> None:
    """Checks that the format is one of data alone and the files are those of the pinned commit."""
    kind = type(builder).__module__.rpartition(".")[2]
    if kind not in _FORMATS or not type(builder).__module__.startswith("datasets.packaged_modules."):
        raise ValueError(f"files of the format {kind!r}, and not of {', '.join(_FORMATS)}")
    for name in _file_names(builder.config.data_files):
        if is_local:
            is_pinned = is_inside(Path(name), Path(hub.path).absolute())
        else:
            is_pinned = name.startswith(f"hf://datasets/{hub.path}@{hub.revision}/") and ".." not in name
        if not is_pinned:
            raise ValueError(f"a file that is not of the data set: {name!r:.80}")


def _file_names(data_files: Any) -> Iterator[str]:
    for names in (data_files or {}).values():
        yield from map(str, names)
