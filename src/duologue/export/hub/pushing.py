"""`push`: an export to the Hugging Face Hub, private by default, file by file, so that it can be gone on with.

What has arrived is known there by its digest and is not sent again; the repository changes in one commit at the end.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from duologue.errors import ConfigError, DuologueError, EngineError
from duologue.export.hub.parcel import REPO_TYPES, Kind, Parcel, ParcelFile

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_PERMISSION = "a token with the role 'write', or a fine-grained one that may write to repositories of {owner}"
_TOKENS = "https://huggingface.co/settings/tokens"
_AGAIN = "Nothing that has arrived is lost: the same command goes on from there."
_WHOLE = ("merged", "space")  # an older file of these would spoil the newer ones


@dataclass(frozen=True, slots=True)
class Remote:
    """What is on the Hub before the push.

    Attributes:
        account: Whose token it is.
        exists: Whether the repository is there.
        is_private: Whether it, as it is or will be made, is seen by its owner only.
        known: Digest of each file there by name: SHA-256 of large files, git's own of small ones.
    """

    account: str
    exists: bool
    is_private: bool
    known: dict[str, str]

    def has(self, file: ParcelFile) -> bool:
        """Return whether this very file is there already."""
        found = self.known.get(file.name)
        return found is not None and found in (file.sha256, _git_sha1(file))


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did.

    Attributes:
        url: Where it is to be seen.
        commit: The commit that holds it.
        num_sent: Files that were not there before.
        num_bytes_sent: Their size.
        removed: Files of an earlier push that do not belong to this one.
    """

    url: str
    commit: str
    num_sent: int
    num_bytes_sent: int
    removed: tuple[str, ...]


def saved_token() -> str:
    """Return the token of the Hub's own login on this machine; empty when nobody is logged in."""
    from huggingface_hub import get_token

    return get_token() or ""


def look(parcel: Parcel, *, token: str, endpoint: str | None = None) -> Remote:
    """Return what is there before a push; nothing is sent but the token.

    Args:
        parcel: What is to be pushed.
        token: A token of the Hub.
        endpoint: Address of the Hub; huggingface.co, or `HF_ENDPOINT`, when None.

    Raises:
        ConfigError: The token is not accepted, or the repository is there and seen by more people than it should be.
        EngineError: The Hub does not answer.
    """
    api = _api(token, endpoint)
    try:
        account = str(api.whoami(token=token)["name"])
        info = _info(api, parcel)
    except Exception as error:
        raise _translated(error, parcel, doing="asking the Hub") from error
    if info is not None and not info.private and not parcel.is_public:
        raise ConfigError(
            f"the repository {parcel.repo} is there and public",
            where="--to",
            needed="another name, or --public",
            action="Make it private on its page, or say --public if everybody may see this.",
        )
    private = not parcel.is_public if info is None else bool(info.private)
    return Remote(account, info is not None, private, {} if info is None else _digests(info))


