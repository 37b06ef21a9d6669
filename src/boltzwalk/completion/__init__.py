"""Completion: images and rows with missing entries, filled in by a trained energy.

==================  ============================================================================
``conditional``     the energy of hidden entries given the visible ones, for any kernel
``masks``           what is hidden, as a user says it
``inputs``          rows to complete, from a file or held out
``variants``        the ways to complete
``latent``          codes given visible entries, by the network of a run
``codes``           codes of whole rows: reconstruction and interpolation
``short_run``       chains from noise as a generator, and the noise that ends at a row
``judge``           PSNR, SSIM, masked error, diversity
``plot``            the picture of a completed table
``write``           files, pictures, words
==================  ============================================================================
"""

from .codes import Codes, ShortRun, codes_of, infer_noise, interpolate, reconstruct, revised
from .conditional import Conditional, Entries, Subspace, conditional, free_part
from .inputs import Inputs, held_out, make_inputs, parse_mask, read_partial, refuse_mask
from .judge import Judged, diversity, judge, masked_error, psnr, ssim
from .latent import infer_latents, one_shot, visible_posterior
from .variants import Completed, Plan, complete, own_completion
from .write import write_completions

__all__ = [
    "Codes",
    "Completed",
    "Conditional",
    "Entries",
    "Inputs",
    "Judged",
    "Plan",
    "ShortRun",
    "Subspace",
    "codes_of",
    "complete",
    "conditional",
    "diversity",
    "free_part",
    "held_out",
    "infer_latents",
    "infer_noise",
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
    "revised",
    "ssim",
    "visible_posterior",
    "write_completions",
]
