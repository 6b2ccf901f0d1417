"""Trains the demo model on synthetic data, on the CPU, for a time or for a number of steps.

    python speech.py --out BANKS                      # the spoken words, once
    python train.py --banks BANKS --work DIR --minutes 90
    python train.py --banks BANKS --work DIR --resume --minutes 60 --peak 1e-3

The learning rate rises over the first steps and falls along a cosine to nearly nothing at the end of the run, measured in
time (`--minutes`) or in steps (`--steps`, repeatable from the seed). A checkpoint holds the weights, the optimiser and the
number of steps; `--resume` continues from it with a new schedule, or from the exported weights if there is no checkpoint. SIGUSR1 saves at once.

With `--helper` a second process trains on batches of its own whenever a core is idle. Both change the same weights in
shared memory without waiting for each other, each with its own Adam moments; the result is no longer repeatable.
"""

import argparse
import math
import os
import pathlib
import signal
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

    def __init__(self, banks, seed, positions, easy, ease):
        self.arguments = (banks, seed, positions, easy, ease)

    def __iter__(self):
        banks, seed, positions, easy, ease = self.arguments
        torch.set_num_threads(1)
        return samples.batches(samples.Skills(banks), seed, positions, easy, ease)


def parameter_groups(model):
    """Adam moves every weight by about the learning rate: inputs of many features get a smaller one."""
    groups = {"matrix": [], "vector": [], "token": [], "patch": [], "audio": []}
    for name, parameter in model.named_parameters():
        if "patch_dense.weight" in name:
            groups["patch"].append(parameter)
        elif "embed_audio" in name:
            groups["audio"].append(parameter)
        elif "embed_tokens" in name:
            groups["token"].append(parameter)
        elif parameter.ndim < 2 or "pos_embedding" in name:
            groups["vector"].append(parameter)
        else:
            groups["matrix"].append(parameter)
    factor = {"matrix": 1.0, "vector": 1.0, "token": 0.6, "patch": 0.4, "audio": 0.5}
    decay = {"matrix": 0.05, "vector": 0.0, "token": 0.0, "patch": 0.05, "audio": 0.0}
    return [{"params": p, "factor": factor[n], "weight_decay": decay[n]} for n, p in groups.items()]


def learning_rate(options, step, begin):
    """Rate for a step and the part of the run that has passed (1 and more: over)."""
    progress = step / options.steps if options.steps else (time.monotonic() - begin) / 60 / options.minutes
    fall = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1)))
    return options.peak * min((step + 1) / options.warmup, fall), progress


def prepare(model, options, seed):
    """The optimiser and the stream of batches; compiles the layers."""
    optimiser = torch.optim.AdamW(parameter_groups(model), lr=options.peak, betas=(0.9, 0.99), fused=True)
    model.config._attn_implementation = model.model.language_model.config._attn_implementation = "packed"
    for layer in model.model.language_model.layers:
        layer.compile()
    stream = torch.utils.data.DataLoader(Stream(options.banks, seed, options.positions, options.easy, options.ease), batch_size=None, num_workers=1,
                                         prefetch_factor=6)
    return optimiser, stream


