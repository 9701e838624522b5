"""The comments of a change, as the REST interfaces of both forges serve them; GitHub's identity tokens."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GITHUB = {"login": "github-actions[bot]"}
GITLAB = {"id": 11}
PLACE = re.compile(
    r"/repos/brightpost/fleet/issues/(7/comments|comments/\d+)|/projects/1/merge_requests/7/notes(/\d+)?"
)


class Comments:
    """A server on loopback. `all` are the comments of the change, oldest first."""

    def __init__(self):
        self.all, self.requests, self.status = [], [], 200
        forge = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self):
                length = int(self.headers.get("Content-Length", 0))
                data = json.loads(self.rfile.read(length) or "null")
                forge.requests.append((self.command, self.path, dict(self.headers)))
                status = forge.status
                answer = forge.answer(self.command, self.path, data) if status == 200 else {}
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = _answer  # noqa: N815 - their names

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, method, path, data):
        if path == "/user":
            return GITLAB
        if path.startswith("/token"):
            assert path.endswith("&audience=sts.amazonaws.com")
            return {"value": "a-token-of-the-job"}
        assert PLACE.fullmatch(path.partition("?")[0]), path
        if method == "GET":
            page = int(re.search(r"[?&]page=(\d+)", path)[1])
            return self.all[100 * (page - 1) : 100 * page]
        if method == "POST":
            return self.write(data["body"])
        comment = next(one for one in self.all if one["id"] == int(path.rpartition("/")[2]))
        comment["body"] = data["body"]
        return comment

    def write(self, body, user=None, author=None):
        """Let somebody comment: by default, us."""
        number = len(self.all) + 1
        self.all.append(
            {
                "id": number,
                "body": body,
                "user": user or GITHUB,
                "author": author or GITLAB,
                "html_url": f"https://forge.example/comment/{number}",
            }
        )
        return self.all[-1]

    def close(self):
        self._server.shutdown()
        self._server.server_close()
