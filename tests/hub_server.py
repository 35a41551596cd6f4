"""A small server on the loopback that speaks as much of the Hugging Face Hub's protocol as Melformer uses.

Repositories of models and Spaces live in memory: commits, tags, ordinary files and LFS files (which, as on the real
Hub, are served from another host name). Faults can be set: a gated repository, downloads that break off.
"""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]
TOKEN = "hf_a_token_that_may_write"


@dataclass
class Repo:
    """Commits are whole trees, oldest first; refs are branches and tags."""

    commits: list[tuple[str, Files]] = field(default_factory=list)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False

    def commit(self, files: Files) -> str:
        sha = hashlib.sha1(f"{len(self.commits)}{sorted(files)}".encode()).hexdigest()
        self.commits.append((sha, files))
        self.refs["main"] = sha
        return sha

    def tree(self, revision: str) -> tuple[str, Files] | None:
        sha = self.refs.get(revision, revision)
        return next((commit for commit in self.commits if commit[0] == sha), None)


class HubServer(ThreadingHTTPServer):
    """Serve with `start()`, forget everything with `reset()`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.reset()

    def reset(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.lfs: dict[str, bytes] = {}
        self.log: list[str] = []
        self.ranges: list[str] = []
        self.break_off_after: list[int] = []  # bytes that each of the next downloads gets before it breaks

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that a test breaks off is no news."""


def is_lfs(path: str) -> bool:
    return path.endswith(".safetensors")


