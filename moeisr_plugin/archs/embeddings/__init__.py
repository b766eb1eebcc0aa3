"""Embeddings of LIIF and LTE, with the first layer of each expert folded into them.

The first layer of an expert is linear in the embedding of a query. Its terms that depend only on the LR pixel
are computed once per LR pixel instead of once per query.
"""

from moeisr_plugin.archs.embeddings.interface import Embedding, PixelTerms
from moeisr_plugin.archs.embeddings.liif import LIIFEmbedding, LIIFParts, LIIFPixelTerms
from moeisr_plugin.archs.embeddings.lte import LTEEmbedding, LTEPixelTerms

__all__ = [
    "Embedding",
    "LIIFEmbedding",
    "LIIFParts",
    "LIIFPixelTerms",
    "LTEEmbedding",
    "LTEPixelTerms",
    "PixelTerms",
]
