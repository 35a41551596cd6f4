"""Where a bundle lies: beside the package, in a folder, or on the Hugging Face Hub."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from melformer.errors import CheckpointError
from melformer.files import atomic_path, shipped_folder, user_path
from melformer.hub.bundle import CARD_FILE, FILES, PART_FILES, Bundle, read_bundle

ENVIRONMENT_VARIABLE = "MELFORMER_MODEL"
EMBEDDED = shipped_folder("checkpoints")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_LOG_IN = "log in with `hf auth login`"


@dataclass(frozen=True)
class Pushed:
    """What a push did: the repository's page, the commit that now stands there, and whether it is new."""

    url: str
    commit: str
    changed: bool


def find_bundle(name: str | Path | None = None, revision: str | None = None) -> tuple[Path, str | None]:
    """The folder of a bundle, and its commit if it came from the Hub.

    None means $MELFORMER_MODEL or, without it, the embedded `checkpoints/`; else a folder or "user/repo".
    "user/repo@revision" pins a branch, tag or commit in one word. A folder wins over a repository.
    Errors: CheckpointError.
    """
    if name is None:
        name = os.environ.get(ENVIRONMENT_VARIABLE) or EMBEDDED
    text = str(name)
    folder = user_path(text)
    if folder.is_dir():
        if revision is not None:
            raise CheckpointError(f"{folder} is a folder and has no revision {revision!r}; leave it out.")
        return folder, None
    if folder.exists():
        raise CheckpointError(f"{folder} is a file; give the folder with config.json and model.safetensors.")
    if folder == EMBEDDED:
        raise CheckpointError(f"There is no embedded checkpoint ({EMBEDDED}); name a folder or a repository.")
    repo, _, pinned = text.partition("@")
    if isinstance(name, Path) or not _REPO.fullmatch(repo):
        raise CheckpointError(f'There is no folder {text!r}, and a Hub repository is written "user/repo".')
    if pinned and revision not in (None, pinned):
        raise CheckpointError(f"{text} and revision {revision!r} contradict each other; give one of them.")
    return _download(repo, revision or pinned or None)


def load_bundle(name: str | Path | None = None, revision: str | None = None) -> Bundle:
    """Find a bundle (see `find_bundle`), check it strictly, and read it. Errors: CheckpointError."""
    return read_bundle(*find_bundle(name, revision))


def pull_bundle(repo: str, directory: str | Path, revision: str | None = None) -> Bundle:
    """Download a bundle, check it, and copy its files into `directory`. Errors: CheckpointError."""
    bundle = load_bundle(repo, revision)
    for file in (*FILES, *PART_FILES):
        if (bundle.path / file).is_file():
            with atomic_path(Path(directory) / file) as path:
                path.write_bytes((bundle.path / file).read_bytes())
    return bundle


def push_bundle(directory: str | Path, repo: str, *, tag: str | None = None, private: bool = False) -> Pushed:
    """Check a bundle, publish it as "user/repo" (made if need be), and tag the commit if asked.

    Pushing what already stands there makes no new commit. A published tag never moves.
    Errors: CheckpointError.
    """
    from huggingface_hub import HfApi

    path = read_bundle(directory).path
    if not (path / CARD_FILE).is_file():
        raise CheckpointError(f"{path} has no {CARD_FILE}; a published checkpoint needs its model card.")
    if not _REPO.fullmatch(repo):
        raise CheckpointError(f'{repo!r} is no name of a Hub repository; it is written "user/repo".')
    api = HfApi()
    with _clear_errors(repo, None):
        api.create_repo(repo, private=private, exist_ok=True)
        before = _commit_of(repo, None)
        message = "Publish a Melformer checkpoint."
        commit = api.upload_folder(
            repo_id=repo, folder_path=path, allow_patterns=[*FILES, *PART_FILES], commit_message=message
        ).oid
        if tag is not None:
            _tag(repo, tag, commit)
    return Pushed(f"{api.endpoint}/{repo}", commit, commit != before)


def _tag(repo: str, tag: str, commit: str) -> None:
    from huggingface_hub import HfApi

    standing = _commit_of(repo, tag)
    if standing is None:
        HfApi().create_tag(repo, tag=tag, revision=commit)
    elif standing != commit:
        raise CheckpointError(
            f"{repo} has a tag {tag!r} already, on commit {standing[:8]}, and a published tag never moves; "
            f"commit {commit[:8]} is published without it. Choose a new tag."
        )


def _commit_of(repo: str, revision: str | None) -> str | None:
    """The commit that a branch or tag stands on; None when there is none."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RevisionNotFoundError

    try:
        return HfApi().model_info(repo, revision=revision).sha
    except RevisionNotFoundError:
        return None


def _download(repo: str, revision: str | None) -> tuple[Path, str]:
    """Fetch one revision of a repository, or find it in the cache when the Hub cannot be reached."""
    from huggingface_hub import snapshot_download

    with _clear_errors(repo, revision):
        # One call for all files: they come from one revision, and without a network it fails at once.
        path = Path(snapshot_download(repo, revision=revision, allow_patterns=[*FILES, *PART_FILES]))
    return path, path.name


@contextmanager
def _clear_errors(repo: str, revision: str | None) -> Iterator[None]:
    """Turn what huggingface_hub raises into a CheckpointError whose sentence helps."""
    # HTTPError is taken from there, since the HTTP library beneath has changed its name.
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, OfflineModeIsEnabled

    try:
        yield
    except CheckpointError:
        raise
    except (HFValidationError, OfflineModeIsEnabled, HfHubHTTPError, HTTPError, OSError) as error:
        raise CheckpointError(_explain(error, repo, revision)) from error


def _explain(error: Exception, repo: str, revision: str | None) -> str:
    from huggingface_hub import errors

    what = f"{repo} at {revision}" if revision else repo
    status = getattr(getattr(error, "response", None), "status_code", None)
    # From the special to the general: a gated repository is also a missing one.
    known: list[tuple[type | tuple[type, ...], str]] = [
        (errors.GatedRepoError, f"{repo} is gated: ask for access on its page of the Hub, then {_LOG_IN}."),
        (errors.RepositoryNotFoundError,
         f"The Hub shows no repository {repo}: check the spelling; if it is private, {_LOG_IN}."),
        (errors.RevisionNotFoundError, f"{repo} has no revision {revision!r}; give a branch, tag or commit."),
        (errors.HFValidationError, f'{repo!r} is no name of a Hub repository; it is written "user/repo".'),
        (errors.LocalTokenNotFoundError, f"The Hub does not know you: {_LOG_IN}."),
        ((errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled),
         f"The Hub cannot be reached, and {what} was not downloaded before: connect once, or use a folder."),
        (errors.HfHubHTTPError, f"The Hub refused {what} (HTTP {status}): {_LOG_IN}, or try again later."),
    ]  # fmt: skip
    for kind, message in known:
        if isinstance(error, kind):
            return message
    first_line = (str(error).splitlines() or ["no reason given"])[0]
    return f"The transfer of {what} broke off ({first_line}); run it again, files that have arrived are kept."
