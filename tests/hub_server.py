"""A Hugging Face Hub in memory on loopback, so that tests can push to it and load from it.

    with HubServer() as hub:
        subprocess.run([sys.executable, "push.py"], env=hub.env(tmp_path / "pusher"), check=True)
        assert "config.json" in hub.files("org/name")

`huggingface_hub` reads `HF_ENDPOINT` once, at import. So a client is a fresh process started with `env()`, or, inside
the running process, `HfApi(endpoint=hub.url, token=TOKEN)`; there large files need `HF_HUB_DISABLE_XET`, and with Xet
switched on `upload_folder` repeats a refused commit several times, unlike `push_to_hub`.

Served are model and dataset repositories: commits, branches, listings, files, large files (LFS). Every request may
read and write, and every model card is valid. Pull requests, tags, spaces and Xet storage are absent.
"""

import base64
import hashlib
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LFS_THRESHOLD = 4096
"""Files of more bytes than this are large files when the server is started with `lfs=True`."""

TOKEN = "hf_for_tests"
USER = "tester"
"""Owner of the repositories that are created without a namespace."""


class HubError(Exception):
    """A reply other than success; `code` becomes the `X-Error-Code` by which clients choose an exception."""

    def __init__(self, status: HTTPStatus, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Code": code, **headers}


def git_hash(content: bytes) -> str:
    """The id that git gives a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass(frozen=True)
class Blob:
    """One version of one file."""

    content: bytes
    lfs: bool = False

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def etag(self) -> str:
        """What clients compare to find out whether a file has changed; the kind of hash depends on the storage."""
        return self.sha256 if self.lfs else git_hash(self.content)

    def listing(self, path: str) -> dict[str, Any]:
        """The entry of this file in listings of a repository."""
        entry = {"type": "file", "path": path, "size": len(self.content), "oid": self.etag}
        if self.lfs:
            version = "https://git-lfs.github.com/spec/v1"
            pointer = f"version {version}\noid sha256:{self.sha256}\nsize {len(self.content)}\n".encode()
            entry["oid"] = git_hash(pointer)
            entry["lfs"] = {"oid": self.sha256, "size": len(self.content), "pointerSize": len(pointer)}
        return entry


@dataclass(frozen=True)
class Commit:
    """A complete state of a repository: `tree` has all of its files by path."""

    sha: str
    parent: "Commit | None"
    title: str
    tree: dict[str, Blob]
    date: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()))

    def entries(self, folder: str = "", recursive: bool = True) -> list[dict[str, Any]]:
        """Files and folders below `folder`, or only those directly in it."""
        prefix = f"{folder}/" if folder else ""
        entries = {}
        for path, blob in self.tree.items():
            if not path.startswith(prefix):
                continue
            names = path.removeprefix(prefix).split("/")
            for depth in range(1, len(names)):
                parent = prefix + "/".join(names[:depth])
                entries[parent] = {"type": "directory", "path": parent, "size": 0, "oid": git_hash(parent.encode())}
            entries[path] = blob.listing(path)
        return [entry for path, entry in sorted(entries.items()) if recursive or "/" not in path.removeprefix(prefix)]


class Repo:
    """A history that only grows; a branch is a name for one of its commits."""

    def __init__(self, repo_id: str, private: bool = False) -> None:
        self.id, self.private = repo_id, private
        self.commits: dict[str, Commit] = {}
        self.branches: dict[str, str] = {}
        self.commit("main", "initial commit", {})

    def at(self, revision: str) -> Commit:
        """The commit that a branch points at, or that has this full sha."""
        commit = self.commits.get(self.branches.get(revision, revision))
        if commit is None:
            raise HubError(HTTPStatus.NOT_FOUND, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    def commit(self, branch: str, title: str, tree: dict[str, Blob]) -> Commit:
        """Put a new commit on top of `branch`; its sha is new even when `tree` is not."""
        parent = self.at(branch) if self.commits else None
        state = [self.id, parent and parent.sha, title, sorted((path, blob.etag) for path, blob in tree.items())]
        sha = hashlib.sha1(json.dumps(state).encode()).hexdigest()
        self.commits[sha] = Commit(sha, parent, title, tree)
        self.branches[branch] = sha
        return self.commits[sha]


class HubServer:
    """A Hub that lives as long as its `with` block.

    `root` has the initial content, models as `root/org/name/`, datasets as `root/datasets/org/name/`, and is never
    written to. With `lfs`, files above `LFS_THRESHOLD` are uploaded as large files. The next `fail_commits` commits
    are refused with status 503; the attribute counts down and may be set again at any time. Requests that this server
    cannot answer are printed to stderr and kept in `unknown_requests`.
    """

    def __init__(self, root: Path | None = None, *, lfs: bool = False, fail_commits: int = 0) -> None:
        self.lfs = lfs
        self.fail_commits = fail_commits
        self.unknown_requests: list[str] = []
        self.lock = threading.Lock()
        self.repos: dict[tuple[str, str], Repo] = {}
        self.large_files: dict[str, Blob] = {}
        if root is not None:
            self._load(root)
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "HubServer":
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def files(self, repo_id: str, revision: str = "main", repo_type: str = "model") -> dict[str, bytes]:
        """Content of every file of a repository, by path; a revision is a branch or the full sha of a commit."""
        with self.lock:
            tree = self.repo(f"{repo_type}s", repo_id).at(revision).tree
            return {path: blob.content for path, blob in tree.items()}

    def env(self, home: Path) -> dict[str, str]:
        """The whole environment of a client process that talks to this Hub and keeps its caches under `home`."""
        # The settings of whoever runs the tests, such as offline mode or another cache, must not reach the client.
        foreign = ("HF_", "HUGGINGFACE_", "HUGGING_FACE_", "TRANSFORMERS_")
        env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return env | {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home / "huggingface"),
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def repo(self, kind: str, repo_id: str) -> Repo:
        """The repository of this name; `kind` is "models" or "datasets"."""
        if (kind, repo_id) not in self.repos:
            raise HubError(HTTPStatus.NOT_FOUND, "RepoNotFound", f"No {repo_id} among the {kind}")
        return self.repos[kind, repo_id]

    def is_large(self, path: str, size: int) -> bool:
        """Whether a file of this name and size is to be uploaded as a large file."""
        # `Dataset.push_to_hub` deletes each shard before the commit, as Parquet is always large on the real Hub.
        return path.endswith(".parquet") or (self.lfs and size > LFS_THRESHOLD)

    def _load(self, root: Path) -> None:
        for kind, base in (("models", root), ("datasets", root / "datasets")):
            for folder in sorted(path for path in base.glob("*/*") if path.is_dir()):
                repo_id = folder.relative_to(base).as_posix()
                if kind == "models" and repo_id.startswith("datasets/"):
                    continue
                tree = {}
                for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                    content = path.read_bytes()
                    blob = Blob(content, lfs=self.is_large(path.name, len(content)))
                    if blob.lfs:
                        self.large_files[blob.sha256] = blob
                    tree[path.relative_to(folder).as_posix()] = blob
                self.repos[kind, repo_id] = Repo(repo_id)
                self.repos[kind, repo_id].commit("main", "Upload files", tree)


class _Server(ThreadingHTTPServer):
    def __init__(self, hub: HubServer) -> None:
        self.hub = hub
        super().__init__(("127.0.0.1", 0), _Handler)


@dataclass
class Reply:
    """A reply other than JSON with status 200."""

    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    status: HTTPStatus = HTTPStatus.OK


def _json_reply(content: object, status: HTTPStatus = HTTPStatus.OK, **headers: str) -> Reply:
    return Reply(json.dumps(content).encode(), {"Content-Type": "application/json", **headers}, status)


Answer = Reply | dict[str, Any] | list[dict[str, Any]]
ROUTES: list[tuple[str, re.Pattern[str], Callable[..., Answer]]] = []
_REPO = r"(?P<repo_id>[^/]+/[^/]+|[^/]+)"
_API = rf"/api/(?P<kind>models|datasets)/{_REPO}"


def route(method: str, pattern: str) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    """Register a method of `_Handler` for requests of this kind; the groups of `pattern` become its arguments."""

    def register(handle: Callable[..., Answer]) -> Callable[..., Answer]:
        ROUTES.append((method, re.compile(pattern), handle))
        return handle

    return register


class _Handler(BaseHTTPRequestHandler):
    # The default protocol, HTTP/1.0, closes the connection after each reply, so no client stays connected once the
    # server's `with` block has ended.
    server: _Server
    body: bytes
    query: dict[str, list[str]]

    @property
    def hub(self) -> HubServer:
        return self.server.hub

    def answer(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        # HEAD is GET with a reply that lacks its body.
        method = "GET" if self.command == "HEAD" else self.command
        result: Answer
        try:
            for route_method, pattern, handle in ROUTES:
                if route_method == method and (match := pattern.fullmatch(url.path)):
                    arguments = {name: unquote(value or "") for name, value in match.groupdict().items()}
                    with self.hub.lock:
                        result = handle(self, **arguments)
                    break
            else:
                raise self.unknown_request()
        except HubError as error:
            result = _json_reply({"error": str(error)}, error.status, **error.headers)
        if not isinstance(result, Reply):
            result = _json_reply(result)
        self.send_response(result.status)
        for name, value in {"Content-Length": str(len(result.body)), **result.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(result.body)

    do_HEAD = do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent; `unknown_request` prints what a test needs to know."""

    def unknown_request(self) -> HubError:
        request = f"{self.command} {self.path}"
        self.hub.unknown_requests.append(request)
        print(f"hub_server: no answer to {request} {self.body[:200]!r}", file=sys.stderr, flush=True)
        return HubError(HTTPStatus.NOT_FOUND, "UnknownEndpoint", f"This Hub does not know {request}")

    # --- Account ---

    @route("GET", r"/api/whoami-v2")
    def whoami(self) -> Answer:
        return {"type": "user", "name": USER, "fullname": USER, "orgs": [], "auth": {"type": "access_token"}}

    # --- Repositories ---

    @route("POST", r"/api/repos/create")
    def create_repo(self) -> Answer:
        key = self._named_repo()
        prefix = "datasets/" if key[0] == "datasets" else ""
        url = f"{self.hub.url}/{prefix}{key[1]}"
        if key in self.hub.repos:
            # Clients that accept an existing repository read its URL from this refusal.
            return _json_reply({"error": "This repository exists", "url": url}, HTTPStatus.CONFLICT)
        self.hub.repos[key] = Repo(key[1], json.loads(self.body).get("visibility") == "private")
        return {"url": url}

    @route("DELETE", r"/api/repos/delete")
    def delete_repo(self) -> Answer:
        key = self._named_repo()
        self.hub.repo(*key)
        del self.hub.repos[key]
        return Reply()

    def _named_repo(self) -> tuple[str, str]:
        request = json.loads(self.body)
        kind = f"{request.get('type') or 'model'}s"
        if kind not in ("models", "datasets"):
            raise self.unknown_request()
        return kind, f"{request['organization'] or USER}/{request['name']}"

    @route("GET", _API + r"(?:/revision/(?P<revision>[^/]+))?")
    def repo_info(self, kind: str, repo_id: str, revision: str) -> Answer:
        repo = self.hub.repo(kind, repo_id)
        commit = repo.at(revision or "main")
        return {
            "id": repo_id,
            "author": repo_id.split("/")[0],
            "sha": commit.sha,
            "lastModified": commit.date,
            "private": repo.private,
            "gated": False,
            "disabled": False,
            "tags": [],
            "siblings": [{"rfilename": path} for path in commit.tree],
            **self._card_fields(commit),
        }

    @staticmethod
    def _card_fields(commit: Commit) -> dict[str, str]:
        """The fields of the model card by which a client chooses a pipeline when no task is named."""
        card = commit.tree.get("README.md", Blob(b"")).content.decode(errors="replace")
        metadata = re.match(r"---\n(.*?)\n---", card, re.DOTALL)
        if metadata is None:
            return {}
        return dict(re.findall(r"^(pipeline_tag|library_name): *(\S+)$", metadata[1], re.MULTILINE))

    @route("POST", _API + r"/branch/(?P<branch>[^/]+)")
    def create_branch(self, kind: str, repo_id: str, branch: str) -> Answer:
        repo = self.hub.repo(kind, repo_id)
        if branch in repo.branches:
            raise HubError(HTTPStatus.CONFLICT, "BranchExists", f"{branch} exists")
        repo.branches[branch] = repo.at(json.loads(self.body).get("startingPoint", "main")).sha
        return Reply()

    @route("GET", _API + r"/commits/(?P<revision>[^/]+)")
    def list_commits(self, kind: str, repo_id: str, revision: str) -> Answer:
        commit: Commit | None = self.hub.repo(kind, repo_id).at(revision)
        history = []
        while commit is not None:
            history.append(
                {"id": commit.sha, "title": commit.title, "message": "", "date": commit.date, "authors": []}
            )
            commit = commit.parent
        return history

    # --- Reading files ---

    @route("GET", _API + r"/tree/(?P<revision>[^/]+)(?:/(?P<folder>.*))?")
    def list_tree(self, kind: str, repo_id: str, revision: str, folder: str) -> Answer:
        commit = self.hub.repo(kind, repo_id).at(revision)
        entries = commit.entries(folder.rstrip("/"), recursive=self.query.get("recursive") == ["true"])
        if folder and not entries:
            raise HubError(HTTPStatus.NOT_FOUND, "EntryNotFound", f"{folder} does not exist")
        return entries

    @route("POST", _API + r"/paths-info/(?P<revision>[^/]+)")
    def paths_info(self, kind: str, repo_id: str, revision: str) -> Answer:
        wanted = parse_qs(self.body.decode()).get("paths", [])
        return [entry for entry in self.hub.repo(kind, repo_id).at(revision).entries() if entry["path"] in wanted]

    @route("GET", rf"/(?P<kind>datasets/)?{_REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
    def resolve(self, kind: str, repo_id: str, revision: str, path: str) -> Answer:
        commit = self.hub.repo(kind.rstrip("/") or "models", repo_id).at(revision)
        blob = commit.tree.get(path)
        if blob is None:
            message = f"{path} does not exist"
            # Given the commit, clients remember the absence instead of asking again.
            raise HubError(HTTPStatus.NOT_FOUND, "EntryNotFound", message, **{"X-Repo-Commit": commit.sha})
        headers = {
            "Content-Type": "application/octet-stream",
            "X-Repo-Commit": commit.sha,
            "ETag": f'"{blob.etag}"',
            "Accept-Ranges": "bytes",
        }
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if part is None:
            return Reply(blob.content, headers)
        size = len(blob.content)
        start, stop = int(part[1]), min(int(part[2]) + 1 if part[2] else size, size)
        if start >= size:
            message = f"{path} has {size} bytes"
            range_header = {"Content-Range": f"bytes */{size}"}
            raise HubError(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "RangeNotSatisfiable", message, **range_header)
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        return Reply(blob.content[start:stop], headers, HTTPStatus.PARTIAL_CONTENT)

    # --- Writing files ---

    @route("POST", r"/api/validate-yaml")
    def validate_card(self) -> Answer:
        return {"errors": [], "warnings": []}

    @route("POST", _API + r"/preupload/(?P<revision>[^/]+)")
    def preupload(self, kind: str, repo_id: str, revision: str) -> Answer:
        tree = self.hub.repo(kind, repo_id).at(revision).tree
        return {
            "files": [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if self.hub.is_large(file["path"], file["size"]) else "regular",
                    "shouldIgnore": False,
                    # Tells clients that a file has not changed, so that they leave it out of the commit.
                    "oid": tree[file["path"]].etag if file["path"] in tree else None,
                }
                for file in json.loads(self.body)["files"]
            ]
        }

    @route("POST", r"/(?:datasets/)?[^/]+/[^/]+\.git/info/lfs/objects/batch")
    def announce_large_files(self) -> Answer:
        objects = json.loads(self.body)["objects"]
        for item in objects:
            # An object without actions is already on the Hub.
            if item["oid"] not in self.hub.large_files:
                item["actions"] = {"upload": {"href": f"{self.hub.url}/large-files/{item['oid']}"}}
        return {"transfer": "basic", "objects": objects}

    @route("PUT", r"/large-files/(?P<oid>[0-9a-f]{64})")
    def upload_large_file(self, oid: str) -> Answer:
        blob = Blob(self.body, lfs=True)
        if blob.sha256 != oid:
            raise HubError(
                HTTPStatus.BAD_REQUEST, "BadDigest", f"The {len(self.body)} bytes sent do not hash to {oid}"
            )
        self.hub.large_files[oid] = blob
        return Reply()

    @route("POST", _API + r"/commit/(?P<branch>[^/]+)")
    def create_commit(self, kind: str, repo_id: str, branch: str) -> Answer:
        repo = self.hub.repo(kind, repo_id)
        if "create_pr" in self.query:
            raise self.unknown_request()
        if self.hub.fail_commits > 0:
            self.hub.fail_commits -= 1
            raise HubError(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable", "This commit is meant to fail")
        if branch not in repo.branches:
            raise HubError(HTTPStatus.NOT_FOUND, "RevisionNotFound", f"No branch {branch}")
        head = repo.at(branch)
        header, *operations = (json.loads(line) for line in self.body.splitlines())
        if not head.sha.startswith(header["value"].get("parentCommit", "")):
            raise HubError(HTTPStatus.PRECONDITION_FAILED, "Conflict", f"{branch} has moved on to {head.sha}")
        tree = dict(head.tree)
        for operation in operations:
            self._apply(operation["key"], operation["value"], tree)
        commit = repo.commit(branch, header["value"]["summary"], tree)
        prefix = "datasets/" if kind == "datasets" else ""
        return {"commitUrl": f"{self.hub.url}/{prefix}{repo_id}/commit/{commit.sha}", "commitOid": commit.sha}

    def _apply(self, key: str, value: dict[str, Any], tree: dict[str, Blob]) -> None:
        path = value["path"].rstrip("/")
        if key == "file":
            tree[path] = Blob(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            if value["oid"] not in self.hub.large_files:
                raise HubError(HTTPStatus.BAD_REQUEST, "LfsObjectNotFound", f"{path} was not uploaded")
            tree[path] = self.hub.large_files[value["oid"]]
        elif key in ("deletedFile", "deletedFolder"):
            in_folder = key == "deletedFolder"
            deleted = [name for name in tree if (name.startswith(f"{path}/") if in_folder else name == path)]
            if not deleted:
                raise HubError(HTTPStatus.NOT_FOUND, "EntryNotFound", f"A file with this name doesn't exist: {path}")
            for name in deleted:
                del tree[name]
        else:
            raise self.unknown_request()
