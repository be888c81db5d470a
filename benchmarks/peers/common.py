"""What every runner shares: the job, the threads, the device, the model, the last line of output."""

import json
import os
import resource
import sys
import time
from importlib.metadata import version
from pathlib import Path

STARTED = time.perf_counter()


def read_job() -> dict:
    """The job, with the thread count set before torch is loaded and no hub to ask.

    Ends here where the job wants a device that this environment's torch does not have: a runner never falls
    back on another.
    """
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(job["threads"])
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    import torch

    if job["device"] == "cuda" and not torch.cuda.is_available():
        raise SystemExit(
            "device cuda: this environment's torch finds none; its list pins torch for processors"
        )
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["settings"].get("seed", 0))
    return job


def load(job: dict, dtype: str = ""):
    """Tokenizer (padding on the left, as generation wants it) and model, on the job's device.

    The weights are in the job's precision, or in `dtype`: who trains keeps float32 weights under autocast.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job["model"], padding_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=dtype or job["dtype"])
    return tokenizer, model.to(job["device"]).eval()


def now() -> float:
    """Seconds of a clock, once the device has done what it was given."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def encode(tokenizer, messages: list[dict]) -> list[int]:
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def num_written(ids: list[int], eos: int) -> int:
    """New tokens up to and with the first EOS."""
    return ids.index(eos) + 1 if eos in ids else len(ids)


def trim(ids: list[int], eos: int) -> list[int]:
    return ids[: num_written(ids, eos)]


def peak_gib() -> float:
    """Largest resident size of this process or of a child that has ended."""
    kib = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return kib / 2**20


def report(seconds: float, read: int, written: int, startup: float, packages: list[str], **detail) -> None:
    sys.stdout.flush()
    print(
        json.dumps(
            {
                "seconds": seconds,
                "read": read,
                "written": written,
                "peak_gib": round(peak_gib(), 3),
                "startup_seconds": startup,
                "versions": {name: version(name) for name in ["torch", *packages]},
                "detail": detail,
            }
        ),
        flush=True,
    )
