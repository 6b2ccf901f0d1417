"""Trains the demo model on synthetic data, on the CPU, for a time or for a number of steps.

    python speech.py --out BANKS                      # the spoken words, once
    python train.py --banks BANKS --work DIR --minutes 90
    python train.py --banks BANKS --work DIR --resume --minutes 60 --peak 1e-3

The learning rate rises over the first steps, stays, and falls to nothing over the last part of the run, measured in time
(`--minutes`) or in steps (`--steps`, repeatable from the seed). A checkpoint holds the weights, the optimisers and the number
of steps; `--resume` continues from it with a new schedule, or from the exported weights if there is no checkpoint. SIGUSR1
saves at once.

A run with `--perception` comes first and teaches seeing and hearing, a run without it then teaches answering.

With `--helper` a second process computes gradients of batches of its own whenever a core is idle; each step takes what is
ready and averages it in. The result is no longer repeatable.
"""

import argparse
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
from muon import Muon  # noqa: E402


class Stream(torch.utils.data.IterableDataset):
    """The packed batches, made in a process of its own."""

    def __init__(self, options, seed):
        self.options, self.seed = options, seed

    def __iter__(self):
        # Out of the way of the training itself: on any core, after all others, and not in its session's share of time.
        os.sched_setaffinity(0, range(os.cpu_count()))
        os.setpriority(os.PRIO_PROCESS, 0, self.options.helper_nice)
        os.setsid()
        torch.set_num_threads(1)
        options = self.options
        return samples.batches(samples.Skills(options.banks, model_dir=options.out), self.seed, options.positions, options.easy, options.ease,
                               options.perception, dict((n, float(v)) for n, v in (x.split("=") for x in options.share)),
                               demo.normalised if options.bfloat16 else None)


def make_optimisers(model, teachers, options):
    """Muon for the inner matrices, Adam for the rest. Adam moves every weight by about the learning rate: inputs of many
    features get a smaller one."""
    groups = {"vector": [], "token": [], "patch": [], "audio": []}
    matrices = []
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
            matrices.append(parameter)
    factor = {"vector": 1.0, "token": 0.6, "patch": 0.4, "audio": 0.5}
    decay = {"vector": 0.0, "token": 0.0, "patch": 0.05, "audio": 0.0}
    others = [{"params": p, "factor": factor[n], "weight_decay": decay[n]} for n, p in groups.items()]
    others.append({"params": list(teachers.parameters()), "factor": 1.0, "weight_decay": 0.01})
    return [Muon([{"params": matrices, "factor": options.matrix_factor}], options.peak,
                 dtype=torch.bfloat16 if options.bfloat16 else torch.float32),
            torch.optim.AdamW(others, lr=options.peak, betas=(0.9, 0.98), fused=True)]


def learning_rate(options, step, begin):
    """Rate for a step and the part of the run that has passed (1 and more: over)."""
    progress = step / options.steps if options.steps else (time.monotonic() - begin) / 60 / options.minutes
    fall = min(1.0, max(0.0, 1 - progress) / options.fall)
    return options.peak * min((step + 1) / options.warmup, fall), progress


def make_parts(options):
    """The model ready for packed batches, with its teachers; layers compiled."""
    tokenizer = samples.Tokenizer.from_file(str(options.out / "tokenizer.json"))
    model = demo.make_model(demo.make_config(tokenizer), options.seed)
    teachers = demo.Teachers(model, samples.PATCH_LABELS, samples.FRAME_LABELS)
    model.config._attn_implementation = model.model.language_model.config._attn_implementation = "packed"
    return model, teachers


def stream_of(options, seed):
    return torch.utils.data.DataLoader(Stream(options, seed), batch_size=None, num_workers=1, prefetch_factor=6)


def backward(model, teachers, batch, options):
    """Adds the gradients of a batch; returns the loss of every answer token, nats, and the counts of the teachers."""
    with torch.autocast("cpu", torch.bfloat16, enabled=options.bfloat16):
        hidden = demo.packed_hidden(model, batch, teachers.LAYERS if options.perception else len(demo.LAYER_TYPES))
    if options.perception:
        taught, counts = teachers(batch)
        taught.backward()
        return torch.zeros(0), counts
    losses = demo.answer_loss(model, hidden, batch)
    taught, counts = teachers(batch)
    ((losses * batch["weights"]).sum() / batch["weights"].sum() + options.teaching * taught).backward()
    return losses.detach(), counts


def trained_parameters(model, teachers):
    return list(model.parameters()) + list(teachers.parameters())


