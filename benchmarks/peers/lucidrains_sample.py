"""The sampling function of self-rewarding-lm-pytorch around the same model; a few items are enough."""

import time

from common import STARTED, encode, load, num_written, read_job, report


def bare(model, stand_in: int):
    """The model as that library calls it: ids in, logits out, no mask and no cache.

    It reads a token's logits at the token's own place: they move by one. A chat prompt holds EOS after every
    turn and the library takes any EOS for the end: prompts may come with ``stand_in`` for it.
    """
    import torch

    eos = model.config.eos_token_id

    class Bare(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids):
            logits = self.model(input_ids=ids.masked_fill(ids == stand_in, eos), use_cache=False).logits
            return torch.nn.functional.pad(logits, (0, 0, 1, -1))

    return Bare()


def main() -> None:
    job = read_job()
    settings = job["settings"]
    import torch
    from self_rewarding_lm_pytorch.sampling_utils import sample, top_p

    tokenizer, model = load(job)
    eos, stand_in = tokenizer.eos_token_id, model.config.vocab_size
    net = bare(model, stand_in)

    def answers(rows: list[list[int]], max_tokens: int) -> list[list[int]]:
        """New ids of each row; rows of one length, as the function counts the prompt's tokens too."""
        given = torch.tensor(rows, device=job["device"])
        out = sample(
            net,
            given.masked_fill(given == eos, stand_in),
            len(rows[0]) + max_tokens,
            temperature=settings["temperature"],
            filter_fn=top_p,
            filter_kwargs={"thres": settings["top_p"]},
            eos_id=eos,
            output_keep_prompt=True,
        )
        return [[i for i in ids[len(rows[0]) :].tolist() if i >= 0] for ids in out]

    hello = encode(tokenizer, [{"role": "user", "content": "Hello."}])
    answers([hello], 2)
    startup = time.perf_counter() - STARTED
    started = time.perf_counter()
    prompts = [encode(tokenizer, item["messages"]) for item in job["items"]]
    texts, written = [], 0
    for ids, item in zip(prompts, job["items"], strict=True):
        for new in answers([ids] * item["n"], settings["max_tokens"]):
            written += num_written(new, eos)
            texts.append(tokenizer.decode(new))
    report(
        time.perf_counter() - started,
        sum(map(len, prompts)),
        written,
        startup,
        ["self-rewarding-lm-pytorch", "transformers"],
        note="a prompt's answers are one batch; every token runs the model over the whole text again",
        items=len(prompts),
        first=texts[0][:200],
    )


if __name__ == "__main__":
    main()
