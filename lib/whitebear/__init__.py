"""White Bear: told to forget a concept, why does a diffusion model draw it anyway?"""

__version__ = "0.1.0"
