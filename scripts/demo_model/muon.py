"""Muon: momentum whose matrices are replaced by the nearest orthogonal ones, for the inner matrices of a transformer.

Formula: K. Jordan and others, "Muon: an optimizer for hidden layers in neural networks" (2024), with the scale of
J. Liu and others, "Muon is scalable for LLM training" (2025), which makes an update as large as one of Adam.
"""

import torch


def orthogonalised(stack, steps=5, dtype=torch.float32):
    """Newton-Schulz iteration on a stack of matrices [n, rows, columns]: singular values go to about 1.

    bfloat16 is enough for it, and several times as fast where the machine has instructions for it.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = (stack / (stack.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(dtype)
    flip = x.shape[1] > x.shape[2]
    if flip:
        x = x.mT
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if flip else x).float()


class Muon(torch.optim.Optimizer):
    def __init__(self, parameters, lr, momentum=0.95, weight_decay=0.05, dtype=torch.float32):
        self.dtype = dtype
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            by_shape = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in by_shape.items():
                updates = []
                for parameter in parameters:
                    state = self.state[parameter]
                    if "momentum" not in state:
                        state["momentum"] = torch.zeros_like(parameter)
                    state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                    updates.append(parameter.grad.lerp(state["momentum"], group["momentum"]))
                scale = 0.2 * max(shape) ** 0.5 * group["lr"]
                for parameter, update in zip(parameters, orthogonalised(torch.stack(updates), dtype=self.dtype)):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=scale)