def push(
    parcel: Parcel,
    remote: Remote,
    *,
    token: str,
    endpoint: str | None = None,
    on_file: Callable[[ParcelFile, bool], None] = lambda _file, _is_there: None,
) -> Pushed:
    """Send what is not there yet, and commit all of it.

    Args:
        parcel: What is pushed.
        remote: What `look` has found.
        token: A token of the Hub.
        endpoint: As for `look`.
        on_file: Called after each file with whether it was there before.

    Raises:
        ConfigError: The token may not write there.
        EngineError: The Hub refused or did not answer, or what is there now is not what was sent.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    api = _api(token, endpoint)
    repo_type = REPO_TYPES[parcel.kind]
    removed = stale_files(parcel, remote)
    sent = [file for file in parcel.files if not remote.has(file)]
    try:
        url = api.create_repo(
            parcel.repo,
            repo_type=repo_type,
            private=not parcel.is_public,
            exist_ok=True,
            space_sdk="gradio" if repo_type == "space" else None,
        )
        additions = []
        for file in parcel.files:
            is_there = remote.has(file)
            if not is_there:
                addition = CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=str(file.path))
                addition.upload_info.sha256 = bytes.fromhex(file.sha256)  # tens of GiB need not be read twice
                api.preupload_lfs_files(parcel.repo, [addition], repo_type=repo_type, free_memory=False)
                additions.append(addition)
            on_file(file, is_there)
        deletions = [CommitOperationDelete(path_in_repo=name) for name in removed]
        commit = ""
        if additions or deletions:
            message = f"Push of a {parcel.kind} by duologue"
            done = api.create_commit(parcel.repo, [*additions, *deletions], commit_message=message, repo_type=repo_type)
            commit = done.oid
        info = api.repo_info(parcel.repo, repo_type=repo_type, files_metadata=True)
    except DuologueError:
        raise
    except Exception as error:
        raise _translated(error, parcel, doing="pushing") from error
    _check_arrived(parcel, Remote(remote.account, exists=True, is_private=bool(info.private), known=_digests(info)))
    return Pushed(str(url), commit or str(info.sha), len(sent), sum(file.num_bytes for file in sent), removed)


def stale_files(parcel: Parcel, remote: Remote) -> tuple[str, ...]:
    """Return what an earlier push has left that would spoil this one: shards of another cut, an older wheel."""
    if parcel.kind not in _WHOLE:
        return ()
    names = {file.name for file in parcel.files}
    return tuple(sorted(name for name in remote.known if name not in names and parcel.may_hold(name)))


def _api(token: str, endpoint: str | None) -> "HfApi":
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    disable_progress_bars()
    return HfApi(endpoint=endpoint, token=token, library_name="duologue")


def _info(api: "HfApi", parcel: Parcel) -> Any:  # noqa: ANN401  (one of three classes of the Hub's)
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return api.repo_info(parcel.repo, repo_type=REPO_TYPES[parcel.kind], files_metadata=True)
    except RepositoryNotFoundError as error:
        if error.response.status_code == 401:  # a wrong token, or a repository one may not know of
            raise
        return None


def _digests(info: Any) -> dict[str, str]:  # noqa: ANN401
    digests = {}
    for sibling in info.siblings or ():
        digests[sibling.rfilename] = sibling.lfs.sha256 if sibling.lfs else str(sibling.blob_id)
    return digests


def _git_sha1(file: ParcelFile) -> str:
    """Return the name git has for a small file's content."""
    from huggingface_hub.utils.sha import git_hash

    return str(git_hash(file.path.read_bytes())) if file.num_bytes < 16 * 2**20 else ""


def _check_arrived(parcel: Parcel, remote: Remote) -> None:
    wrong = [file.name for file in parcel.files if not remote.has(file)]
    if wrong:
        raise EngineError(
            f"on the Hub these files are not what was sent: {', '.join(wrong[:5])}",
            where=parcel.repo,
            needed="files with the digests of the export",
            action="Push again; if that does not help, delete the repository on its page first.",
        )


def _translated(error: Exception, parcel: Parcel, *, doing: str) -> DuologueError:
    """Return a sentence for what the Hub's client raised; the answer of the server may be a cause further down."""
    root: BaseException = error
    while getattr(root, "response", None) is None and (root.__cause__ or root.__context__) is not None:
        root = root.__cause__ or root.__context__ or root
    response = getattr(root, "response", None)
    status = int(response.status_code) if response is not None else 0
    owner = parcel.repo.partition("/")[0]
    where = f"{doing} {parcel.repo}" if doing == "pushing" else doing
    said = " ".join(str(getattr(root, "server_message", None) or root).split())[:300]
    if status == 401:
        return ConfigError(
            "the Hub does not accept the token",
            where=where,
            needed=_PERMISSION.format(owner=owner),
            action=f"Make one at {_TOKENS}, and set HF_TOKEN or run: hf auth login",
        )
    if status == 403:
        return ConfigError(
            f"the token may not do this ({said})",
            where=where,
            needed=_PERMISSION.format(owner=owner),
            action=f"Change its permissions at {_TOKENS}, or choose another owner with --to.",
        )
    if status == 413:
        return EngineError(
            f"the Hub says that this is too large ({said})", where=where, action="See the limits of your account."
        )
    if status == 429:
        wait = _wait(response.headers.get("retry-after", "")) if response is not None else ""
        return EngineError("the Hub has had too many requests", where=where, action=f"Wait{wait}. {_AGAIN}")
    if status >= 500:
        return EngineError(f"the Hub has failed (status {status})", where=where, action=f"Try again later. {_AGAIN}")
    if status:
        return EngineError(f"the Hub refused (status {status}: {said})", where=where, action=_AGAIN)
    if _is_connection(root):
        return EngineError(f"the connection failed ({said or type(root).__name__})", where=where, action=_AGAIN)
    return EngineError(f"the Hub's client failed ({type(root).__name__}: {said})", where=where, action=_AGAIN)


def _is_connection(error: BaseException) -> bool:
    """Return whether nobody answered; the client's HTTP library is its own affair, so its classes go by name."""
    names = {cls.__name__ for cls in type(error).__mro__}
    return isinstance(error, OSError) or "TransportError" in names


def _wait(seconds: str) -> str:
    return f" {seconds} seconds" if seconds.isdigit() else " some minutes"


def places(folder: Path, kind: Kind) -> Path:
    """Return where a character's folder keeps an export of this kind."""
    return folder / "exports" / kind