def help_training(weights, gradients, ready, options, seed):
    """The helper process: gradients of batches of its own at the `weights` of the moment, both flat in shared memory."""
    os.setpriority(os.PRIO_PROCESS, 0, options.helper_nice)
    torch.set_num_threads(1)
    model, teachers = make_parts(options)
    for layer in model.model.language_model.layers:
        layer.compile()
    parameters = trained_parameters(model, teachers)
    for batch in stream_of(options, seed):
        with torch.no_grad():
            for parameter, piece in zip(parameters, weights.split([p.numel() for p in parameters])):
                parameter.copy_(piece.view_as(parameter))
                parameter.grad = None
        backward(model, teachers, batch, options)
        while ready.item():
            time.sleep(0.01)
            if os.getppid() == 1:
                return
        for parameter, piece in zip(parameters, gradients.split([p.numel() for p in parameters])):
            piece.copy_(parameter.grad.reshape(-1)) if parameter.grad is not None else piece.zero_()
        ready.fill_(1)


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
    parser.add_argument("--positions", type=int, default=3072)
    parser.add_argument("--peak", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--matrix-factor", type=float, default=1.5, help="of the rate, for the inner matrices")
    parser.add_argument("--perception", action="store_true",
                        help="train only the first layers with labels of patches and frames: several times as many media")
    parser.add_argument("--share", action="append", default=[], metavar="SKILL=SHARE", help="change the mixture")
    parser.add_argument("--teaching", type=float, default=0.5, help="weight of the labels of patches and frames")
    parser.add_argument("--float32", dest="bfloat16", action="store_false",
                        help="no matrix products in bfloat16, which take half the time on a processor that has AMX")
    parser.add_argument("--warmup", type=int, default=100, help="steps")
    parser.add_argument("--fall", type=float, default=0.4, help="last part of the run over which the rate falls")
    parser.add_argument("--easy", type=int, default=0, help="steps over which the samples go from easy to ordinary")
    parser.add_argument("--ease", type=float, default=1.0, help="how easy the first of them are, 0 to 1")
    parser.add_argument("--threads", type=int, default=2, help="one is the better choice where other work shares the cores")
    parser.add_argument("--save-every", type=float, default=6.0, help="minutes")
    parser.add_argument("--helper", action="store_true")
    parser.add_argument("--helper-nice", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)

    model, teachers = make_parts(options)
    optimisers = make_optimisers(model, teachers, options)
    checkpoint = options.work / "checkpoint.pt"
    done = 0
    if options.resume and checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        teachers.load_state_dict(saved["teachers"])
        done = saved["step"]
        for optimiser, state in zip(optimisers, saved["optimisers"]):
            optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    elif options.resume:
        model.load_state_dict(load_file(options.out / "model.safetensors"), strict=False)
    model.tie_weights()
    parameters = trained_parameters(model, teachers)
    sizes = [p.numel() for p in parameters]
    if options.helper:
        weights, gradients = (torch.zeros(sum(sizes)).share_memory_() for _ in range(2))
        ready = torch.zeros(1, dtype=torch.int32).share_memory_()
        with torch.no_grad():
            torch.cat([p.reshape(-1) for p in parameters], out=weights)
        torch.multiprocessing.get_context("spawn").Process(
            target=help_training, args=(weights, gradients, ready, options, options.seed * 1000 + done + 500_000)).start()
    for layer in model.model.language_model.layers:
        layer.compile()

    names = list(samples.SKILLS)
    labels = [f"patch {n}" for n, _ in samples.PATCH_LABELS] + [f"frame {n}" for n, _ in samples.FRAME_LABELS]
    log = open(options.work / "log.csv", "a")
    if log.tell() == 0:
        print("step,minutes,rate,helped," + ",".join(names + labels), file=log, flush=True)
    sums, counts, helped = torch.zeros(len(names)), torch.zeros(len(names)), 0
    correct = torch.zeros(len(labels), 2)

    def save(step):
        torch.save({"model": model.state_dict(), "teachers": teachers.state_dict(), "step": step,
                    "optimisers": [o.state_dict()["state"] for o in optimisers]}, checkpoint.with_suffix(".new"))
        checkpoint.with_suffix(".new").replace(checkpoint)
        export.write_weights(options.out, model.state_dict())

    wanted = []
    signal.signal(signal.SIGUSR1, lambda *_: wanted.append(True))
    begin = saved_at = time.monotonic()
    for step, batch in enumerate(stream_of(options, options.seed * 1000 + done)):
        rate, progress = learning_rate(options, step, begin)
        if progress >= 1:
            break
        losses, taught = backward(model, teachers, batch, options)
        if options.helper and ready.item():
            for parameter, piece in zip(parameters, gradients.split(sizes)):
                if parameter.grad is not None:
                    parameter.grad.add_(piece.view_as(parameter)).mul_(0.5)
            ready.zero_()
            helped += 1
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate * group["factor"]
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        if options.helper:
            with torch.no_grad():
                torch.cat([p.reshape(-1) for p in parameters], out=weights)
        sums.index_add_(0, batch["skill"], losses)
        counts.index_add_(0, batch["skill"], torch.ones_like(losses))
        correct += torch.tensor(taught)
        if step % 50 == 49:
            means = (sums / counts.clamp(min=1)).tolist() + (correct[:, 0] / correct[:, 1].clamp(min=1)).tolist()
            print(f"{done + step + 1},{(time.monotonic() - begin) / 60:.2f},{rate:.6f},{helped}," +
                  ",".join(f"{m:.4f}" for m in means), file=log, flush=True)
            sums.zero_()
            counts.zero_()
            correct.zero_()
        if wanted or time.monotonic() - saved_at > options.save_every * 60:
            wanted.clear()
            saved_at = time.monotonic()
            save(done + step + 1)
    save(done + step)
    print(f"finished after {done + step} steps")
    os._exit(0)  # the helper ends with its parent


if __name__ == "__main__":
    main()
