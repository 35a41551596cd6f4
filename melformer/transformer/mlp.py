"""The SwiGLU feed-forward layer."""

from torch import Tensor, nn
from torch.nn import functional as F


class SwiGLU(nn.Module):
    """down(silu(gate(x)) · up(x)), its hidden width about 8/3 of the model's (Shazeer 2020)."""

    def __init__(self, dim: int, multiple: int) -> None:
        super().__init__()
        hidden_dim = -(-8 * dim // (3 * multiple)) * multiple
        self.gate_up = nn.Linear(dim, 2 * hidden_dim, bias=False)
        self.down = nn.Linear(hidden_dim, dim, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        gate, up = self.gate_up(hidden).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)
