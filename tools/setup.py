"""Make the project's virtual environment: `python3 tools/setup.py`, as every `make` target does.

Needs only Python 3.11 or later. It makes .venv and installs uv there; uv then installs exactly
constraints.txt. If uv cannot be installed, pip does the same more slowly. uv does not read pip's
configuration, so pip's indexes, find-links and certificates are passed to it. A stamp file lets the
next call end in milliseconds, without a network. It is written last, so an interrupted installation
is repeated.
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
    """Install what is missing; returns the exit status."""
    if sys.version_info < OLDEST:
        version = ".".join(map(str, sys.version_info[:3]))
        print(
            f"refit: Python {version} is too old. Expected 3.11 or later. To fix it: install one"
            " and run `make PYTHON=python3.11`",
            file=sys.stderr,
        )
        return 1
    expected = fingerprint()
    if PYTHON.exists() and STAMP.exists() and STAMP.read_text(encoding="utf-8") == expected:
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
            " To fix it: check that pip reaches its index, then run the same command again",
            file=sys.stderr,
        )
        return 1
    STAMP.write_text(expected, encoding="utf-8")
    return 0


def fingerprint() -> str:
    """The digest of everything that the installation depends on."""
    digest = hashlib.sha256(sys.version.encode())
    for name in INPUTS:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def install() -> None:
    """Install the pinned packages, then the project itself as editable."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pinned = ["-r", str(ROOT / "constraints.txt")]
    project = ["--no-deps", "--no-build-isolation", "-e", str(ROOT)]
    if install_uv(pip, environment):
        uv = [str(PYTHON), "-m", "uv", "pip", "install", "--python", str(PYTHON)]
        uv_variables = {**environment, **uv_environment(pip_options())}
        print(
            "installing the pinned packages with uv (about a minute the first time) ...", flush=True
        )
        if subprocess.run([*uv, *pinned], cwd=ROOT, env=uv_variables, check=False).returncode == 0:
            subprocess.run([*uv, "--quiet", *project], cwd=ROOT, env=uv_variables, check=True)
            return
        print("uv could not install them; trying pip", flush=True)
    print("installing the pinned packages with pip (some minutes) ...", flush=True)
    subprocess.run([*pip, *pinned], cwd=ROOT, env=environment, check=True)
    subprocess.run([*pip, *project], cwd=ROOT, env=environment, check=True)


def install_uv(pip: list[str], environment: dict[str, str]) -> bool:
    """Install the pinned uv; returns whether that worked."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pin = next(line for line in lines if line.startswith("uv=="))
    return subprocess.run([*pip, pin], cwd=ROOT, env=environment, check=False).returncode == 0


def pip_options() -> dict[str, str]:
    """Pip's configuration from its files and PIP_* variables; a variable overrides a file."""
    listing = subprocess.run(
        [str(PYTHON), "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    options: dict[str, str] = {}
    from_environment: dict[str, str] = {}
    for line in listing.stdout.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        target = from_environment if section == ":env:" else options
        target[key] = str(ast.literal_eval(value))
    return options | from_environment


def uv_environment(options: dict[str, str]) -> dict[str, str]:
    """Pip's options as uv's variables; with best-match uv chooses among indexes as pip does."""
    variables = {"UV_INDEX_STRATEGY": "unsafe-best-match", "UV_LINK_MODE": "copy"}
    names = {
        "index-url": "UV_DEFAULT_INDEX",
        "extra-index-url": "UV_INDEX",
        "trusted-host": "UV_INSECURE_HOST",
        "cert": "SSL_CERT_FILE",
        "proxy": "ALL_PROXY",
    }
    variables |= {uv: " ".join(options[key].split()) for key, uv in names.items() if key in options}
    if "find-links" in options:
        variables["UV_FIND_LINKS"] = ",".join(options["find-links"].split())
    if options.get("no-index", "").lower() in {"1", "true", "yes", "on"}:
        variables["UV_NO_INDEX"] = "1"
    if "default-timeout" in options or "timeout" in options:
        variables["UV_HTTP_TIMEOUT"] = options.get("timeout") or options["default-timeout"]
    return variables


if __name__ == "__main__":
    sys.exit(main())