def train_step(model, optimiser, batch, rate):
    """One update; returns the loss of every answer token, nats."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["factor"]
    hidden = demo.packed_hidden(model, batch)
    losses = demo.answer_loss(model, hidden, batch)
    ((losses * batch["weights"]).sum() / batch["weights"].sum()).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return losses.detach()


def help_training(shared, options, seed, begin):
    """The helper process: `shared` maps parameter names to the weights in shared memory."""
    os.setsid()  # a scheduling group of its own, at low priority in it and as a whole
    os.setpriority(os.PRIO_PROCESS, 0, 5)
    autogroup = pathlib.Path("/proc/self/autogroup")
    if autogroup.exists():
        autogroup.write_text("5")
    torch.set_num_threads(1)
    tokenizer = samples.Tokenizer.from_file(str(options.out / "tokenizer.json"))
    model = demo.make_model(demo.make_config(tokenizer), seed)
    for name, parameter in model.named_parameters():
        parameter.data = shared[name]
    optimiser, stream = prepare(model, options, seed)
    log = open(options.work / "helper.csv", "a")
    for step, batch in enumerate(stream):
        rate, progress = learning_rate(options, step, begin)
        if progress >= 1 or os.getppid() == 1:
            break
        loss = train_step(model, optimiser, batch, rate).mean().item()
        if step % 50 == 49:
            print(f"{step + 1},{(time.monotonic() - begin) / 60:.2f},{loss:.4f}", file=log, flush=True)


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
    parser.add_argument("--easy", type=int, default=0, help="steps over which the samples go from easy to ordinary")
    parser.add_argument("--ease", type=float, default=1.0, help="how easy the first of them are, 0 to 1")
    parser.add_argument("--threads", type=int, default=2, help="one is the better choice where other work shares the cores")
    parser.add_argument("--save-every", type=float, default=6.0, help="minutes")
    parser.add_argument("--helper", action="store_true")
    options = parser.parse_args()
    if options.helper and options.steps:
        parser.error("--helper needs --minutes")
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)

    tokenizer = samples.Tokenizer.from_file(str(options.out / "tokenizer.json"))
    model = demo.make_model(demo.make_config(tokenizer), options.seed)
    checkpoint = options.work / "checkpoint.pt"
    done, moments = 0, None
    if options.resume and checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        done, moments = saved["step"], saved["optimiser"]
    elif options.resume:
        model.load_state_dict(load_file(options.out / "model.safetensors"), strict=False)
    model.tie_weights()
    begin = saved_at = time.monotonic()
    if options.helper:
        model.share_memory()
        shared = {name: parameter.data for name, parameter in model.named_parameters()}
        torch.multiprocessing.get_context("spawn").Process(
            target=help_training, args=(shared, options, options.seed * 1000 + done + 500_000, begin)).start()
    optimiser, stream = prepare(model, options, options.seed * 1000 + done)
    if moments and [len(g["params"]) for g in moments["param_groups"]] == [len(g["params"]) for g in optimiser.param_groups]:
        optimiser.load_state_dict(moments)
        for group, fresh in zip(optimiser.param_groups, parameter_groups(model)):
            group.update({k: v for k, v in fresh.items() if k != "params"} | {"betas": (0.9, 0.99)})

    names = list(samples.SKILLS)
    log = open(options.work / "log.csv", "a")
    if log.tell() == 0:
        print("step,minutes,rate," + ",".join(names), file=log, flush=True)
    sums = torch.zeros(len(names))
    counts = torch.zeros(len(names))

    def save(step):
        torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step},
                   checkpoint.with_suffix(".new"))
        checkpoint.with_suffix(".new").replace(checkpoint)
        export.write_weights(options.out, model.state_dict())

    wanted = []
    signal.signal(signal.SIGUSR1, lambda *_: wanted.append(True))
    for step, batch in enumerate(stream):
        rate, progress = learning_rate(options, step, begin)
        if progress >= 1:
            break
        losses = train_step(model, optimiser, batch, rate)
        sums.index_add_(0, batch["skill"], losses)
        counts.index_add_(0, batch["skill"], torch.ones_like(losses))
        if step % 50 == 49:
            means = (sums / counts.clamp(min=1)).tolist()
            print(f"{done + step + 1},{(time.monotonic() - begin) / 60:.2f},{rate:.6f}," + ",".join(f"{m:.4f}" for m in means), file=log, flush=True)
            sums.zero_()
            counts.zero_()
        if wanted or time.monotonic() - saved_at > options.save_every * 60:
            wanted.clear()
            saved_at = time.monotonic()
            save(done + step + 1)
    save(done + step)
    print(f"finished after {done + step} steps")


if __name__ == "__main__":
    main()
