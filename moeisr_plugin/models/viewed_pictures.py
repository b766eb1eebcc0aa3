"""Validation pictures and expert maps for TensorBoard."""

from typing import Any

from moeisr_plugin.archs.implicit_network import ImplicitNetwork
from moeisr_plugin.models.validation import EnlargedPicture
from moeisr_plugin.render.saved_pictures import experts_as_rgb, picture_as_rgb


class ViewedPictures:
    """Writes the first pictures of a validation set.

    Args:
        tb_logger: the writer; None writes nothing.
        number: of pictures.
        net: the network.
        label: label of the validation set.
        current_iter: the iteration.
    """

    def __init__(
        self, tb_logger: Any, number: int, net: ImplicitNetwork, label: str, current_iter: int | str
    ) -> None:
        self.tb_logger = tb_logger
        self.left = number if tb_logger else 0
        self.net = net
        self.label = label
        self.current_iter = current_iter

    def add(self, enlarged: EnlargedPicture) -> None:
        """Write a picture and, for a mixture of experts, its expert map, unless there are enough."""
        if self.left == 0:
            return
        self.left -= 1
        views = {
            "pictures": picture_as_rgb(enlarged.rgb),
            "experts": experts_as_rgb(self.net, enlarged.encoding),
        }
        for kind, rgb in views.items():
            if rgb is not None:
                name = f"{kind}/{self.label}/{enlarged.name}"
                self.tb_logger.add_image(name, rgb, self.current_iter, dataformats="HWC")
