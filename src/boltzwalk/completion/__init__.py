"""Completion: images and rows with missing entries, filled in by a trained energy.

==================  ============================================================================
``conditional``     the energy of hidden entries given the visible ones, for any kernel
``inputs``          rows to complete, from a file or held out, and their masks
``variants``        the ways to complete
``latent``          codes given visible entries, by the base of a model
``codes``           codes of full rows: reconstruction and interpolation
``judge``           PSNR, SSIM, masked error, diversity
``write``           files, pictures, lines of text
==================  ============================================================================
"""

from .codes import Codes, ShortRun, infer_noise, interpolate, make_codes, reconstruct, refine_rows
from .conditional import Conditional, Entries, Subspace, conditional, free_part
from .inputs import Inputs, held_out_examples, make_inputs, parse_mask, read_partial, require_mask
from .judge import CompletionScores, diversity, judge, masked_error, psnr, ssim
from .latent import infer_latents, one_shot, visible_posterior
from .variants import Completed, CompletionPlan, complete_rows, encoder_completion
from .write import write_completions

__all__ = [
    "Codes",
    "Completed",
    "CompletionPlan",
    "CompletionScores",
    "Conditional",
    "Entries",
    "Inputs",
    "ShortRun",
    "Subspace",
    "complete_rows",
    "conditional",
    "diversity",
    "encoder_completion",
    "free_part",
    "held_out_examples",
    "infer_latents",
    "infer_noise",
    "interpolate",
    "judge",
    "make_codes",
    "make_inputs",
    "masked_error",
    "one_shot",
    "parse_mask",
    "psnr",
    "read_partial",
    "reconstruct",
    "refine_rows",
    "require_mask",
    "ssim",
    "visible_posterior",
    "write_completions",
]
