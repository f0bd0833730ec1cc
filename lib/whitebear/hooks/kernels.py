"""Attention with the logarithm of its softmax denominator, from the kernel that PyTorch chooses.

P[query, key] = exp(scale query.key - lse[query]) then costs one product per key asked for.
"""

import torch
from torch.nn.attention import SDPBackend
from torch.nn.functional import scaled_dot_product_attention as sdpa

aten = torch.ops.aten
SCRATCH_BYTES = 32 * 2**20  # of one block of logits


def scores(query: torch.Tensor, key: torch.Tensor, scale: float) -> torch.Tensor:
    """scale query.key in float32 (..., N, K), also from half-precision inputs."""
    if query.dtype is torch.float32:
        return (query * scale) @ key.transpose(-1, -2)
    if query.is_cuda:
        product = torch.bmm(
            query.flatten(0, -3), key.flatten(0, -3).transpose(-1, -2), out_dtype=torch.float32
        )
        return product.mul_(scale).unflatten(0, query.shape[:-2])
    return (query.float() * scale) @ key.float().transpose(-1, -2)


def row_blocks(rows: int, bytes_per_row: int) -> list[slice]:
    """Slices of `rows` whose logits fit the scratch space, at least one row each."""
    size = max(1, SCRATCH_BYTES // max(1, bytes_per_row))
    return [slice(i, min(i + size, rows)) for i in range(0, rows, size)]


def log_denominator(query, key, mask, scale: float) -> torch.Tensor:
    """log sum over keys of exp(scale query.key + mask), float32 (B, H, N), block by block."""
    parts = []
    per_query = 4 * query.shape[0] * query.shape[1] * key.shape[-2]
    for block in row_blocks(query.shape[-2], per_query):
        logits = scores(query[..., block, :], key, scale)
        if mask is not None:
            logits = add_mask(logits, mask, block)
        parts.append(logits.logsumexp(-1))
    return torch.cat(parts, dim=-1)


def add_mask(logits: torch.Tensor, mask: torch.Tensor, block: slice = slice(None)) -> torch.Tensor:
    """Logits with an attention mask, boolean (True: may attend) or additive, as SDPA has it."""
    if mask.shape[-2] > 1:
        mask = mask[..., block, :]
    if mask.dtype is torch.bool:
        return logits.masked_fill(~mask, -torch.inf)
    return logits + mask.float()


def attention_and_lse(arguments: dict, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Output of scaled_dot_product_attention, bit for bit, and lse float32 (B, H, N).

    Where the kernel does not tell the denominator (a mask, the unfused path), it is computed once
    more, block by block.
    """
    query, key, value = (arguments[name] for name in ("query", "key", "value"))
    if arguments.get("attn_mask") is None and not arguments.get("enable_gqa"):
        choice = torch._fused_sdp_choice(query, key, value, scale=scale)
        if choice == SDPBackend.FLASH_ATTENTION.value and not query.is_cuda:
            out, lse = aten._scaled_dot_product_flash_attention_for_cpu(
                query, key, value, scale=scale
            )
            return out, lse.float()
        if choice == SDPBackend.FLASH_ATTENTION.value and query.shape[-1] % 8 == 0:
            out, lse = aten._scaled_dot_product_flash_attention(query, key, value, scale=scale)[:2]
            return out, lse.float()
        if choice == SDPBackend.EFFICIENT_ATTENTION.value:
            out, lse = aten._scaled_dot_product_efficient_attention(
                query, key, value, None, True, scale=scale
            )[:2]
            return out, lse[..., : query.shape[-2]].float()
        if choice == SDPBackend.CUDNN_ATTENTION.value:
            out, lse = aten._scaled_dot_product_cudnn_attention(
                query, key, value, None, True, scale=scale
            )[:2]
            return out, lse.reshape(query.shape[:-1]).float()
    lse = log_denominator(query, key, arguments.get("attn_mask"), scale)
    return sdpa(**arguments), lse
