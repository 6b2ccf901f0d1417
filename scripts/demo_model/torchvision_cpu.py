"""Importing this makes torchvision importable next to a torch without its compiled operators.

torchvision has no CPU build for every torch; its Python part is all that the image processors of transformers use, but on
import it registers shape functions for operators that do not exist then. Those registrations are left out.
"""

import torch

try:
    import torchvision  # noqa: F401
except RuntimeError:
    import sys

    for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    register = torch.library.register_fake
    torch.library.register_fake = lambda *_, **__: (lambda function: function)
    try:
        import torchvision  # noqa: F401
    finally:
        torch.library.register_fake = register
