"""PSNR and SSIM as the publications on arbitrary-scale super-resolution measure them."""

from .psnr_ssim import PROTOCOLS, calculate_psnr_protocol, calculate_ssim_protocol

__all__ = ["PROTOCOLS", "calculate_psnr_protocol", "calculate_ssim_protocol"]