def git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """One request; every route is a method, found in ROUTES."""

    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        self.server.log.append(f"{self.command} {urlsplit(self.path).path}")

    def do_GET(self) -> None:
        self.route()

    do_HEAD = do_POST = do_PUT = do_GET

    def route(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        for method, pattern, action in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and self.command in method.split():
                return action(self, *match.groups())
        self.error(404, "EntryNotFound")

    def reply(self, status: int, data: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def json(self, value: object) -> None:
        self.reply(200, json.dumps(value).encode(), Content_Type="application/json")

    def error(self, status: int, code: str) -> None:
        self.reply(status, b"{}", X_Error_Code=code, X_Error_Message=code)

    def repo(self, name: str, *, write: bool = False) -> Repo | None:
        """The repository, or None after an error has been answered."""
        repo = self.server.repos.get(name)
        may = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repo is None:
            self.error(401, "RepoNotFound")
        elif write and not may:
            self.error(403, "Forbidden")
        elif repo.gated and not may:
            self.error(403, "GatedRepo")
        else:
            return repo
        return None

    def create(self) -> None:
        body = json.loads(self.body)
        name = f"{body['organization']}/{body['name']}" if body.get("organization") else f"me/{body['name']}"
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.error(401, "Unauthorized")
        if name in self.server.repos:
            return self.reply(409, json.dumps({"url": f"{self.server.url}/{name}"}).encode())
        self.server.repos[name] = Repo()
        self.server.repos[name].commit({".gitattributes": b""})
        self.json({"url": f"{self.server.url}/{name}"})

    def validate_yaml(self) -> None:
        self.json({"errors": [], "warnings": []})

    def preupload(self, name: str, revision: str) -> None:
        repo = self.repo(name, write=True)
        if repo is None:
            return
        tree = repo.tree(revision)
        standing = tree[1] if tree else {}
        answer = []
        for file in json.loads(self.body)["files"]:
            path, data = file["path"], standing.get(file["path"])
            mode = "lfs" if is_lfs(path) else "regular"
            entry = {"path": path, "uploadMode": mode, "shouldIgnore": False}
            if data is not None:
                entry["oid"] = hashlib.sha256(data).hexdigest() if mode == "lfs" else git_hash(data)
            answer.append(entry)
        self.json({"files": answer})

    def lfs_batch(self, name: str) -> None:
        if self.repo(name, write=True) is None:
            return
        objects = json.loads(self.body)["objects"]
        for item in objects:
            if item["oid"] not in self.server.lfs:
                item["actions"] = {"upload": {"href": f"{self.server.url}/upload/{item['oid']}"}}
        self.json({"transfer": "basic", "objects": objects})

    def upload(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            return self.error(400, "WrongHash")
        self.server.lfs[oid] = self.body
        self.reply(200)

    def commit(self, name: str, revision: str) -> None:
        repo = self.repo(name, write=True)
        if repo is None:
            return
        tree = repo.tree(revision)
        files = dict(tree[1]) if tree else {}
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                files[value["path"]] = self.server.lfs[value["oid"]]
            elif item["key"] == "deletedFile":
                del files[value["path"]]
        sha = repo.commit(files)
        self.json({"commitUrl": f"{self.server.url}/{name}/commit/{sha}", "commitOid": sha})

    def tag(self, name: str, revision: str) -> None:
        repo = self.repo(name, write=True)
        tree = repo.tree(revision) if repo else None
        if repo is not None and tree is not None:
            repo.refs[json.loads(self.body)["tag"]] = tree[0]
            self.reply(200)

    def found(self, name: str, revision: str) -> tuple[str, Files] | None:
        repo = self.repo(name)
        tree = repo.tree(revision) if repo else None
        if repo is not None and tree is None:
            self.error(404, "RevisionNotFound")
        return tree

    def info(self, name: str, revision: str | None = None) -> None:
        tree = self.found(name, revision or "main")
        if tree:
            self.json({"id": name, "sha": tree[0], "siblings": [{"rfilename": path} for path in tree[1]]})

    def list_tree(self, name: str, revision: str) -> None:
        tree = self.found(name, revision)
        if tree is None:
            return
        entries = []
        for path, data in tree[1].items():
            entry: dict[str, object] = {"type": "file", "path": path, "size": len(data)}
            entry["oid"] = git_hash(data)
            if is_lfs(path):
                oid = hashlib.sha256(data).hexdigest()
                entry["lfs"] = {"oid": oid, "size": len(data), "pointerSize": 134}
            entries.append(entry)
        self.json(entries)

    def resolve(self, name: str, revision: str, path: str) -> None:
        tree = self.found(name, revision)
        if tree is None:
            return
        if path not in tree[1]:
            return self.error(404, "EntryNotFound")
        data = tree[1][path]
        if not is_lfs(path):
            return self.reply(200, data, X_Repo_Commit=tree[0], ETag=f'"{git_hash(data)}"')
        oid = hashlib.sha256(data).hexdigest()
        other_host = f"http://localhost:{self.server.server_port}"  # so that a token must not follow there
        self.server.lfs.setdefault(oid, data)
        self.reply(302, X_Repo_Commit=tree[0], X_Linked_Etag=f'"{oid}"', X_Linked_Size=str(len(data)),
                   ETag=f'"{git_hash(data)}"', Location=f"{other_host}/cdn/{oid}")  # fmt: skip

    def cdn(self, oid: str) -> None:
        if self.headers.get("Authorization"):
            return self.error(400, "TokenSentToAnotherHost")
        data, status, start = self.server.lfs[oid], 200, 0
        if wanted := self.headers.get("Range"):
            self.server.ranges.append(wanted)
            start, status = int(re.findall(r"\d+", wanted)[0]), 206
        part = data[start:]
        if not self.server.break_off_after:
            span = {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if status == 206 else {}
            return self.reply(status, part, **span)
        self.send_response(status)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part[: self.server.break_off_after.pop(0)])
        self.close_connection = True


NAME = r"([\w.-]+/[\w.-]+)"
KIND = "(?:models|spaces)"
ROUTES = [
    ("POST", r"/api/repos/create", Handler.create),
    ("POST", r"/api/validate-yaml", Handler.validate_yaml),
    ("POST", rf"/api/{KIND}/{NAME}/preupload/([^/]+)", Handler.preupload),
    ("POST", rf"(?:/spaces)?/{NAME}\.git/info/lfs/objects/batch", Handler.lfs_batch),
    ("PUT", r"/upload/(\w+)", Handler.upload),
    ("POST", rf"/api/{KIND}/{NAME}/commit/([^/]+)", Handler.commit),
    ("POST", rf"/api/{KIND}/{NAME}/tag/([^/]+)", Handler.tag),
    ("GET", rf"/api/{KIND}/{NAME}", Handler.info),
    ("GET", rf"/api/{KIND}/{NAME}/revision/([^/]+)", Handler.info),
    ("GET", rf"/api/{KIND}/{NAME}/tree/([^/]+)", Handler.list_tree),
    ("GET HEAD", rf"/{NAME}/resolve/([^/]+)/(.+)", Handler.resolve),
    ("GET", r"/cdn/(\w+)", Handler.cdn),
]
