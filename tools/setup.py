"""Set the project's virtual environment up: `python3 tools/setup.py`, as `make` does.

Runs on a bare Python 3.11 or later. It makes .venv, puts uv into it, and has uv install exactly
constraints.txt; where uv cannot be had, pip does the same more slowly. uv does not read pip's
configuration, so indexes, find-links and certificates are handed over: an index that offers a CPU
build of torch is then used as pip would. A stamp makes the next call a matter of milliseconds and
needs no network; it is written last, so an interrupted installation is taken up again.
"""

import ast
import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "refit-setup.stamp"
INPUTS = ("constraints.txt", "pyproject.toml", "tools/setup.py")
OLDEST = (3, 11)


def main() -> int:
    """Install what is not installed yet; returns the exit status."""
    if sys.version_info < OLDEST:
        found = ".".join(map(str, sys.version_info[:3]))
        print(
            f"refit: Python {found} is too old. Expected 3.11 or later. To mend it: install one"
            " and run `make PYTHON=python3.11`",
            file=sys.stderr,
        )
        return 1
    wanted = fingerprint()
    if PYTHON.exists() and STAMP.exists() and STAMP.read_text(encoding="utf-8") == wanted:
        return 0
    STAMP.unlink(missing_ok=True)
    if not PYTHON.exists():
        print("making .venv ...", flush=True)
        venv.create(VENV, clear=True)
    try:
        subprocess.run([PYTHON, "-m", "ensurepip"], check=True, stdout=subprocess.DEVNULL)
        install()
    except subprocess.CalledProcessError as error:
        print(
            f"refit: the installation failed (status {error.returncode}); the lines above say why."
            " To mend it: see that pip can reach its index, then run the same command again",
            file=sys.stderr,
        )
        return 1
    STAMP.write_text(wanted, encoding="utf-8")
    return 0


def fingerprint() -> str:
    """A digest of everything that the installation depends on."""
    whole = hashlib.sha256(sys.version.encode())
    for name in INPUTS:
        whole.update((ROOT / name).read_bytes())
    return whole.hexdigest()


def install() -> None:
    """The pinned set, then the project itself, editable."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pinned = ["-r", str(ROOT / "constraints.txt")]
    project = ["--no-deps", "--no-build-isolation", "-e", str(ROOT)]
    if have_uv(pip, environment):
        uv = [str(PYTHON), "-m", "uv", "pip", "install", "--python", str(PYTHON)]
        told = {**environment, **uv_environment(pip_options())}
        print(
            "installing the pinned packages with uv (about a minute the first time) ...", flush=True
        )
        if subprocess.run([*uv, *pinned], cwd=ROOT, env=told, check=False).returncode == 0:
            subprocess.run([*uv, "--quiet", *project], cwd=ROOT, env=told, check=True)
            return
        print("uv could not install them; trying pip", flush=True)
    print("installing the pinned packages with pip (some minutes) ...", flush=True)
    subprocess.run([*pip, *pinned], cwd=ROOT, env=environment, check=True)
    subprocess.run([*pip, *project], cwd=ROOT, env=environment, check=True)


def have_uv(pip: list[str], environment: dict[str, str]) -> bool:
    """Put the pinned uv into the environment."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pin = next(line for line in lines if line.startswith("uv=="))
    return subprocess.run([*pip, pin], cwd=ROOT, env=environment, check=False).returncode == 0


def pip_options() -> dict[str, str]:
    """What pip is configured with, from its files and PIP_* variables; the environment wins."""
    listed = subprocess.run(
        [str(PYTHON), "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    options: dict[str, str] = {}
    from_environment: dict[str, str] = {}
    for line in listed.stdout.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        target = from_environment if section == ":env:" else options
        target[key] = str(ast.literal_eval(value))
    return options | from_environment


def uv_environment(options: dict[str, str]) -> dict[str, str]:
    """Pip's options as uv's variables; best-match is how pip chooses among several indexes."""
    told = {"UV_INDEX_STRATEGY": "unsafe-best-match", "UV_LINK_MODE": "copy"}
    names = {
        "index-url": "UV_DEFAULT_INDEX",
        "extra-index-url": "UV_INDEX",
        "trusted-host": "UV_INSECURE_HOST",
        "cert": "SSL_CERT_FILE",
        "proxy": "ALL_PROXY",
    }
    told |= {uv: " ".join(options[key].split()) for key, uv in names.items() if key in options}
    if "find-links" in options:
        told["UV_FIND_LINKS"] = ",".join(options["find-links"].split())
    if options.get("no-index", "").lower() in {"1", "true", "yes", "on"}:
        told["UV_NO_INDEX"] = "1"
    if "default-timeout" in options or "timeout" in options:
        told["UV_HTTP_TIMEOUT"] = options.get("timeout") or options["default-timeout"]
    return told


if __name__ == "__main__":
    sys.exit(main())
