"""Training of evsam models; installed as ``evsam.training``. Needs the extra ``train``."""

from importlib import import_module

from evsam.errors import BackendUnavailable

for _package in ("torch", "scipy", "tqdm", "pycocotools", "pydantic", "yaml"):
    try:
        import_module(_package)
    except ImportError as error:  # noqa: PERF203 - six imports, once
        raise BackendUnavailable(f"evsam.training needs {_package}; use pip install 'evsam[train]'") from error
