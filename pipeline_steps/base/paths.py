"""Paths of the pipeline's files, relative to the repository's root.

Stages' outputs are named as in ``dvc.yaml``; a test compares the two. Stages, commands and flows
import their paths from here, so that ``torchrun`` or a test can start a stage as well.
"""

from pathlib import Path

# download
RAW = Path("data/raw")
# prepare
PREPARED = Path("data/prepared")
TRAIN_PAIRS = PREPARED / "train.npy"
VAL_PAIRS = PREPARED / "val.npy"
TEST_PAIRS = PREPARED / "test.npy"
TRAIN_MEAN = PREPARED / "train_mean.npy"
MANIFEST = PREPARED / "manifest.csv"
DATASET = PREPARED / "dataset.json"
SHARDS = PREPARED / "shards.json"
DATA_REPORT = Path("reports/data")
# train
GENERATOR = Path("models/generator.safetensors")
LAST_GENERATOR = Path("models/generator_last.safetensors")
RUN_FILE = Path("models/run.json")
TRAIN_REPORT = Path("reports/train")
HISTORY = TRAIN_REPORT / "history.csv"
STRIPS = TRAIN_REPORT / "strips.png"
TRAINING_METRICS = Path("metrics/training.json")
# evaluate
EVALUATION_REPORT = Path("reports/evaluate")
PER_PICTURE = EVALUATION_REPORT / "per_picture.csv"
HINTS_BY_COUNT = EVALUATION_REPORT / "hints.csv"
RANDOM_GRID = EVALUATION_REPORT / "random.png"
BEST_GRID = EVALUATION_REPORT / "best.png"
WORST_GRID = EVALUATION_REPORT / "worst.png"
EVALUATION_METRICS = Path("metrics/evaluation.json")
TEST_METRICS = Path("metrics/test.json")
# export
EXPORTED_MODEL = Path("models/colorizer")

# working files, outside all stages' outputs, which DVC deletes before a stage runs
DOWNLOAD_WORK = Path(".work/download")
TRAIN_WORK = Path(".work/train")
SHARD_WORK = Path(".work/shards")
INDUCTOR_CACHE = Path(".work/inductor")
RETRAIN_WORK = Path(".work/retrain")
RAY_WORK = Path(".work/ray")
