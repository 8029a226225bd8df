"""Where everything lies in a project, relative to its root; each path is written here once.

`data/` holds what the stages of dvc.yaml read and write. `.refit/` is the state of this clone. It
is not in Git, and a fresh clone starts without it.
"""

from pathlib import Path

PARAMS = Path("params.yaml")
DVC_YAML = Path("dvc.yaml")
DVC_LOCK = Path("dvc.lock")
CONSTRAINTS = Path("constraints.txt")
ALLOWED_SIGNERS = Path("allowed_signers")

RAW = Path("data/raw")
VALIDATED = Path("data/validated")
QUARANTINE = Path("data/quarantine")
VALIDATION = Path("data/validation.json")
PREPARED = Path("data/prepared")
HOLDOUT = PREPARED / "holdout.parquet"
BASELINE = Path("data/baseline")
MODEL = Path("data/model")
TRAINING = MODEL / "training.json"
VALIDATION_PREDICTIONS = MODEL / "validation.npy"
"""Of the model that had not seen the validation part."""
RELEASE = MODEL / "release"
"""The release fit; there only with `train.release: all`."""
EVALUATION = Path("data/evaluation")
PREDICTIONS = EVALUATION / "predictions.parquet"
RELEASE_PREDICTIONS = EVALUATION / "release.parquet"
"""Of the same rows by the release fit, which has learnt them."""
METRICS = EVALUATION / "metrics.json"
SLICES = EVALUATION / "slices.json"
PLOTS = EVALUATION / "plots"
BUNDLE = Path("data/bundle")

STATE = Path(".refit")
CHECKPOINTS = STATE / "checkpoints"
TIMINGS = STATE / "executions.jsonl"
SERVERS = STATE / "servers.json"
SERVERS_LOCK = STATE / "servers.lock"
LOGS = STATE / "logs"
PREFECT = STATE / "prefect"
MLFLOW = STATE / "mlflow.db"
MLFLOW_LOCK = STATE / "mlflow.lock"
ARTIFACTS = STATE / "mlartifacts"
BUNDLES = STATE / "bundles"
UNCHANGED = STATE / "unchanged.json"
REGISTRY_LOCK = STATE / "registry.lock"

DVC_TEMPORARY = Path(".dvc/tmp")
RUN_LOCK = DVC_TEMPORARY / "refit.lock"
RWLOCK = DVC_TEMPORARY / "rwlock"
CUT_LOCK = DVC_TEMPORARY / "dvc.lock.cut"
