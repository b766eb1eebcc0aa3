"""PSNR and SSIM by the protocols of the publications on arbitrary-scale super-resolution."""

from .psnr_ssim import PROTOCOLS, TooSmallError, calculate_psnr_protocol, calculate_ssim_protocol

__all__ = ["PROTOCOLS", "TooSmallError", "calculate_psnr_protocol", "calculate_ssim_protocol"]
