"""Trains the demo model on synthetic data, on the CPU, until a time of the clock or for a number of steps.

    python speech.py --out BANKS                      # the spoken words, once
    python train.py --banks BANKS --work DIR --minutes 90
    python train.py --banks BANKS --work DIR --resume --minutes 60 --peak 1e-3

The learning rate rises over the first steps and falls along a cosine to nearly nothing at the end of the run, measured in
time (`--minutes`) or in steps (`--steps`, repeatable from the seed). A checkpoint holds the weights, the optimiser and the
number of steps; `--resume` continues from it with a new schedule, or from the exported weights if there is no checkpoint.
"""

import argparse
import math
import os
import pathlib
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("KMP_BLOCKTIME", "0")

import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

import export  # noqa: E402
import model as demo  # noqa: E402
import samples  # noqa: E402


class Stream(torch.utils.data.IterableDataset):
    """The packed batches, made in a process of its own."""

    def __init__(self, banks, seed, positions):
        self.arguments = (banks, seed, positions)

    def __iter__(self):
        banks, seed, positions = self.arguments
        torch.set_num_threads(1)
        return samples.batches(samples.Skills(banks), seed, positions)


def parameter_groups(model):
    """Adam moves every weight by about the learning rate: inputs of many features get a smaller one."""
    groups = {"matrix": [], "vector": [], "patch": [], "audio": []}
    for name, parameter in model.named_parameters():
        if "patch_dense.weight" in name:
            groups["patch"].append(parameter)
        elif "embed_audio" in name:
            groups["audio"].append(parameter)
        elif parameter.ndim < 2 or "embed" in name:
            groups["vector"].append(parameter)
        else:
            groups["matrix"].append(parameter)
    factor = {"matrix": 1.0, "vector": 1.0, "patch": 0.2, "audio": 0.4}
    decay = {"matrix": 0.05, "vector": 0.0, "patch": 0.05, "audio": 0.0}
    return [{"params": p, "factor": factor[n], "weight_decay": decay[n]} for n, p in groups.items()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--banks", required=True)
    parser.add_argument("--work", required=True, type=pathlib.Path, help="checkpoints and logs")
    parser.add_argument("--out", type=pathlib.Path, default=export.MODEL_DIR)
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float)
    length.add_argument("--steps", type=int)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--positions", type=int, default=2048)
    parser.add_argument("--peak", type=float, default=1.5e-3, help="highest learning rate")
    parser.add_argument("--warmup", type=int, default=150, help="steps")
    parser.add_argument("--save-every", type=float, default=6.0, help="minutes")
    options = parser.parse_args()
    torch.set_num_threads(2)
    options.work.mkdir(parents=True, exist_ok=True)

    tokenizer = samples.Tokenizer.from_file(str(options.out / "tokenizer.json"))
    model = demo.make_model(demo.make_config(tokenizer), options.seed)
    optimiser = torch.optim.AdamW(parameter_groups(model), lr=options.peak, betas=(0.9, 0.98), fused=True)
    checkpoint = options.work / "checkpoint.pt"
    done = 0
    if options.resume and checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        for group, fresh in zip(optimiser.param_groups, parameter_groups(model)):
            group.update({k: v for k, v in fresh.items() if k != "params"})
        done = saved["step"]
    elif options.resume:
        model.load_state_dict(load_file(options.out / "model.safetensors"), strict=False)
    model.tie_weights()
    model.config._attn_implementation = model.model.language_model.config._attn_implementation = "packed"
    for layer in model.model.language_model.layers:
        layer.compile()

    stream = torch.utils.data.DataLoader(Stream(options.banks, options.seed * 1000 + done, options.positions),
                                         batch_size=None, num_workers=1, prefetch_factor=6)
    names = list(samples.SKILLS)
    log = open(options.work / "log.csv", "a")
    if log.tell() == 0:
        print("step,minutes,rate," + ",".join(names), file=log, flush=True)
    sums = torch.zeros(len(names))
    counts = torch.zeros(len(names))
    begin = saved_at = time.monotonic()

    def save(step):
        torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step},
                   checkpoint.with_suffix(".new"))
        checkpoint.with_suffix(".new").replace(checkpoint)
        export.write_weights(options.out, model.state_dict())

    for step, batch in enumerate(stream):
        minutes = (time.monotonic() - begin) / 60
        progress = step / options.steps if options.steps else minutes / options.minutes
        if progress >= 1:
            break
        rate = options.peak * min((step + 1) / options.warmup, 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        hidden = demo.packed_hidden(model, batch)
        losses = demo.answer_loss(model, hidden, batch)
        loss = (losses * batch["weights"]).sum() / batch["weights"].sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        sums.index_add_(0, batch["skill"], losses.detach())
        counts.index_add_(0, batch["skill"], torch.ones_like(losses))
        if step % 50 == 49:
            means = (sums / counts.clamp(min=1)).tolist()
            print(f"{done + step + 1},{minutes:.2f},{rate:.6f}," + ",".join(f"{m:.4f}" for m in means), file=log, flush=True)
            sums.zero_()
            counts.zero_()
        if time.monotonic() - saved_at > options.save_every * 60:
            saved_at = time.monotonic()
            save(done + step + 1)
    save(done + step)
    print(f"finished after {done + step} steps")


if __name__ == "__main__":
    main()
