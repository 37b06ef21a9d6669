"""Completion: images and rows with missing entries, filled in by a trained energy.

==================  ============================================================================
``conditional``     the energy of hidden entries given the visible ones, for any kernel
``masks``           what is hidden, as a user says it
``inputs``          rows to complete, from a file or held out
``variants``        the ways to complete
``latent``          codes given visible entries; reconstruction and interpolation
``judge``           PSNR, SSIM, masked error, diversity
``plot``            the picture of a completed table
``write``           files, pictures, words
==================  ============================================================================
"""

from .conditional import Conditional, Entries, Subspace, conditional, free_part
from .inputs import Inputs, held_out, make_inputs, read_partial
from .judge import Judged, diversity, judge, masked_error, psnr, ssim
from .latent import infer_latents, interpolate, one_shot, reconstruct, visible_posterior
from .masks import parse_mask, refuse_mask
from .variants import Completed, Plan, complete, own_completion
from .write import write_completions

__all__ = [
    "Completed",
    "Conditional",
    "Entries",
    "Inputs",
    "Judged",
    "Plan",
    "Subspace",
    "complete",
    "conditional",
    "diversity",
    "free_part",
    "held_out",
    "infer_latents",
    "interpolate",
    "judge",
    "make_inputs",
    "masked_error",
    "one_shot",
    "own_completion",
    "parse_mask",
    "psnr",
    "read_partial",
    "reconstruct",
    "refuse_mask",
    "ssim",
    "visible_posterior",
    "write_completions",
]
