"""See and steer attention in any diffusers pipeline, in the same forward pass."""

from whitebear.hooks.capture import capture_attention
from whitebear.hooks.edit import edit_text
from whitebear.hooks.patch import patch_text
from whitebear.hooks.steer import steer_attention
from whitebear.hooks.text import text_states

__all__ = ["capture_attention", "edit_text", "patch_text", "steer_attention", "text_states"]
